"""The FHIR interactions, one module each. Every one of them is: may it be asked → read under the gate → record → answer."""
