"""Which search parameters read an element that is withheld, by the expressions of the registry.

A parameter whose every value stands at or below the element has no value left; one of which only a part does, or whose
value loses a part, has to be decided on what is left of the resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import lru_cache

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.definitions.registry import registry as standard
from fhir_server.redaction.elements import element_at, inner_path
from fhir_server.search import fulltext
from fhir_server.search.expressions.compiled import Extractor, compile_expression
from fhir_server.search.expressions.routes import UnknownElement
from fhir_server.search.types.composite import CORRECTED

# At each step of a path the JSON names under which the element may stand.
Steps = tuple[frozenset[str], ...]
Path = tuple[str, ...]
KNOWN = 50_000


class Effect(IntEnum):
    """What is left of the values of a parameter where an element is withheld."""

    NONE = 0  # all
    PARTLY = 1  # some, or other ones
    WHOLLY = 2  # nothing


def effect(registry: Registry, type: str, param: str, element: str) -> Effect:
    """Return what withholding an element ("Patient.telecom") means for a search parameter of a type.

    An element of another type can stand in what a resource of this type contains: then its texts are others.
    """
    of, _, path = element.partition(".")
    if param == fulltext.EVERYTHING:
        return Effect.PARTLY
    if of != type:
        return Effect.PARTLY if param == fulltext.NARRATIVE else Effect.NONE
    if param == fulltext.NARRATIVE:  # what was redacted has no narrative
        return Effect.WHOLLY
    parameter = registry.parameters(type).get(param)
    return _on(type, parameter, path) if parameter else Effect.NONE


@lru_cache(KNOWN)
def _on(type: str, parameter: SearchParameter, path: str) -> Effect:
    # What the types are made of is the same, whatever search parameters there are besides.
    registry = standard()
    gone = tuple(_steps(registry, type, path.split(".")))
    if parameter.components:
        return _of_composite(registry, type, parameter, gone)
    return _of_plain(_extractor(type, parameter.expression), gone)


@lru_cache(KNOWN)
def _extractor(type: str, expression: str) -> Extractor:
    return compile_expression(standard(), type, expression)


def _of_plain(extractor: Extractor, gone: Steps, before: Path = ()) -> Effect:
    """Return the effect on an expression; on one without paths, a condition, anything may have an effect."""
    if not extractor.paths or not extractor.compiled:
        return Effect.PARTLY
    return _together(_on_path((*before, *path), gone) for path in extractor.paths)


def _of_composite(registry: Registry, type: str, parameter: SearchParameter, gone: Steps) -> Effect:
    """Return the effect on a composite: an element that lacks one part is none."""
    found = []
    for base in _extractor(type, parameter.expression).paths or ((),):
        found.append(max(_of_parts(registry, type, parameter, base, gone), default=Effect.NONE))
    return _together(found)


def _of_parts(registry: Registry, type: str, parameter: SearchParameter, base: Path, gone: Steps) -> Iterator[Effect]:
    """Yield the effect on each part of a composite's element at a path; parts that cannot stand there are left out."""
    at = type
    for name in base:
        element = element_at(registry, at, name)
        at = inner_path(element, dict(element.json_names()).get(name, "")) if element else ""
    for expression in CORRECTED.get(parameter.url) or [part.expression for part in parameter.components]:
        try:
            part = compile_expression(registry, at, expression, resource=type)
        except UnknownElement:
            continue
        yield _of_plain(part, gone, () if "%resource" in expression else base)


def _together(effects: Iterable[Effect]) -> Effect:
    """Return the effect on what has its values at several places."""
    found = set(effects)
    return found.pop() if len(found) == 1 else Effect.PARTLY if found else Effect.NONE


def _on_path(path: Path, gone: Steps) -> Effect:
    if any(name not in names for name, names in zip(path, gone, strict=False)):
        return Effect.NONE
    return Effect.WHOLLY if len(gone) <= len(path) else Effect.PARTLY


def _steps(registry: Registry, at: str, names: list[str]) -> Iterator[frozenset[str]]:
    """Yield the JSON names of each element on the way; a choice stands under those of all its types."""
    for name in names:
        element = element_at(registry, at, name)
        if element is None:
            yield frozenset({name})
            at = ""
            continue
        yield frozenset(json for json, _ in element.json_names())
        at = inner_path(element, element.types[0])
