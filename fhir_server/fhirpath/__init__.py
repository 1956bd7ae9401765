"""FHIRPath for whatever is not compiled: the one place that calls fhirpathpy."""

from fhir_server.fhirpath.evaluate import EvaluationFailed, InvalidExpression, compiled

__all__ = ["EvaluationFailed", "InvalidExpression", "compiled"]
