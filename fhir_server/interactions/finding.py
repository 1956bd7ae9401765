"""Finding what a clause asks for, under the gate: chains and persons resolved, pages cut, totals counted.

Every sub-query carries the predicate too: a chain stops at what the requester may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
SHOWN = {"r": 0}
BY_ID = SortKey("_id", descending=False)


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page, the total (None if it was not asked for), and where the next page begins (None: no more)."""

    rows: Sequence[Document]
    total: int | None
    next: Position | None


async def page(
    use: Services,
    type: str,
    clause: Clause,
    gate: Gate,
    *,
    sort: SortKey = BY_ID,
    after: Position | None,
    size: int,
    counted: bool,
) -> Page:
    """Return a page of what a resolved clause finds and the gate admits. counted: the total is wanted."""
    if needs_body(clause):
        return await _page_of_opened(use, type, clause, gate, sort=sort, after=after, size=size)
    filter = to_filter(clause, use.term)
    cut = {"$and": [filter, _beyond(sort, after)]} if after else filter
    rows = await use.resources.find(type, cut, gate, sort=_order(sort), limit=size + 1, shown=SHOWN)
    total: int | None = None
    if counted:
        # A first page that is not full holds all there is.
        whole = after is None and len(rows) <= size
        total = len(rows) if whole else await use.resources.count(type, filter, gate)
    return Page(rows[:size], total, _position(sort, rows[size - 1]) if len(rows) > size else None)


async def count(use: Services, type: str, clause: Clause, gate: Gate) -> int:
    """Return how many resources a resolved clause finds and the gate admits."""
    if needs_body(clause):
        return len(await _opened(use, type, clause, gate, BY_ID))
    return await use.resources.count(type, to_filter(clause, use.term), gate)


async def resolved(use: Services, clause: Clause, gate: Gate) -> Clause:
    """Return the clause with chains and persons replaced by the references that they lead to."""
    match clause:
        case And(parts) | Or(parts):
            found = await asyncio.gather(*(resolved(use, part, gate) for part in parts))
            return replace(clause, parts=tuple(found))
        case Not(part):
            return Not(await resolved(use, part, gate))
        case Chain(param, _, by_target):
            led = await asyncio.gather(*(_led_to(use, target, inner, gate) for target, inner in by_target))
            return Filed(param, tuple(reference.term(param, each) for found in led for each in found))
        case PersonReference(_, references):
            others = await _same_persons(use, references, gate) if use.settings.person_search else ()
            return reference.widened(clause, others)
    return clause


async def _led_to(use: Services, target: str, clause: Clause, gate: Gate) -> list[str]:
    """Return the references to the resources of one target type on which a chain's clause holds."""
    inner = await resolved(use, clause, gate)
    if needs_body(inner):
        rows: Sequence[Document] = [row for row, _ in await _opened(use, target, inner, gate, BY_ID)]
    else:
        filter = to_filter(inner, use.term)
        rows = await use.resources.find(
            target, filter, gate, sort=[("_id", 1)], limit=MOST_CHAINED + 1, shown={"_id": 1}
        )
    if len(rows) > MOST_CHAINED:
        raise TooCostly(f"The chain leads to more than {MOST_CHAINED} resources: narrow it.")
    return [f"{target}/{row['_id']}" for row in rows]


async def _same_persons(use: Services, references: Sequence[str], gate: Gate) -> list[str]:
    """Return the other Patients, out of those the requester may see, of the persons whose Patients these are.

    A Patient that the requester may not see links nothing: a server without it would not know of the link either.
    """
    asked = [each.removeprefix("Patient/") for each in references]
    seen = await use.resources.many("Patient", asked, gate)
    if not seen:
        return []
    filter = {"ix": {"$in": sorted({use.term(person_term(each["me"])) for each in seen.values()})}}
    rows = await use.resources.find("Patient", filter, gate, sort=[("_id", 1)], limit=MOST_CHAINED, shown={"_id": 1})
    return [f"Patient/{row['_id']}" for row in rows if row["_id"] not in asked]


async def _page_of_opened(
    use: Services, type: str, clause: Clause, gate: Gate, *, sort: SortKey, after: Position | None, size: int
) -> Page:
    """Return a page of a clause that is decided on opened bodies; bounded, since all candidates are opened."""
    found = [row for row, _ in await _opened(use, type, clause, gate, sort)]
    begin = next((n + 1 for n, row in enumerate(found) if after and row["_id"] == after.id), 0)
    if after and not begin:
        begin = sum(_comes_before(row, sort, after) for row in found)
    rows = found[begin : begin + size]
    more = len(found) > begin + size
    return Page(rows, len(found), _position(sort, rows[-1]) if more else None)


async def _opened(use: Services, type: str, clause: Clause, gate: Gate, sort: SortKey) -> list[tuple[Document, Any]]:
    filter = to_filter(clause, use.term)
    rows = await use.resources.find(type, filter, gate, sort=_order(sort), limit=MOST_OPENED + 1, shown=SHOWN)
    if len(rows) > MOST_OPENED:
        raise TooCostly(f"More than {MOST_OPENED} resources would have to be looked through: narrow the search.")
    bodies = await use.resources.opened(type, rows)
    return [
        (row, resource)
        for row, resource in zip(rows, map(parse, bodies), strict=True)
        if use.matches(clause, resource)
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
