"""The _filter parameter (FHIR R4 Search, "Filter Parameter")."""
