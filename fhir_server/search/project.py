"""The index entries of a resource: what it is filed under, by the files of the parameter types."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.search import fulltext
from fhir_server.search.expressions.compiled import Extraction, Extractor, Typed, compile_all, compile_expression
from fhir_server.search.once import Forms, Once, Spans
from fhir_server.search.readable import Readable
from fhir_server.search.support import OUTSIDE, unsupported
from fhir_server.search.types import composite, names, near, phonetic, reference, string, token, uri
from fhir_server.search.types.composite import EQUALITY, RANGED, Elements
from fhir_server.search.types.near import Point
from fhir_server.search.types.span import Here, Span
from fhir_server.search.values import presence

__all__ = ["Projection", "Projector", "Span"]

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """What one resource is filed under.

    filed: `code|form` in plain text (the store keys them). present: terms that say only that there is a value for a
    parameter (values.presence). ranges: by date, number, quantity or composite parameter.
    sort: the lowest value of each date (microseconds since 1970 UTC), number and quantity parameter; -inf where a time
    has no beginning. links: by reference parameter, the resources of this server that it leads to ("Patient/1").
    points: by parameter, positions as (longitude, latitude).
    """

    filed: AbstractSet[str]
    present: AbstractSet[str]
    ranges: Mapping[str, tuple[Span, ...]]
    sort: Mapping[str, float]
    links: Mapping[str, tuple[str, ...]]
    points: Mapping[str, tuple[Point, ...]]

    @property
    def terms(self) -> AbstractSet[str]:
        """All terms of both kinds."""
        return self.filed | self.present


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one resource type is filed."""

    values: Extraction
    forms: Mapping[str, Forms]
    spans: Mapping[str, Spans]
    dates: frozenset[str]
    references: frozenset[str]
    positions: frozenset[str]
    composites: Elements


@dataclass(slots=True)
class _Filing:
    """What one resource is filed under, as far as it has been gathered."""

    once: Once
    terms: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    ranges: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    links: dict[str, tuple[str, ...]] = field(default_factory=dict)
    points: dict[str, tuple[Point, ...]] = field(default_factory=dict)


class Projector:
    """Makes projections; what it needs of a resource type is compiled when that type first comes."""

    def __init__(self, registry: Registry, *, zone: tzinfo, base_url: str | None = None) -> None:
        self._registry = registry
        self._here = Here(zone, base_url)
        self._readable = Readable(registry)
        self._plans: dict[str, _Plan] = {}
        self._placing: dict[tuple[str, str], bool] = {}
        self._extractors: dict[tuple[str, str], Extractor] = {}

    def __call__(self, resource: Resource) -> Projection:
        """Return what a resource is filed under."""
        plan, filing = self._plan(resource["resourceType"]), _Filing(Once(self._here))
        for code, pairs in plan.values(resource).items():
            self._file(plan, code, pairs, filing)
        spans: defaultdict[str, list[Span]] = defaultdict(list)
        for parameter, values in plan.composites(resource):
            spans[parameter.code] += composite.spans(parameter, values, filing.once)
        filing.ranges |= {code: tuple(made) for code, made in spans.items() if made}
        if resource["resourceType"] not in fulltext.UNFILED:
            filing.terms.update(fulltext.filed_under(self._readable, resource))
        sort = dict(_lowest(filing.ranges, plan))
        return Projection(filing.terms, filing.present, filing.ranges, sort, filing.links, filing.points)

    def _file(self, plan: _Plan, code: str, pairs: list[Typed], filing: _Filing) -> None:
        """File the values of one parameter; composites are filed apart."""
        once = filing.once
        if (forms := plan.forms.get(code)) is not None:
            filing.present.add(presence(code))
            for type, value in pairs:
                filing.terms.update([code + form for form in once(forms, type, value)])
            if code in plan.references and (led := _led_to(pairs, once)):
                filing.links[code] = led
        elif (make := plan.spans.get(code)) is not None:
            if spans := tuple([span.under(code) for type, value in pairs for span in once(make, type, value)]):
                filing.ranges[code] = spans
        elif code in plan.positions:
            filing.present.add(presence(code))
            filing.points[code] = tuple(point for _, value in pairs if (point := near.point(value)))

    def references(self, type: str, param: str, resource: Resource) -> list[str]:
        """Return the relative references ("Patient/1") that a reference parameter finds, without versions."""
        return list(_led_to(self._alone(type, param)(resource), Once(self._here)))

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

    def links(self, resource: Resource, param: str | None = None) -> dict[str, tuple[str, ...]]:
        """Return, by reference parameter, what each that is present finds, as `references` does.

        param: that one alone, which is much less work.
        """
        found = ((code, _led_to(pairs, Once(self._here))) for code, pairs in self._referring(resource, param))
        return {code: led for code, led in found if led}

    def canonicals(self, resource: Resource, param: str | None = None) -> dict[str, tuple[str, ...]]:
        """Return, by reference parameter, the canonical URLs that it finds, with their versions if they name any.

        param: as for `links`.
        """
        found: dict[str, tuple[str, ...]] = {}
        for code, pairs in self._referring(resource, param):
            targets = (reference.target(type, value, self._here) for type, value in pairs if isinstance(value, str))
            if urls := tuple(dict.fromkeys(each.text for each in targets if isinstance(each, reference.Url))):
                found[code] = urls
        return found

    def _referring(self, resource: Resource, param: str | None) -> Iterable[tuple[str, list[Typed]]]:
        """Return the values of the reference parameters of a resource, or of one."""
        type = resource["resourceType"]
        if param is not None:
            return [(param, self._alone(type, param)(resource))]
        plan = self._plan(type)
        return [(code, pairs) for code, pairs in plan.values(resource).items() if code in plan.references]

    def _alone(self, type: str, param: str) -> Extractor:
        """Return what finds the values of one parameter, which need not look for those of all others."""
        found = self._extractors.get((type, param))
        if found is None:
            expression = self._registry.parameters(type)[param].expression
            found = self._extractors[type, param] = compile_expression(self._registry, type, expression)
        return found

    def _plan(self, type: str) -> _Plan:
        plan = self._plans.get(type)
        if plan is None:
            plan = self._plans[type] = _planned(self._registry, type)
        return plan


def _led_to(pairs: Iterable[Typed], once: Once) -> tuple[str, ...]:
    """Return the relative references, without versions, of what values refer to."""
    return tuple(dict.fromkeys([each for type, value in pairs for each in once(reference.led_to, type, value)]))


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
        composites=Elements(registry, type, [each for each in answered.values() if each.type == "composite"]),
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
