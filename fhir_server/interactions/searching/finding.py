"""Finding what clauses ask for, under the gates: rows of one or several types in one order, pages cut, totals counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly
from fhir_server.interactions.call import Services
from fhir_server.interactions.cursor import Position
from fhir_server.interactions.searching.costs import affordable, count_affordable, page_affordable
from fhir_server.interactions.searching.ordering import BY_ID, Row, Sort, beyond, follows, order, ordered, stored_value
from fhir_server.interactions.searching.wanted import MOST_OPENED, SHOWN, Wanted, filter_of, looked_through, opened
from fhir_server.interactions.together import all_of
from fhir_server.redaction.asking import untouched
from fhir_server.redaction.showing import due_overall
from fhir_server.search.asked import SortKey
from fhir_server.search.ast import needs_body
from fhir_server.search.sorting import Value
from fhir_server.store.resources import Document

# As far as a total is counted that was not asked for: to count further would cost more than the page itself.
MOST_COUNTED = 200


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page, the total (None if it is left out), and where the next page begins (None: no more)."""

    rows: Sequence[Row]
    total: int | None
    next: Position | None


async def page_of_types(
    use: Services,
    wanted: Sequence[Wanted],
    gates: Mapping[str, RequestGate],
    *,
    sort: Sort = BY_ID,
    after: Position | None,
    size: int,
    total: str | None = None,
) -> Page:
    """Return a page of what is wanted of each type and that type's gate admits, in one order.

    after: where the page begins; None: the first. total: as _total has it; None: counted, unless it is large.
    Raises TooCostly if more would have to be looked through or opened than is reasonable.
    """
    told = {None: MOST_COUNTED, "none": 0}.get(total)
    whole = await all_of(
        page_affordable(use, each, gates[each.type], sort, after=after, size=size, told=told) for each in wanted
    )
    if total == "accurate" and not all(whole):
        await all_of(affordable(use, each, gates[each.type]) for each in wanted)
    hidden = await all_of(_keys_withheld(use, each, gates[each.type], sort) for each in wanted)
    if any(needs_body(each.clause) for each in wanted) or any(hidden) or not all(key.stored for key in sort):
        return await _page_of_opened(use, wanted, gates, sort=sort, after=after, size=size, total=total)
    found = await all_of(_rows(use, each, gates[each.type], sort, after, size + 1) for each in wanted)
    rows = found[0] if len(found) == 1 else ordered((row for rows in found for row in rows), sort)
    if after is None and len(rows) <= size:  # a first page that is not full holds all there is
        counted = None if total == "none" else len(rows)
    elif not all(whole):  # what is too much to be gone through is not counted either
        counted = None
    else:
        counted = await _total(use, wanted, gates, total)
    return _cut(rows, size, counted)


async def count_of_types(
    use: Services, wanted: Sequence[Wanted], gates: Mapping[str, RequestGate]
) -> tuple[int, frozenset[str]]:
    """Return how many resources are wanted and admitted by the gates, and whose institutions' they are."""
    await all_of(affordable(use, each, gates[each.type]) for each in wanted)
    found = await all_of(_count(use, each, gates[each.type]) for each in wanted)
    count_affordable(sum(total for total, _ in found), use.settings.most_counted)
    return sum(total for total, _ in found), frozenset(one for _, concerned in found for one in concerned)


async def _count(use: Services, wanted: Wanted, gate: RequestGate) -> tuple[int, frozenset[str]]:
    if needs_body(wanted.clause):
        rows = [row for row, _ in await opened(use, wanted, gate, order(BY_ID))]
        return len(rows), frozenset(row["org"] for row in rows)
    filter = filter_of(use, wanted)
    limit = use.settings.most_counted
    await gate.overall()
    if gate.beyond_own:
        counts = await use.resources.count_by_custodian(wanted.type, filter, gate, limit=limit + 1, few=wanted.of_few)
        total, concerned = sum(counts.values()), frozenset(counts)
    else:  # without Consents and emergencies there is nothing but what is the requester's institution's own
        total, concerned = await use.resources.count(wanted.type, filter, gate, limit=limit + 1), frozenset[str]()
    count_affordable(total, limit)
    return total, concerned


