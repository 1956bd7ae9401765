"""Expressions that the compiler does not take, evaluated by fhirpathpy: for parameters defined outside R4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from fhir_server.search.expression_syntax import NotSupported

Json: TypeAlias = dict[str, Any]
Typed: TypeAlias = tuple[str, Any]

_BY_SHAPE = ((bool, "boolean"), (int, "integer"), (float, "decimal"), (str, "string"), (dict, "Element"))


def evaluated_by_fhirpathpy(expression: str, base: str) -> Callable[[Json, Json], list[Typed]]:
    """Return a function from a base's JSON and its resource to (FHIR type, value) pairs.

    The types are those of fhirpathpy's R4 model; a value that was computed has the type of its JSON shape. If the
    expression fails on a resource (say, one item expected and many there), it has no value in that resource.
    base: a resource type; fhirpathpy knows no types below it. Raises NotSupported.
    """
    import fhirpathpy  # here, since few installations need it
    from fhirpathpy.models import models

    try:
        _check_syntax(expression)
        compiled = fhirpathpy.compile(expression, models["r4"], {"returnRawData": True})
        compiled({"resourceType": base}, {"resource": {"resourceType": base}})
    except Exception as error:  # the library raises bare Exception for whatever it does not know
        raise NotSupported(f"{expression}: {error}") from error

    def evaluate(node: Json, resource: Json) -> list[Typed]:
        try:
            return list(_typed(compiled(node, {"resource": resource})))
        except Exception:
            return []

    return evaluate


def _check_syntax(expression: str) -> None:
    """Raise what is wrong with an expression: fhirpathpy itself reads as far as it can and drops the rest."""
    from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
    from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
    from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
    from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

    class Strict(ErrorListener):  # type: ignore[misc]
        def syntaxError(self, _parser: Any, _symbol: Any, line: int, column: int, message: str, _error: Any) -> None:
            raise NotSupported(f"line {line}, column {column}: {message}")

    lexer = FHIRPathLexer(InputStream(expression))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(Strict())
    parser.entireExpression()  # type: ignore[no-untyped-call]


def _typed(nodes: list[Any]) -> Iterator[Typed]:
    for node in nodes:
        value = getattr(node, "data", node)
        by_shape = next((name for shape, name in _BY_SHAPE if isinstance(value, shape)), None)
        type = getattr(node, "path", None) or by_shape
        if type is not None and value is not None:
            yield type, value
