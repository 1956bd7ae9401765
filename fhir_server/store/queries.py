"""What a filter finds of what is permitted, found in the way that costs least and always the same.

As a rule the query carries the predicate. Where that names very many persons, or what is asked for are records of few,
what the query finds is judged here (candidates.py). What is said at length of some persons, no query carries: it finds
all of their documents, and those are judged here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor

from fhir_server.store.candidates import all_admitted, first_admitted, with_judged, worthwhile
from fhir_server.store.judged import Test
from fhir_server.store.permitted import Permitted

Document = dict[str, Any]
Collection = AsyncCollection[Document]

MOST_MILLISECONDS = 60_000


def both(filter: Document, permitted: Document) -> Document:
    """Return the filter of what both find."""
    return {"$and": [filter, permitted]} if filter and permitted else filter or permitted


async def find(
    collection: Collection,
    filter: Document,
    permitted: Permitted,
    *,
    sort: Sequence[tuple[str, int]],
    limit: int,
    shown: Mapping[str, Any],
    few: bool,
) -> list[Document]:
    """Return the first documents, in this order, that the filter finds and that are permitted. limit: 0 for all.

    few: the filter finds records of a few persons, and of nobody else. Raises ExecutionTimeout.
    """
    type = collection.name
    if limit and worthwhile(permitted, type, few=few):
        first = await first_admitted(collection, filter, permitted, sort=sort, limit=limit, shown=shown)
        if first is not None:
            return first
    gated = both(filter, permitted.filter(type))
    if not permitted.at_length(type):
        return await collection.find(gated, shown, sort=sort, limit=limit, max_time_ms=MOST_MILLISECONDS).to_list()
    cursor = collection.find(gated, with_judged(shown), sort=sort, max_time_ms=MOST_MILLISECONDS)
    return await _judged(cursor, permitted.test(type), limit=limit)


async def count(collection: Collection, filter: Document, permitted: Permitted, *, limit: int | None, few: bool) -> int:
    """Return how many documents the filter finds that are permitted.

    limit: beyond it they need not be counted. few: as for `find`. Raises ExecutionTimeout.
    """
    type = collection.name
    if worthwhile(permitted, type, few=few) or permitted.at_length(type):
        return (await count_by_custodian(collection, filter, permitted, limit=limit, few=few)).total()
    bounds: Document = {} if limit is None else {"limit": limit}
    gated = both(filter, permitted.filter(type))
    return await collection.count_documents(gated, maxTimeMS=MOST_MILLISECONDS, **bounds)


async def count_by_custodian(
    collection: Collection, filter: Document, permitted: Permitted, *, limit: int | None, few: bool
) -> Counter[str]:
    """Return, by institution, how many documents the filter finds that are permitted.

    limit: beyond it they need not be counted. few: as for `find`. Raises ExecutionTimeout.
    """
    type = collection.name
    if worthwhile(permitted, type, few=few):
        admitted = await all_admitted(collection, filter, permitted, shown="org", limit=limit)
        if admitted is not None:
            return _by_custodian(admitted)
    gated = both(filter, permitted.filter(type))
    if not (persons := permitted.at_length(type)):
        return await _grouped(collection, gated, limit)
    theirs = _of(persons)
    counts = await _grouped(collection, both(gated, {"$nor": [theirs]}), limit)
    fields = {"_id": 0, **dict.fromkeys(("org", *permitted.reads(type)), 1)}
    cursor = collection.find(both(gated, theirs), fields, max_time_ms=MOST_MILLISECONDS)
    return counts + _by_custodian(await _judged(cursor, permitted.test(type), limit=limit or 0))


async def pointed_to(
    collection: Collection, param: str, filter: Document, permitted: Permitted, *, limit: int
) -> list[int]:
    """Return the keyed terms, at most as many as the limit, of what those refer to by a parameter that the filter finds.

    They come in no order. Those that refer are permitted; what they refer to is not looked at. Raises ExecutionTimeout.
    """
    type, field = collection.name, f"to.{param}"
    if worthwhile(permitted, type):
        admitted = await all_admitted(collection, filter, permitted, shown=field)
        if admitted is not None:
            return _ends(admitted, param)[:limit]
    gated = both(filter, permitted.filter(type))
    if permitted.at_length(type):
        fields = {"_id": 0, **dict.fromkeys((field, *permitted.reads(type)), 1)}
        cursor = collection.find(gated, fields, max_time_ms=MOST_MILLISECONDS)
        return _ends(await _judged(cursor, permitted.test(type)), param)[:limit]
    steps: list[Document] = [
        {"$match": gated},
        {"$project": {"_id": 0, "value": f"${field}"}},
        {"$unwind": "$value"},
        {"$group": {"_id": "$value"}},
        {"$limit": limit},
    ]
    found = await collection.aggregate(steps, maxTimeMS=MOST_MILLISECONDS)
    return [each["_id"] async for each in found]


async def _judged(cursor: AsyncCursor[Document], admits: Test, *, limit: int = 0) -> list[Document]:
    """Return the first of the documents that a cursor gives that are admitted. limit: 0 for all."""
    admitted: list[Document] = []
    async with cursor:
        async for each in cursor:
            if admits(each):
                admitted.append(each)
                if len(admitted) == limit:
                    break
    return admitted


async def _grouped(collection: Collection, filter: Document, limit: int | None) -> Counter[str]:
    cut: list[Document] = [] if limit is None else [{"$limit": limit}]
    steps: list[Document] = [{"$match": filter}, *cut, {"$group": {"_id": "$org", "count": {"$sum": 1}}}]
    cursor = await collection.aggregate(steps, maxTimeMS=MOST_MILLISECONDS)
    return Counter({each["_id"]: each["count"] async for each in cursor})


def _by_custodian(documents: Iterable[Document]) -> Counter[str]:
    return Counter([each["org"] for each in documents])


def _ends(documents: Iterable[Document], param: str) -> list[int]:
    return list({term for each in documents for term in each.get("to", {}).get(param, ())})


def _of(persons: Iterable[Hashable]) -> Document:
    """Return the filter of the documents in the compartments of persons."""
    keys = list(persons)
    return {"$or": [{"pat": {"$in": keys}}, {"pats": {"$in": keys}}]}