async def _rows(
    use: Services, wanted: Wanted, gate: RequestGate, sort: Sort, after: Position | None, limit: int
) -> Sequence[Row]:
    """Return the first rows of one type that stand behind a position."""
    filter = filter_of(use, wanted)
    if after:
        cut = beyond(wanted.type, sort, after)
        if cut is None:
            return []
        filter = {"$and": [filter, cut]}
    found = await use.resources.find(
        wanted.type, filter, gate, sort=order(sort), limit=limit, shown=SHOWN, few=wanted.of_few
    )
    if not sort:
        return [Row(wanted.type, each) for each in found]
    return [Row(wanted.type, each, tuple(stored_value(key, each) for key in sort)) for each in found]


async def _total(
    use: Services, wanted: Sequence[Wanted], gates: Mapping[str, RequestGate], asked: str | None
) -> int | None:
    """Return the total, None if it is left out. Raises TooCostly if an exact one is asked for, and is too large."""
    if asked == "none":
        return None
    most = use.settings
    limit = {"accurate": most.most_counted, "estimate": max(most.most_examined, MOST_COUNTED)}.get(
        asked or "", MOST_COUNTED
    )
    counts = await all_of(
        use.resources.count(each.type, filter_of(use, each), gates[each.type], limit=limit + 1, few=each.of_few)
        for each in wanted
    )
    if asked == "accurate":
        count_affordable(sum(counts), limit)
    return None if sum(counts) > limit else sum(counts)


async def _page_of_opened(
    use: Services,
    wanted: Sequence[Wanted],
    gates: Mapping[str, RequestGate],
    *,
    sort: Sort,
    after: Position | None,
    size: int,
    total: str | None,
) -> Page:
    """Return a page that is decided or ordered on opened bodies; bounded, since all candidates are opened."""
    found = await all_of(_opened(use, each, gates[each.type], sort) for each in wanted)
    if sum(map(len, found)) > MOST_OPENED:
        raise _too_many(sort)
    rows = ordered((row for rows in found for row in rows), sort)
    counted = None if total == "none" else len(rows)
    return _cut([row for row in rows if after is None or follows(row, after, sort)], size, counted)


async def _keys_withheld(use: Services, wanted: Wanted, gate: RequestGate, sort: Sort) -> frozenset[SortKey]:
    """Return the sort keys that read what is withheld of some records: what is stored of these tells of it."""
    due = await due_overall(use, gate, wanted.type) if sort else ()
    if not due:
        return frozenset()
    return frozenset(key for key in sort if not untouched(use.registry, wanted.type, key.param, due))


async def _opened(use: Services, wanted: Wanted, gate: RequestGate, sort: Sort) -> list[Row]:
    """Return all rows of one type. Raises TooCostly if there are too many."""
    too_many = None if needs_body(wanted.clause) else _too_many(sort)
    hidden = await _keys_withheld(use, wanted, gate, sort)
    found = await opened(use, wanted, gate, order(BY_ID), too_many=too_many)
    return [
        Row(wanted.type, row, tuple(_value(use, key, row, body, key in hidden) for key in sort)) for row, body in found
    ]


def _value(use: Services, key: SortKey, row: Document, body: Any, hidden: bool) -> Value:
    """Return the value of a key. hidden: what the store keeps of it may be withheld."""
    return use.sort_values(key, body) if hidden or not key.stored else stored_value(key, row)


def _too_many(sort: Sort) -> TooCostly:
    keys = ", ".join(key.param for key in sort if not key.stored)
    if keys:
        return TooCostly(
            f"To sort by {keys}, more than {MOST_OPENED} resources would have to be opened: "
            "ask for fewer by further parameters, or sort by a date, a number, a quantity, _lastUpdated or _id."
        )
    return looked_through()


def _cut(rows: Sequence[Row], size: int, total: int | None) -> Page:
    return Page(rows[:size], total, rows[size - 1].position if len(rows) > size else None)
