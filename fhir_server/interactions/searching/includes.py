"""_include and _revinclude: what the matches refer to, and what refers to them (FHIR R4 Search, "Including other resources").

Every resource that is included passes a gate of its own: that of a read where a visible reference leads to it, that of
a search where it is found by its own reference. One query for each type and round, never for each row.
A versioned reference leads to the current version; a canonical URL to every resource here that has it, of the version
that it names if it names one. References to contained resources and to other servers lead nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from orjson import loads

from fhir_server.audit.event import Happening
from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly
from fhir_server.interactions.call import Services
from fhir_server.interactions.searching.opening import Opened, opened_rows, shown
from fhir_server.interactions.searching.ordering import BY_ID, order
from fhir_server.interactions.searching.wanted import SHOWN
from fhir_server.interactions.together import all_of
from fhir_server.redaction.sections import TYPE as COMPOSITION
from fhir_server.redaction.showing import due_overall
from fhir_server.search.asked import Include
from fhir_server.search.inclusion import Resource, canonical_terms, canonicals, followed, has_url, referring
from fhir_server.store.resources import Document

MOST_INCLUDED = 1_000
# As often as references of what was included are followed.
MOST_ROUNDS = 30
# The log refers to everything and grows with each request: "*" does not mean it, it has to be named.
LOG = frozenset({"AuditEvent"})

Filters = dict[str, Document]


async def included(
    use: Services, gate: RequestGate, includes: Sequence[Include], matches: Sequence[Opened], interaction: str
) -> tuple[list[Opened], list[Happening]]:
    """Return what is included with the matches of a page, each once and no match again, and what is to be recorded.

    gate: of the request. Raises TooCostly if that is more than one answer should hold.
    """
    reads, searches = gate.lettered("r"), gate.lettered("s")
    known = {each.reference for each in matches}
    found: list[Opened] = []
    records: list[Happening] = []
    newest, steps = list(matches), list(includes)
    for _ in range(MOST_ROUNDS):
        if not newest or not steps:
            return found, records
        step = _Step(use, steps, newest, known, MOST_INCLUDED - len(found))
        referred = await step.forward(reads)
        referring = await step.reverse(searches, but={each.reference for each in referred})
        newest = sorted([*referred, *referring], key=lambda each: each.reference)
        found += newest
        if len(found) > MOST_INCLUDED:
            raise _too_many()
        known |= {each.reference for each in newest}
        records += [shown(interaction, rows, by) for rows, by in ((referred, reads), (referring, searches)) if rows]
        steps = [each for each in includes if each.iterate]
    raise TooCostly(f"References would have to be followed more than {MOST_ROUNDS} times: leave out :iterate.")


def _too_many() -> TooCostly:
    return TooCostly(
        f"The page leads to more than {MOST_INCLUDED} resources to include: "
        "ask for a smaller page (_count), or name the types to include."
    )


def _as_stored(body: bytes) -> Resource:
    """Return the resource of an opened body, to look for references in it: the digits of its decimals may change."""
    found: Resource = loads(body)
    return found


class _Step:
    """One round: from the newest resources to those one reference away that are not known. room: for how many more."""

    def __init__(
        self, use: Services, includes: Sequence[Include], newest: Sequence[Opened], known: set[str], room: int
    ) -> None:
        self._use = use
        self._forward = [each for each in includes if not each.reverse]
        self._reverse = [each for each in includes if each.reverse]
        self._newest = newest
        self._known = known
        self._room = room

    async def forward(self, gate: RequestGate) -> list[Opened]:
        """Return what the newest resources refer to and the gate admits."""
        if not self._forward:
            return []
        use, sources = self._use, {each.type for each in self._forward}
        resources = [_as_stored(each.body) for each in self._newest if None in sources or each.type in sources]
        by_type = self._places(resources)
        seen = await all_of(use.resources.many(type, ids, gate) for type, ids in by_type.items())
        rows = [(type, each) for type, found in zip(by_type, seen, strict=True) for each in found.values()]
        if filters := self._by_canonical(resources):
            rows += await self._found(filters, gate)
        return await self._new(rows, set(), gate)

    def _places(self, resources: Sequence[Resource]) -> dict[str, list[str]]:
        """Return the ids, by type, that the resources refer to."""
        projector = self._use.projector
        wanted = dict.fromkeys(place for each in resources for place in followed(self._forward, projector, each))
        places = [each.split("/") for each in wanted if each not in self._known]
        if len(places) > self._room:
            raise _too_many()
        by_type: dict[str, list[str]] = {}
        for type, id in places:
            if type in self._use.registry.types:
                by_type.setdefault(type, []).append(id)
        return by_type

    def _by_canonical(self, resources: Sequence[Resource]) -> Filters:
        """Return the filters, by type, of what the resources refer to by canonical URLs."""
        use, found = self._use, dict[str, dict[tuple[str, ...], None]]()
        for type, url in canonicals(self._forward, use.registry, use.projector, resources):
            found.setdefault(type, {})[canonical_terms(url)] = None
        return {
            type: {"$or": [{"ix": {"$all": [use.term(each) for each in terms]}} for terms in wanted]}
            for type, wanted in found.items()
        }

    async def reverse(self, gate: RequestGate, *, but: set[str]) -> list[Opened]:
        """Return what refers to the newest resources and the gate admits. but: what was found already."""
        if not self._reverse:
            return []
        use, asked = self._use, dict[str, dict[str, None]]()
        for include in self._reverse:
            for source in await self._sources(include):
                parameters = use.registry.parameters(source).values()
                for each in self._newest:
                    terms = referring(include, parameters, each.type, each.document["_id"], self._url(each))
                    asked.setdefault(source, {}).update(dict.fromkeys(terms))
        filters = {source: {"ix": {"$in": list(map(use.term, each))}} for source, each in asked.items() if each}
        found = await self._new(await self._found(filters, gate), but, gate)
        doubtful = {each for each in asked if each == COMPOSITION or await due_overall(use, gate, each)}
        return [each for each in found if each.type not in doubtful or self._refers(each, asked[each.type])]

    def _refers(self, row: Opened, terms: Collection[str]) -> bool:
        """Return whether what is shown of a row is filed under one of the terms: what is withheld refers to nothing."""
        return not self._use.projector(_as_stored(row.body)).terms.isdisjoint(terms)

    async def _sources(self, include: Include) -> Iterable[str]:
        """Return the types among whose resources those are looked for that refer here."""
        if include.type:
            return (include.type,)
        return sorted((self._use.registry.types & await self._use.resources.stored()) - LOG)

    def _url(self, row: Opened) -> str | None:
        return _as_stored(row.body).get("url") if has_url(self._use.registry, row.type) else None

    async def _found(self, filters: Filters, gate: RequestGate) -> list[tuple[str, Document]]:
        """Return what filters find. What is known already may be among it, so it does not count."""
        limit = self._room + 1 + len(self._known)
        found = await all_of(
            self._use.resources.find(type, filter, gate, sort=order(BY_ID), limit=limit, shown=SHOWN)
            for type, filter in filters.items()
        )
        return [(type, each) for type, rows in zip(filters, found, strict=True) for each in rows]

    async def _new(self, rows: Sequence[tuple[str, Document]], but: set[str], gate: RequestGate) -> list[Opened]:
        """Return rows that are not known, each once, opened. Raises TooCostly if there are too many."""
        by_place = {f"{type}/{document['_id']}": (type, document) for type, document in rows}
        new = [row for place, row in by_place.items() if place not in self._known and place not in but]
        if len(new) > self._room:
            raise _too_many()
        return await opened_rows(self._use, gate, new)
