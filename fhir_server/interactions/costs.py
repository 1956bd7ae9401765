"""Refusing what would be too slow, before it is begun, and by what the requester may see alone (ADR 15).

The estimate is the number of permitted documents that the indexes leave to be looked through. It is counted only where
indexes do not answer a search wholly, and only in collections that hold so much: a small collection has no search that
is too costly, whatever of it is permitted.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.errors import TooCostly
from fhir_server.interactions.call import Services
from fhir_server.interactions.wanted import Wanted
from fhir_server.search.asked import SortKey
from fhir_server.search.indexed import by_id, in_order, indexed
from fhir_server.search.mongo import to_filter
from fhir_server.store.resources import Gate


async def affordable(use: Services, wanted: Wanted, gate: Gate, sort: Sequence[SortKey] = ()) -> None:
    """Return if a search may be carried out. Raises TooCostly, with advice, if it would look through too much."""
    most = use.settings.most_examined
    found = indexed(wanted.clause)
    if wanted.persons is not None or by_id(found.clause) or not (found.rest or not in_order(sort)):
        return
    if await use.resources.size(wanted.type) <= most:
        return
    if await examined(use, wanted, gate, limit=most + 1) > most:
        raise TooCostly(_advice(most, found.rest, sort))


async def examined(use: Services, wanted: Wanted, gate: Gate, *, limit: int) -> int:
    """Return how many permitted documents the indexes leave to be looked through, at most the limit."""
    filter = to_filter(indexed(wanted.clause).clause, use.term)
    return await use.resources.count(wanted.type, filter, gate, limit=limit)


def _advice(most: int, rest: frozenset[str], sort: Sequence[SortKey]) -> str:
    why = []
    if rest:
        why.append(f"compare {', '.join(sorted(rest))} in")
    if not in_order(sort):
        why.append(f"sort by {', '.join(key.param for key in sort)}")
    return (
        f"This search would {' and '.join(why)} more than {most} resources one by one. Add a parameter that is looked up "
        "by equality, such as patient, identifier or code, or a range of _lastUpdated"
        + ("." if in_order(sort) else "; or sort by _lastUpdated.")
    )
