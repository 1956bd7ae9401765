"""The FHIR R4 standard as compact data: types served, element tree, search parameters, compartments."""
