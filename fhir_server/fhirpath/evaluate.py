"""An expression, made ready and evaluated by fhirpathpy with R4's model and variables.

R4 uses FHIRPath release 2, the normative one (N1). Where the library departs from it, see corrections.py; what is left of
that is listed row by row in tests/conformance/test_fhirpath.py.

Source: http://hl7.org/fhirpath/N1 and FHIR R4, fhirpath.html.
"""

# mypy: disallow-untyped-calls=False
# fhirpathpy is typed in parts only.

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

Values: TypeAlias = list[Any]
Evaluate: TypeAlias = Callable[..., Values]

_VARIABLES = {"sct": "http://snomed.info/sct", "loinc": "http://loinc.org", "ucum": "http://unitsofmeasure.org"}
_NAMED = re.compile(r"%[`'\"]((vs|ext)-([A-Za-z0-9.-]+))[`'\"]")
_KINDS = {"vs": "ValueSet", "ext": "StructureDefinition"}


class InvalidExpression(ValueError):
    """The text is not FHIRPath, or calls a function that is not known here."""


class EvaluationFailed(Exception):
    """The expression cannot be evaluated on this resource. The text says nothing of the resource."""


def compiled(expression: str) -> Evaluate:
    """Return a function (node, resource, variables) -> values of an expression.

    node: JSON, or a node that the library gave. resource: what %resource stands for, if not the node.
    The values are JSON values, the library's nodes (`data`, and `path` for the type) and its quantities and times.
    The function raises EvaluationFailed for what N1 makes an error. Raises InvalidExpression.
    """
    # Here, since few installations need it.
    from fhirpathpy.engine import do_eval
    from fhirpathpy.engine.invocations.constants import constants
    from fhirpathpy.engine.nodes import TypeInfo
    from fhirpathpy.models import models

    from fhir_server.fhirpath.corrections import CORRECTIONS, only_extended

    tree = _tree(expression)["children"][0]
    named = {full: f"http://hl7.org/fhir/{_KINDS[kind]}/{name}" for full, kind, name in _NAMED.findall(expression)}

    def evaluate(node: Any, resource: Any = None, variables: Mapping[str, Any] | None = None) -> Values:
        root = node if resource is None else resource
        known = {**_VARIABLES, **named, "context": node, "resource": root, "rootResource": root, **(variables or {})}
        constants.reset()
        TypeInfo.model = models["r4"]  # type: ignore[assignment]
        context = {
            "dataRoot": node if isinstance(node, list) else [node],
            "vars": known,
            "model": models["r4"],
            "userInvocationTable": CORRECTIONS,
            "traceFn": lambda *_: None,  # what it would print may be a patient's
        }
        try:
            return [each for each in do_eval(context, context["dataRoot"], tree) if not only_extended(each)]
        except Exception as error:  # the library raises whatever comes up
            raise EvaluationFailed(f"{type(error).__name__} while evaluating") from error

    return evaluate


def _tree(expression: str) -> Any:
    """Return the library's tree. Raises InvalidExpression: the library reads as far as it can and drops the rest."""
    from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
    from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
    from fhirpathpy.parser import parse
    from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
    from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

    class Strict(ErrorListener):  # type: ignore[misc]
        def syntaxError(self, _parser: Any, _symbol: Any, line: int, column: int, message: str, _error: Any) -> None:
            raise InvalidExpression(f"line {line}, column {column}: {message}")

    lexer = FHIRPathLexer(InputStream(expression))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(Strict())
    parser.entireExpression()
    tree = parse(expression)
    if unknown := sorted(_called(tree) - _known()):
        raise InvalidExpression(f"There is no function {unknown[0]}().")
    return tree


def _called(tree: Any) -> frozenset[str]:
    """Return the names of the functions that an expression calls."""
    inner = frozenset[str]().union(*map(_called, tree.get("children", ())))
    return inner | {tree["children"][0]["text"]} if tree.get("type") == "Functn" else inner


@cache
def _known() -> frozenset[str]:
    from fhirpathpy.engine.invocations import invocation_registry

    from fhir_server.fhirpath.corrections import CORRECTIONS

    return frozenset(invocation_registry) | CORRECTIONS.keys()
