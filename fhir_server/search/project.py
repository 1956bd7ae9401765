"""The index entries of a resource: what it is filed under, by the files of the parameter types."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.search import composite, reference, string, token, uri
from fhir_server.search.composite import RANGED, Elements, Forms
from fhir_server.search.expressions import Extraction, compile_all
from fhir_server.search.span import Here, Span
from fhir_server.search.support import OUTSIDE, ranged, unsupported
from fhir_server.search.values import presence

__all__ = ["Projection", "Projector", "Span"]

Resource = dict[str, Any]
Spans = Callable[[str, str, Any, Here], Iterator[Span]]


@dataclass(frozen=True, slots=True)
class Projection:
    """What one resource is filed under.

    terms: `code|form` in plain text (the store keys them). ranges: by date, number, quantity or composite parameter.
    sort: the earliest time of each date parameter, in microseconds since 1970 UTC; -inf where it has no beginning.
    """

    terms: frozenset[str]
    ranges: Mapping[str, tuple[Span, ...]]
    sort: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one resource type is filed."""

    values: Extraction
    forms: Mapping[str, Forms]
    spans: Mapping[str, Spans]
    dates: frozenset[str]
    composites: tuple[Elements, ...]


class Projector:
    """Makes projections; what it needs of a resource type is compiled when that type first comes."""

    def __init__(self, registry: Registry, *, zone: tzinfo, base_url: str | None = None) -> None:
        self._registry = registry
        self._here = Here(zone, base_url)
        self._plans: dict[str, _Plan] = {}

    def __call__(self, resource: Resource) -> Projection:
        """Return what a resource is filed under."""
        plan, here = self._plan(resource["resourceType"]), self._here
        terms: set[str] = set()
        spans: dict[str, tuple[Span, ...]] = {}
        # Parameters that share an element share its forms as well.
        known: dict[tuple[str, int, Forms], list[str]] = {}
        for code, pairs in plan.values(resource).items():
            if (forms := plan.forms.get(code)) is not None:
                terms.add(presence(code))
                for type, value in pairs:
                    key = (type, id(value), forms)
                    found = known.get(key)
                    if found is None:
                        found = known[key] = list(forms(type, value, here))
                    terms.update([code + form for form in found])
            elif (make := plan.spans.get(code)) is not None:
                filed = [span for type, value in pairs for span in make(code, type, value, here)]
                if filed:
                    spans[code] = tuple(filed)
        for elements in plan.composites:
            if made := tuple(composite.spans(elements.parameter, elements(resource), here)):
                spans[elements.parameter.code] = made
        sort = {code: _earliest(filed) for code, filed in spans.items() if code in plan.dates}
        return Projection(frozenset(terms), spans, sort)

    def references(self, type: str, param: str, resource: Resource) -> list[str]:
        """Return the relative references ("Patient/1") that a reference parameter finds, without versions."""
        found = self._plan(type).values(resource).get(param, ())
        targets = (reference.target(kind, value, self._here) for kind, value in found)
        locals = [f"{target.type}/{target.id}" for target in targets if isinstance(target, reference.Local)]
        return list(dict.fromkeys(locals))

    def _plan(self, type: str) -> _Plan:
        plan = self._plans.get(type)
        if plan is None:
            plan = self._plans[type] = _planned(self._registry, type)
        return plan


def _planned(registry: Registry, type: str) -> _Plan:
    answered = {
        code: parameter
        for code, parameter in registry.parameters(type).items()
        if code not in OUTSIDE and unsupported(parameter) is None
    }
    return _Plan(
        values=compile_all(registry, type),
        forms={code: forms_of(each) for code, each in answered.items() if not ranged(each)},
        spans={code: RANGED[each.type] for code, each in answered.items() if each.type in RANGED},
        dates=frozenset(code for code, each in answered.items() if each.type == "date"),
        composites=tuple(Elements(registry, type, each) for each in answered.values() if each.type == "composite"),
    )


def forms_of(parameter: SearchParameter) -> Forms:
    """Return the function that gives the forms of an equality parameter's values."""
    match parameter.type:
        case "token":
            return token.filed_under
        case "string":
            return string.filed_under
        case "reference":
            return reference.filed_under
    return uri.filed_under if uri.layered(parameter) else uri.filed_flat


def _earliest(spans: tuple[Span, ...]) -> float:
    return min(-math.inf if span.lo is None else span.lo for span in spans)
