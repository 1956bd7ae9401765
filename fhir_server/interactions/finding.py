"""Finding what a clause asks for, under the gate: chains and persons resolved, pages cut, totals counted.

Every sub-query carries the predicate too: a chain stops at what the requester may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services
from fhir_server.interactions.cursor import Position
from fhir_server.search import reference
from fhir_server.search.asked import SortKey
from fhir_server.search.ast import And, Chain, Clause, Filed, Not, Or, PersonReference, needs_body
from fhir_server.search.mongo import sort_field, to_filter
from fhir_server.store.persons import person_term
from fhir_server.store.resources import Document, Gate

MOST_CHAINED = 5_000
MOST_OPENED = 5_000

# What is not needed of a row that is shown.
SHOWN = {"r": 0, "ix": 0, "has": 0}
BY_ID = SortKey("_id", descending=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found: a clause without chains, and the persons whose records alone can match (None: any)."""

    type: str
    clause: Clause
    persons: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page, the total (None if it was not asked for), and where the next page begins (None: no more)."""

    rows: Sequence[Document]
    total: int | None
    next: Position | None


async def page(
    use: Services,
    wanted: Wanted,
    gate: Gate,
    *,
    sort: SortKey = BY_ID,
    after: Position | None,
    size: int,
    counted: bool,
) -> Page:
    """Return a page of what is wanted and the gate admits. counted: the total is asked for."""
    if needs_body(wanted.clause):
        return await _page_of_opened(use, wanted, gate, sort=sort, after=after, size=size)
    filter = _filter(use, wanted)
    cut = {"$and": [filter, _beyond(sort, after)]} if after else filter
    rows = await use.resources.find(wanted.type, cut, gate, sort=_order(sort), limit=size + 1, shown=SHOWN)
    total: int | None = None
    if counted:
        # A first page that is not full holds all there is.
        whole = after is None and len(rows) <= size
        total = len(rows) if whole else await use.resources.count(wanted.type, filter, gate)
    return Page(rows[:size], total, _position(sort, rows[size - 1]) if len(rows) > size else None)


async def count(use: Services, wanted: Wanted, gate: RequestGate) -> tuple[int, frozenset[str]]:
    """Return how many resources are wanted and admitted by the gate, and whose institutions' they are."""
    if needs_body(wanted.clause):
        rows = [row for row, _ in await _opened(use, wanted, gate, BY_ID)]
        return len(rows), frozenset(row["org"] for row in rows)
    filter = _filter(use, wanted)
    total = await use.resources.count(wanted.type, filter, gate)
    # Without Consents and emergencies there is nothing but what is the requester's institution's own.
    others = total > 0 and gate.beyond_own
    return total, await use.resources.custodians(wanted.type, filter, gate) if others else frozenset()


async def resolved(use: Services, type: str, clause: Clause, gate: Gate) -> Wanted:
    """Return a clause with its chains and persons replaced by the references that they lead to."""
    persons = _Persons(use, gate)
    found = await _straight(use, clause, gate, persons)
    return Wanted(type, found, await _only_of(use, type, clause, persons))


class _Persons:
    """The Patients that one search asks for, as far as the requester may see them; each looked up once.

    A Patient that the requester may not see links nothing: a server without it would not know of the link either.
    """

    def __init__(self, use: Services, gate: Gate) -> None:
        self._use = use
        self._gate = gate
        self._seen: dict[tuple[str, ...], dict[str, Document]] = {}

    async def seen(self, references: tuple[str, ...]) -> dict[str, Document]:
        """Return, by id, the Patients out of these that the requester may see."""
        if references not in self._seen:
            ids = [each.removeprefix("Patient/") for each in references]
            self._seen[references] = await self._use.resources.many("Patient", ids, self._gate)
        return self._seen[references]

    async def others(self, references: tuple[str, ...]) -> list[str]:
        """Return the references to the other Patients, out of those seen, of the same persons."""
        seen = await self.seen(references)
        alone = self._use.gatekeeper.persons.own_key
        # A key that comes from the Patient's own id is nobody else's.
        linked = {each["me"] for id, each in seen.items() if each["me"] != alone(id)}
        if not linked or not self._use.settings.person_search:
            return []
        filter = {"ix": {"$in": sorted(self._use.term(person_term(key)) for key in linked)}}
        rows = await self._use.resources.find(
            "Patient", filter, self._gate, sort=[("_id", 1)], limit=MOST_CHAINED, shown={"_id": 1}
        )
        return [f"Patient/{row['_id']}" for row in rows if row["_id"] not in seen]


async def _straight(use: Services, clause: Clause, gate: Gate, persons: _Persons) -> Clause:
    match clause:
        case And(parts) | Or(parts):
            found = await asyncio.gather(*(_straight(use, part, gate, persons) for part in parts))
            return replace(clause, parts=tuple(found))
        case Not(part):
            return Not(await _straight(use, part, gate, persons))
        case Chain(param, _, by_target):
            led = await asyncio.gather(*(_led_to(use, target, inner, gate) for target, inner in by_target))
            return Filed(param, tuple(reference.term(param, each) for found in led for each in found))
        case PersonReference(_, references):
            return reference.widened(clause, await persons.others(references))
    return clause


