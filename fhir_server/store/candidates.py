"""Documents among candidates: where what is permitted names very many persons, a query need not name them all.

A query that finds little is cheaper asked as it is, and what it finds judged here, than asked with thousands of persons in
it. It comes to the same: the same predicate judges either way. How much is hidden among the candidates decides which way is
taken, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import ExecutionTimeout

from fhir_server.store.permitted import Permitted

Document = dict[str, Any]

# As many candidates are fetched beyond those wanted, and so long they are looked for, before all persons are named in the
# query instead: then MongoDB may find it better to begin with the persons.
BEYOND = 100
MILLISECONDS = 100
JUDGED = {"org": 1, "pat": 1, "pats": 1, "lab": 1, "c": 1, "w": 1}


async def first_admitted(
    collection: AsyncCollection[Document],
    filter: Document,
    permitted: Permitted,
    *,
    sort: Sequence[tuple[str, int]],
    limit: int,
    shown: Mapping[str, Any],
) -> list[Document] | None:
    """Return the first documents, in this order, that the filter finds and may be seen; None: not to be had this way."""
    most = limit + BEYOND
    found = await _soon(collection.find(filter, _with_judged(shown), sort=list(sort), limit=most + 1))
    if found is None:
        return None
    admitted = [each for each in found if permitted.admits(collection.name, each)]
    return admitted[:limit] if len(found) <= most or len(admitted) >= limit else None


async def count_admitted(collection: AsyncCollection[Document], filter: Document, permitted: Permitted) -> int | None:
    """Return how many documents the filter finds that may be seen; None: not to be had this way."""
    found = await _soon(collection.find(filter, JUDGED, limit=BEYOND + 1))
    if found is None or len(found) > BEYOND:
        return None
    return sum(permitted.admits(collection.name, each) for each in found)


async def _soon(cursor: AsyncCursor[Document]) -> list[Document] | None:
    """Return what a query finds, None if it takes too long."""
    try:
        return await cursor.max_time_ms(MILLISECONDS).to_list()
    except ExecutionTimeout:
        return None


def _with_judged(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return a projection that leaves what the judgement needs."""
    including = any(value == 1 for value in shown.values())
    return {**shown, **JUDGED} if including else dict(shown)
