"""Expressions that the compiler does not take, evaluated by fhirpathpy: for parameters defined outside R4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from fhir_server.search.expressions.syntax import NotSupported

Json: TypeAlias = dict[str, Any]
Typed: TypeAlias = tuple[str, Any]

_BY_SHAPE = ((bool, "boolean"), (int, "integer"), (float, "decimal"), (str, "string"), (dict, "Element"))


def evaluated_by_fhirpathpy(expression: str, base: str) -> Callable[[Json, Json], list[Typed]]:
    """Return a function from a base's JSON and its resource to (FHIR type, value) pairs.

    The types are those of fhirpathpy's R4 model; a value that was computed has the type of its JSON shape. If the
    expression fails on a resource (say, one item expected and many there), it has no value in that resource.
    base: a resource type; fhirpathpy knows no types below it. Raises NotSupported.
    """
    from fhir_server.fhirpath import EvaluationFailed, InvalidExpression, compiled  # few installations need it

    try:
        evaluated = compiled(expression)
        evaluated({"resourceType": base})
    except (InvalidExpression, EvaluationFailed) as error:
        raise NotSupported(f"{expression}: {error}") from error

    def evaluate(node: Json, resource: Json) -> list[Typed]:
        try:
            return list(_typed(evaluated(node, resource)))
        except EvaluationFailed:
            return []

    return evaluate


def _typed(nodes: list[Any]) -> Iterator[Typed]:
    for node in nodes:
        value = getattr(node, "data", node)
        by_shape = next((name for shape, name in _BY_SHAPE if isinstance(value, shape)), None)
        type = getattr(node, "path", None) or by_shape
        if type is not None and value is not None:
            yield type, value
