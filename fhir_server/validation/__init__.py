"""Validation of resources: what does not fit raises InvalidResource, which becomes an OperationOutcome."""
