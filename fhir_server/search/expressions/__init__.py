"""The FHIRPath of search parameters, compiled once into one walk over a resource."""
