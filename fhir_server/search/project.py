"""The index entries of a resource: what it is filed under, by the files of the parameter types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.search import composite, fulltext, names, near, phonetic, pinyin, reference, string, token, uri
from fhir_server.search.composite import EQUALITY, RANGED, Elements, Forms
from fhir_server.search.expressions import Extraction, Typed, compile_all, compile_expression
from fhir_server.search.near import Point
from fhir_server.search.readable import Readable
from fhir_server.search.span import Here, Span
from fhir_server.search.support import OUTSIDE, unsupported
from fhir_server.search.values import presence

__all__ = ["Projection", "Projector", "Span"]

Resource = dict[str, Any]
Spans = Callable[[str, str, Any, Here], Iterator[Span]]


@dataclass(frozen=True, slots=True)
class Projection:
    """What one resource is filed under.

    terms: `code|form` in plain text (the store keys them). ranges: by date, number, quantity or composite parameter.
    sort: the lowest value of each date (microseconds since 1970 UTC), number and quantity parameter; -inf where a time
    has no beginning. links: by reference parameter, the resources of this server that it leads to ("Patient/1").
    points: by parameter, positions as (longitude, latitude).
    """

    terms: frozenset[str]
    ranges: Mapping[str, tuple[Span, ...]]
    sort: Mapping[str, float]
    links: Mapping[str, tuple[str, ...]]
    points: Mapping[str, tuple[Point, ...]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one resource type is filed."""

    values: Extraction
    forms: Mapping[str, Forms]
    spans: Mapping[str, Spans]
    dates: frozenset[str]
    references: frozenset[str]
    positions: frozenset[str]
    composites: tuple[Elements, ...]


@dataclass(slots=True)
class _Filing:
    """What one resource is filed under, as far as it has been gathered."""

    terms: set[str] = field(default_factory=set)
    ranges: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    links: dict[str, tuple[str, ...]] = field(default_factory=dict)
    points: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    _known: dict[tuple[str, int, Forms], list[str]] = field(default_factory=dict)

    def forms(self, forms: Forms, type: str, value: Any, here: Here) -> list[str]:
        """Return the forms of a value; parameters that share an element share its forms as well."""
        key = (type, id(value), forms)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = list(forms(type, value, here))
        return found


