"""FHIR's XML representation, to and from the JSON that everything else works on (ADR 0012). Pure."""