async def _only_of(use: Services, type: str, clause: Clause, persons: _Persons) -> frozenset[int] | None:
    """Return the person keys that the matches must have, where the search asks for the records of persons seen.

    It narrows nothing; it lets the store look within the records of the person.
    """
    for part in clause.parts if isinstance(clause, And) else (clause,):
        if isinstance(part, PersonReference) and use.gatekeeper.places(type, part.param):
            if set(part.terms) != {reference.term(part.param, each) for each in part.references}:
                continue  # something else than Patients is asked for as well
            seen = await persons.seen(part.references)
            if len(seen) == len(set(part.references)):
                return frozenset(each["me"] for each in seen.values())
    return None


async def _led_to(use: Services, target: str, clause: Clause, gate: Gate) -> list[str]:
    """Return the references to the resources of one target type on which a chain's clause holds."""
    wanted = await resolved(use, target, clause, gate)
    if needs_body(wanted.clause):
        rows: Sequence[Document] = [row for row, _ in await _opened(use, wanted, gate, BY_ID)]
    else:
        rows = await use.resources.find(
            target, _filter(use, wanted), gate, sort=[("_id", 1)], limit=MOST_CHAINED + 1, shown={"_id": 1}
        )
    if len(rows) > MOST_CHAINED:
        raise TooCostly(f"The chain leads to more than {MOST_CHAINED} resources: narrow it.")
    return [f"{target}/{row['_id']}" for row in rows]


def _filter(use: Services, wanted: Wanted) -> dict[str, Any]:
    filter = to_filter(wanted.clause, use.term)
    if wanted.persons is None:
        return filter
    persons = {"$in": sorted(wanted.persons)}
    return {"$or": [{"$and": [{"pat": persons}, filter]}, {"$and": [{"pats": persons}, filter]}]}


async def _page_of_opened(
    use: Services, wanted: Wanted, gate: Gate, *, sort: SortKey, after: Position | None, size: int
) -> Page:
    """Return a page of a clause that is decided on opened bodies; bounded, since all candidates are opened."""
    found = [row for row, _ in await _opened(use, wanted, gate, sort)]
    begin = next((n + 1 for n, row in enumerate(found) if after and row["_id"] == after.id), 0)
    if after and not begin:
        begin = sum(_comes_before(row, sort, after) for row in found)
    rows = found[begin : begin + size]
    more = len(found) > begin + size
    return Page(rows, len(found), _position(sort, rows[-1]) if more else None)


async def _opened(use: Services, wanted: Wanted, gate: Gate, sort: SortKey) -> list[tuple[Document, Any]]:
    rows = await use.resources.find(
        wanted.type, _filter(use, wanted), gate, sort=_order(sort), limit=MOST_OPENED + 1, shown=SHOWN
    )
    if len(rows) > MOST_OPENED:
        raise TooCostly(f"More than {MOST_OPENED} resources would have to be looked through: narrow the search.")
    bodies = await use.resources.opened(wanted.type, rows)
    return [
        (row, resource)
        for row, resource in zip(rows, map(parse, bodies), strict=True)
        if use.matches(wanted.clause, resource)
    ]


def _order(sort: SortKey) -> list[tuple[str, int]]:
    field = sort_field(sort)
    direction = -1 if sort.descending else 1
    return [("_id", direction)] if field == "_id" else [(field, direction), ("_id", 1)]


def _value(sort: SortKey, row: Document) -> float | None:
    field = sort_field(sort)
    if field == "_id":
        return None
    found: float | None = row["at"] if field == "at" else row.get("s", {}).get(sort.param)
    return found


def _position(sort: SortKey, row: Document) -> Position:
    return Position(_value(sort, row), row["_id"])


def _beyond(sort: SortKey, after: Position) -> dict[str, Any]:
    """Return the filter of the rows behind a position. Rows without a sort value come first, descending last."""
    field = sort_field(sort)
    if field == "_id":
        return {"_id": {"$lt" if sort.descending else "$gt": after.id}}
    same = {field: after.value, "_id": {"$gt": after.id}}
    if after.value is None:
        return same if sort.descending else {"$or": [same, {field: {"$ne": None}}]}
    if sort.descending:
        return {"$or": [same, {field: {"$lt": after.value}}, {field: None}]}
    return {"$or": [same, {field: {"$gt": after.value}}]}


def _comes_before(row: Document, sort: SortKey, after: Position) -> bool:
    """Return whether a row stands before a position, whose own row is gone."""

    def rank(value: float | None, id: str) -> tuple[bool, float, str]:
        missing_last = (value is None) is sort.descending
        return missing_last, (-1 if sort.descending else 1) * (value or 0), id

    mine, theirs = rank(_value(sort, row), row["_id"]), rank(after.value, after.id)
    if sort_field(sort) == "_id" and sort.descending:
        return mine > theirs
    return mine < theirs
