"""FHIR operations ($everything, $meta …): one module each, and the table of them."""
