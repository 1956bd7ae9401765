"""Refusing what would be too slow, before it is begun, and by what the requester may see alone (ADR 15, ADR 20).

The estimate is the number of permitted documents that the indexes leave to be looked through. It is counted only where
indexes do not answer a search wholly, and only in collections that hold so much: a small collection has no search that
is too costly, whatever of it is permitted. Where it is too much for the search as a whole, a page of it may still be
cheap: one that is full before so many permitted documents, in the order of the page, have been looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.errors import TooCostly
from fhir_server.interactions.call import Services
from fhir_server.interactions.cursor import Position
from fhir_server.interactions.searching.ordering import beyond, order
from fhir_server.interactions.searching.wanted import Wanted, filter_of
from fhir_server.search.asked import SortKey
from fhir_server.search.ast import And, Clause, needs_body
from fhir_server.search.indexed import Indexed, by_id, in_order, indexed
from fhir_server.search.mongo import to_filter
from fhir_server.search.ranges import bounded, latest, reaches
from fhir_server.store.common import apart, common
from fhir_server.store.resources import Document, Gate

# A page that is full among so many is found sooner than it is counted whether all is too much.
AT_ONCE = 50_000


async def affordable(use: Services, wanted: Wanted, gate: Gate, sort: Sequence[SortKey] = ()) -> None:
    """Return if all that a search finds may be gone through. Raises TooCostly, with advice."""
    if await _surely_whole(use, wanted, sort):
        return
    most = use.settings.most_examined
    if await examined(use, wanted, gate, limit=most + 1) > most:
        raise TooCostly(_advice(use, wanted, sort))


async def page_affordable(
    use: Services,
    wanted: Wanted,
    gate: Gate,
    sort: Sequence[SortKey],
    *,
    after: Position | None,
    size: int,
    told: int | None,
) -> bool:
    """Return whether all that a search finds may be gone through; False: the page that is asked for, and no more.

    after: where the page begins. told: the largest total that is to be told with it; None: any, 0: none. It decides how
    much is counted here, not what is answered. Raises TooCostly, with advice, if not even the page may be gone through.
    """
    if await _surely_whole(use, wanted, sort):
        return True
    most = use.settings.most_examined
    if told is not None and told <= most:
        # Where indexes leave nothing but what is found, that is too much to be told when it is too much here.
        if told and await examined(use, wanted, gate, limit=told + 1) <= told:
            return True
        untold = not told or _indexed(wanted).clause == wanted.clause
        if untold and await _soon_full(use, wanted, gate, sort, after, size, among=min(most, AT_ONCE)):
            return False
    if await examined(use, wanted, gate, limit=most + 1) <= most:
        return True
    if not await _soon_full(use, wanted, gate, sort, after, size, among=most):
        raise TooCostly(_advice(use, wanted, sort))
    return False


def count_affordable(counted: int, limit: int) -> None:
    """Return if a total that was counted up to one more than the limit may be told. Raises TooCostly, with advice."""
    if counted > limit:
        raise TooCostly(
            f"An exact total is counted up to {limit} resources, and there are more. Leave _total out or ask for "
            "_total=estimate, which tells a total where it is cheap; or count in parts, by periods of _lastUpdated for one."
        )


async def examined(use: Services, wanted: Wanted, gate: Gate, *, limit: int) -> int:
    """Return how many permitted documents the indexes leave to be looked through, at most the limit."""
    filter = _filter(use, wanted, _indexed(wanted).clause, bounded(wanted.type))
    return await use.resources.count(wanted.type, filter, gate, limit=limit)


async def _surely_whole(use: Services, wanted: Wanted, sort: Sequence[SortKey]) -> bool:
    """Return whether indexes answer a search wholly, or so little is stored that what is permitted cannot be too much."""
    found = _indexed(wanted)
    if wanted.of_few or by_id(found.clause):
        return True
    if not found.rest and in_order(sort, bounded(wanted.type)):
        return True
    return await use.resources.size(wanted.type) <= use.settings.most_examined


async def _soon_full(
    use: Services,
    wanted: Wanted,
    gate: Gate,
    sort: Sequence[SortKey],
    after: Position | None,
    size: int,
    *,
    among: int,
) -> bool:
    """Return whether a page, and the row behind it, is among the first documents of its order, which are to be looked at.

    So it is as well where there are no more documents than these: on the last pages.
    """
    if needs_body(wanted.clause) or not in_order(sort, bounded(wanted.type)):
        return False
    cut = beyond(wanted.type, sort, after) if after else {}
    if cut is None:
        return True
    within = {"$and": [_filter(use, wanted, indexed(wanted.clause).clause), _until(wanted, sort), cut]}
    resources, type = use.resources, wanted.type
    found = await resources.found_among(
        type, within, filter_of(use, wanted), gate, sort=order(sort), among=among, limit=size + 1
    )
    return found > size or await resources.count(type, within, gate, limit=among + 1) <= among


def _filter(use: Services, wanted: Wanted, clause: Clause, ranges: frozenset[str] = frozenset()) -> Document:
    return apart(to_filter(clause, use.term, ranges), common(wanted.type, use.term))


def _indexed(wanted: Wanted) -> Indexed:
    return indexed(wanted.clause, bounded(wanted.type))


def _until(wanted: Wanted, sort: Sequence[SortKey]) -> Document:
    """Return the filter of the part of an order in which the matches are, as far as the order itself tells."""
    parts = wanted.clause.parts if isinstance(wanted.clause, And) else (wanted.clause,)
    found = reaches(parts, bounded(wanted.type) & {key.param for key in sort})
    ends = ((param, latest(stretches)) for param, stretches in found.items())
    return {f"s.{param}": {"$lte": end} for param, end in ends if end is not None}


def _advice(use: Services, wanted: Wanted, sort: Sequence[SortKey]) -> str:
    rest, ranges = _indexed(wanted).rest, bounded(wanted.type)
    sorted_by_index = in_order(sort, ranges)
    why = []
    if rest:
        why.append(f"compare {', '.join(sorted(rest))} in")
    if not sorted_by_index:
        why.append(f"sort by {', '.join(key.param for key in sort)}")
    ways = [
        "Add a parameter that is looked up by equality, such as patient, identifier or code, or a range of _lastUpdated"
    ]
    if narrow := sorted(rest & ranges):
        ways.append(f"ask for a shorter time of {narrow[0]}, or with _sort=-{narrow[0]} for its latest")
    if not sorted_by_index:
        ways.append("sort by _lastUpdated")
    most = use.settings.most_examined
    return f"This search would {' and '.join(why)} more than {most} resources one by one. {'; or '.join(ways)}."
