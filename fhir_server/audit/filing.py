"""What AuditEvents are filed under.

Every disclosure waits for its event, so an event is not projected as other resources are. Events are alike but for
their time and the resources that they name: what the rest is filed under is worked out once for each kind of event
and of entity, on a specimen, into which time and ids are put. The parts can be taken apart because what a resource
is filed under is the union of what its parts are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from fhir_server.audit.basis import DECISION, SECURITY_RESOURCE
from fhir_server.audit.event import OTHERS
from fhir_server.search.project import Projector
from fhir_server.store.common import common
from fhir_server.store.terms import self_term

Document = dict[str, Any]

KNOWN_KINDS = 10_000
KNOWN_NAMES = 20_000
# The id of what a specimen names. It has the form of an id, and nothing else in an event holds it.
SPECIMEN = "id.of.a.specimen"
NAMED = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/([^/]+))?", re.ASCII)
# What tells on what a decision stood is filed under its type and role alone, so it is of the kind of the event.
_DECISION: Document = {"type": DECISION, "role": SECURITY_RESOURCE}
# The elements in which events of one kind differ.
_VARYING = frozenset({"id", "meta", "recorded", "entity"})


@dataclass(frozen=True, slots=True)
class _Part:
    """What a part of an event is filed under.

    number: tells it from others. ix, cx, has: keyed terms. varying: plain terms with SPECIMEN where the id comes. links: by
    parameter, references, likewise.
    """

    number: int
    ix: frozenset[int]
    cx: frozenset[int]
    has: frozenset[int]
    varying: tuple[str, ...]
    links: tuple[tuple[str, tuple[str, ...]], ...]


class _Together(NamedTuple):
    """What several parts are filed under."""

    ix: frozenset[int]
    cx: list[int]
    has: list[int]


_Named: TypeAlias = tuple[list[int], list[tuple[str, list[int]]]]


class Filing:
    """Files AuditEvents: gives the fields that Shadows.index gives."""

    def __init__(self, projector: Projector, term: Callable[[str], int]) -> None:
        self._projector = projector
        self._term = term
        self._common = common("AuditEvent", term)
        self._together: dict[tuple[int, ...], _Together] = {}
        self._parts: dict[Hashable, _Part] = {}
        self._named: dict[tuple[int, str], _Named] = {}
        self._numbers = count()

    def __call__(self, event: Document, kind: Hashable, *, at: int) -> Document:
        """Return the index fields of an event.

        kind: events that share it differ in nothing but their time and their entities. at: microseconds since 1970
        UTC, the time that the event was recorded.
        """
        parts = list(self._taken_apart(event, kind))
        shared = self._shared([part for part, _ in parts])
        named, to = set[int](), dict[str, list[int]]()
        for part, id in parts:
            terms, links = self._naming(part, id)
            named.update(terms)
            for code, led in links:
                known = to.get(code)
                to[code] = led if known is None or known == led else sorted({*known, *led})
        fields: Document = {
            "ix": sorted(shared.ix.union(named)),
            "cx": shared.cx,
            "has": shared.has,
            # "date" is the only parameter with a range: an instant of whole milliseconds.
            "r": {"date": [{"lo": at, "hi": at + 999}]},
            "s": {"date": at},
        }
        if not shared.cx:
            del fields["cx"]
        if to:
            fields["to"] = to
        return fields

    def _shared(self, parts: Sequence[_Part]) -> _Together:
        """Return what all events of these parts are filed under, whatever they name."""
        key = tuple(part.number for part in parts)
        known = self._together.get(key)
        if known is None:
            if len(self._together) > KNOWN_KINDS:
                self._together.clear()
            known = self._together[key] = _Together(
                frozenset().union(*(part.ix for part in parts)),
                sorted(frozenset().union(*(part.cx for part in parts))),
                sorted(frozenset().union(*(part.has for part in parts))),
            )
        return known

    def _taken_apart(self, event: Document, kind: Hashable) -> Iterator[tuple[_Part, str]]:
        """Yield the parts of an event, each with the id that it varies in."""
        entities = event.get("entity", ())
        decided = any([each["type"] is DECISION for each in entities])
        part = self._parts.get((kind, decided))
        if part is None:
            specimen = {name: value for name, value in event.items() if name not in _VARYING}
            part = self._known((kind, decided), specimen | ({"entity": [_DECISION]} if decided else {}))
        yield part, ""
        for entity in entities:
            if entity["type"] is DECISION:
                continue
            if entity["type"] is OTHERS["type"]:
                yield self._known("others", {"resourceType": "AuditEvent", "entity": [OTHERS]}), ""
                continue
            named = NAMED.fullmatch(entity["what"]["reference"]) if "what" in entity else None
            if named is None:  # the query that was asked, or what somebody asked for that cannot be an id
                yield self._part({"resourceType": "AuditEvent", "entity": [entity]}), ""
                continue
            type, id, _ = named.groups()
            of = (type, entity["type"]["code"], entity["role"]["code"])
            part = self._parts.get(of)
            if part is None:
                specimen = {**entity, "what": {"reference": f"{type}/{SPECIMEN}"}}
                part = self._known(of, {"resourceType": "AuditEvent", "entity": [specimen]})
            yield part, id

    def _naming(self, part: _Part, id: str) -> _Named:
        """Return what a part is filed under beside what all of its kind are: where it names a resource, that.

        The events of one request name the same resources.
        """
        key = (part.number, id)
        named = self._named.get(key)
        if named is None:
            if len(self._named) > KNOWN_NAMES:
                self._named.clear()
            term = self._term
            named = self._named[key] = (
                [term(each.replace(SPECIMEN, id)) for each in part.varying],
                [
                    (code, sorted({term(self_term(each.replace(SPECIMEN, id))) for each in led}))
                    for code, led in part.links
                ],
            )
        return named

    def _known(self, kind: Hashable, specimen: Document) -> _Part:
        part = self._parts.get(kind)
        if part is None:
            if len(self._parts) > KNOWN_KINDS:
                self._parts.clear()
            part = self._parts[kind] = self._part(specimen)
        return part

    def _part(self, specimen: Document) -> _Part:
        found = self._projector(specimen)
        terms = frozenset(self._term(each) for each in found.filed if SPECIMEN not in each)
        return _Part(
            number=next(self._numbers),
            ix=terms - self._common,
            cx=terms & self._common,
            has=frozenset(self._term(each) for each in found.present),
            varying=tuple(each for each in found.filed if SPECIMEN in each),
            links=tuple(found.links.items()),
        )
