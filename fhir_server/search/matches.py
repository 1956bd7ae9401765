"""Whether a clause holds on a resource, decided by reading the resource itself.

It is the oracle for the MongoDB reading, and it decides on opened bodies what the index alone cannot (`needs_body`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import UTC, tzinfo
from typing import Any

from fhir_server.definitions.registry import Registry
from fhir_server.search import fulltext
from fhir_server.search.ast import (
    And,
    Chain,
    Clause,
    Filed,
    Has,
    IdIn,
    InSpan,
    Listed,
    Missing,
    Near,
    Not,
    Or,
    PersonReference,
    Shown,
    Text,
    Updated,
)
from fhir_server.search.expressions.compiled import Extractor, Typed, compile_expression
from fhir_server.search.lists import listed
from fhir_server.search.project import Projector
from fhir_server.search.readable import Readable
from fhir_server.search.reading import answers
from fhir_server.search.types.composite import RANGED, Composite, Elements
from fhir_server.search.types.date import covered
from fhir_server.search.types.near import point
from fhir_server.search.types.span import Here, Span, passes
from fhir_server.search.types.sphere import kilometres_between

Resource = dict[str, Any]
Follow = Callable[[str], Iterable[Resource]]


class Matches:
    """The oracle: `matches(clause, resource)`.

    zone, base_url: as for the Projector and parse. follow: from a relative reference to the resource it leads to,
    if there is one; only chains and lists need it. every: from a type to all its resources; only _has needs it.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        zone: tzinfo,
        base_url: str | None = None,
        follow: Follow | None = None,
        every: Follow | None = None,
    ) -> None:
        self._registry = registry
        self._here = Here(zone, base_url)
        self._projector = Projector(registry, zone=zone, base_url=base_url)
        self._follow = follow
        self._every = every
        self._readable = Readable(registry)
        self._extractors: dict[tuple[str, str], Extractor] = {}
        self._elements: dict[tuple[str, str], Elements] = {}

    def __call__(self, clause: Clause, resource: Resource) -> bool:
        """Return whether the clause holds on the resource. Raises ValueError if it speaks of others, not given here."""
        match clause:
            case And(parts):
                return all(self(part, resource) for part in parts)
            case Or(parts):
                return any(self(part, resource) for part in parts)
            case Not(part):
                return not self(part, resource)
            case Shown(part, _):  # what is opened for a requester is what they are shown
                return self(part, resource)
            case IdIn(ids):
                return resource["id"] in ids
            case Updated(test):
                return passes(_updated(resource), test)
            case Missing(param, ranged):
                return not self._present(param, ranged, resource)
            case Text(param, _, wanted):
                return self._answered(param, (wanted,), resource)
            case Filed() | InSpan() | PersonReference():
                return self._found(clause, resource)
            case Near():
                return any(_is_near(clause, value) for _, value in self._values(clause.param, resource))
            case Chain() | Listed():
                return self._led(clause, resource)
            case Has():
                return self._pointed_to(clause, resource)
        raise ValueError(f"{type(clause).__name__} cannot be decided on the resource alone")

    def _found(self, clause: Filed | InSpan | PersonReference, resource: Resource) -> bool:
        if clause.asked and self._answered(clause.param, clause.asked, resource):
            return True
        if isinstance(clause, PersonReference):
            of = self._projector.references(resource["resourceType"], clause.param, resource)
            return any(reference in of for reference in clause.references)
        return not clause.asked and self._filed(clause, resource)

    def _filed(self, clause: Filed | InSpan, resource: Resource) -> bool:
        """Decide a clause without questions, which the planner made of terms."""
        projection = self._projector(resource)
        if isinstance(clause, Filed):
            return not projection.terms.isdisjoint(clause.terms)
        filed = projection.ranges.get(clause.param, ())
        return any(passes(span, test) for span in filed for test in clause.tests)

    def _answered(self, param: str, questions: tuple[Hashable, ...], resource: Resource) -> bool:
        return any(
            self._composite(param, question, resource)
            if isinstance(question, Composite)
            else fulltext.answers(question, self._readable, resource)
            if isinstance(question, fulltext.Said)
            else any(answers(question, type, value, self._here) for type, value in self._values(param, resource))
            for question in questions
        )

    def _composite(self, param: str, question: Composite, resource: Resource) -> bool:
        return any(
            all(
                any(answers(asked, type, value, self._here) for type, value in values)
                for asked, values in zip(question.parts, element, strict=True)
            )
            for element in self._elements_of(param, resource)
        )

    def _present(self, param: str, ranged: bool, resource: Resource) -> bool:
        if not ranged:
            return bool(self._values(param, resource))
        parameter = self._registry.parameters(resource["resourceType"])[param]
        if parameter.type != "composite":
            return any(self._measured(parameter.type, self._values(param, resource)))
        kinds = [part.type for part in parameter.components]
        return any(
            all(
                kind not in RANGED or any(self._measured(kind, values))
                for kind, values in zip(kinds, element, strict=True)
            )
            for element in self._elements_of(param, resource)
        )

    def _measured(self, kind: str, values: Iterable[Typed]) -> Iterator[Span]:
        return (span for type, value in values for span in RANGED[kind](type, value, self._here))

    def _values(self, param: str, resource: Resource) -> list[Typed]:
        key = (resource["resourceType"], param)
        if key not in self._extractors:
            expression = self._registry.parameters(key[0])[param].expression
            self._extractors[key] = compile_expression(self._registry, key[0], expression)
        return self._extractors[key](resource)

    def _elements_of(self, param: str, resource: Resource) -> Iterator[tuple[list[Typed], ...]]:
        key = (resource["resourceType"], param)
        if key not in self._elements:
            self._elements[key] = Elements(self._registry, key[0], [self._registry.parameters(key[0])[param]])
        return (values for _, values in self._elements[key](resource))

    def _led(self, clause: Chain | Listed, resource: Resource) -> bool:
        if self._follow is None:
            raise ValueError("a chain or a list needs the resources that it leads to")
        type = resource["resourceType"]
        if isinstance(clause, Listed):
            return any(resource["id"] in listed(each, type, self._here) for each in self._follow(f"List/{clause.id}"))
        by_target = dict(clause.clause_by_target)
        return any(
            self(by_target[other["resourceType"]], other)
            for reference in self._projector.references(type, clause.param, resource)
            for other in self._follow(reference)
            if other["resourceType"] in by_target
        )

    def _pointed_to(self, clause: Has, resource: Resource) -> bool:
        if self._every is None:
            raise ValueError("_has needs the resources that may refer to this one")
        sought = f"{resource['resourceType']}/{resource['id']}"
        return any(
            sought in self._projector.references(clause.type, clause.param, other) and self(clause.clause, other)
            for other in self._every(clause.type)
        )


def _is_near(asked: Near, position: Resource) -> bool:
    found = point(position)
    if found is None:
        return False
    longitude, latitude = found
    return kilometres_between(asked.latitude, asked.longitude, latitude, longitude) <= asked.kilometres


def _updated(resource: Resource) -> Span:
    """Return the time of the last update as the store has it: the beginning of what the instant covers."""
    found = covered(resource["meta"]["lastUpdated"], UTC)
    if found is None:
        raise ValueError("meta.lastUpdated is no instant")
    return Span(found[0], found[0])