class Projector:
    """Makes projections; what it needs of a resource type is compiled when that type first comes."""

    def __init__(self, registry: Registry, *, zone: tzinfo, base_url: str | None = None) -> None:
        self._registry = registry
        self._here = Here(zone, base_url)
        self._readable = Readable(registry)
        pinyin.prepare()
        self._plans: dict[str, _Plan] = {}
        self._placing: dict[tuple[str, str], bool] = {}

    def __call__(self, resource: Resource) -> Projection:
        """Return what a resource is filed under."""
        plan, filing = self._plan(resource["resourceType"]), _Filing()
        for code, pairs in plan.values(resource).items():
            self._file(plan, code, pairs, filing)
        for elements in plan.composites:
            if made := tuple(composite.spans(elements.parameter, elements(resource), self._here)):
                filing.ranges[elements.parameter.code] = made
        if resource["resourceType"] not in fulltext.UNFILED:
            filing.terms.update(fulltext.filed_under(self._readable, resource))
        sort = dict(_lowest(filing.ranges, plan))
        return Projection(frozenset(filing.terms), filing.ranges, sort, filing.links, filing.points)

    def _file(self, plan: _Plan, code: str, pairs: list[Typed], filing: _Filing) -> None:
        """File the values of one parameter; composites are filed apart."""
        if (forms := plan.forms.get(code)) is not None:
            filing.terms.add(presence(code))
            for type, value in pairs:
                filing.terms.update([code + form for form in filing.forms(forms, type, value, self._here)])
            if code in plan.references and (led := self._led_to(pairs)):
                filing.links[code] = led
        elif (make := plan.spans.get(code)) is not None:
            if spans := tuple(span for type, value in pairs for span in make(code, type, value, self._here)):
                filing.ranges[code] = spans
        elif code in plan.positions:
            filing.terms.add(presence(code))
            filing.points[code] = tuple(point for _, value in pairs if (point := near.point(value)))

    def references(self, type: str, param: str, resource: Resource) -> list[str]:
        """Return the relative references ("Patient/1") that a reference parameter finds, without versions."""
        return list(self._led_to(self._plan(type).values(resource).get(param, ())))

    def places(self, type: str, param: str) -> bool:
        """Return whether every Patient that a parameter refers to has the record in its compartment.

        So it is for the parameters that the compartment names (Observation: subject), and for those that find nothing
        but what these find as well (Observation: patient).
        """
        known = self._placing.get((type, param))
        if known is None:
            known = self._placing[type, param] = self._is_placing(type, param)
        return known

    def _is_placing(self, type: str, param: str) -> bool:
        codes = self._registry.compartment("Patient").get(type, ())
        if param in codes:
            return True
        expressions = (self._registry.parameters(type)[code].expression for code in codes)
        # One with another condition, or a position, does not find every Patient that stands at its place.
        plain = (each.replace(".where(resolve() is Patient)", "") for each in expressions)
        whole = {path for each in plain if not re.search(r"where|\[", each) for path in self._paths(type, each)}
        found = self._paths(type, self._registry.parameters(type)[param].expression)
        return bool(found) and found <= whole

    def _paths(self, type: str, expression: str) -> set[tuple[str, ...]]:
        return set(compile_expression(self._registry, type, expression).paths)

    def links(self, resource: Resource) -> dict[str, tuple[str, ...]]:
        """Return, by reference parameter, what each that is present finds, as `references` does."""
        plan = self._plan(resource["resourceType"])
        found = (
            (code, self._led_to(pairs)) for code, pairs in plan.values(resource).items() if code in plan.references
        )
        return {code: led for code, led in found if led}

    def canonicals(self, resource: Resource) -> dict[str, tuple[str, ...]]:
        """Return, by reference parameter, the canonical URLs that it finds, with their versions if they name any."""
        plan = self._plan(resource["resourceType"])
        found: dict[str, tuple[str, ...]] = {}
        for code in plan.references & (values := plan.values(resource)).keys():
            targets = (
                reference.target(type, value, self._here) for type, value in values[code] if isinstance(value, str)
            )
            if urls := tuple(dict.fromkeys(each.text for each in targets if isinstance(each, reference.Url))):
                found[code] = urls
        return found

    def _led_to(self, pairs: Iterable[Typed]) -> tuple[str, ...]:
        targets = (reference.target(type, value, self._here) for type, value in pairs)
        found = [f"{target.type}/{target.id}" for target in targets if isinstance(target, reference.Local)]
        return tuple(dict.fromkeys(found))

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
        forms={code: forms_of(each) for code, each in answered.items() if each.type in EQUALITY},
        spans={code: RANGED[each.type] for code, each in answered.items() if each.type in RANGED},
        dates=frozenset(code for code, each in answered.items() if each.type == "date"),
        references=frozenset(code for code, each in answered.items() if each.type == "reference"),
        positions=frozenset(code for code, each in answered.items() if each.type == "special"),
        composites=tuple(Elements(registry, type, each) for each in answered.values() if each.type == "composite"),
    )


def forms_of(parameter: SearchParameter) -> Forms:
    """Return the function that gives the forms of an equality parameter's values."""
    match parameter.type:
        case "token":
            return token.filed_under
        case "string" if parameter.code == phonetic.CODE:
            return phonetic.filed_under
        case "string":
            return names.filed_under if names.named(parameter) else string.filed_under
        case "reference":
            return reference.filed_under
    return uri.filed_under if uri.layered(parameter) else uri.filed_flat


def _lowest(spans: Mapping[str, tuple[Span, ...]], plan: _Plan) -> Iterator[tuple[str, float]]:
    """Yield the value by which each ranged parameter sorts: its lowest; a number counts if it has a lower end."""
    for code, filed in spans.items():
        if code in plan.dates:
            yield code, min(-math.inf if span.lo is None else span.lo for span in filed)
        elif code in plan.spans and (lows := [span.lo for span in filed if span.lo is not None]):
            yield code, min(lows)
