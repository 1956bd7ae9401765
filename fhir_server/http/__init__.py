"""FHIR over HTTP: from bytes and headers to calls, from answers to bytes and headers; no decisions."""
