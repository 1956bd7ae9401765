"""Documents among candidates: what a query finds is judged here, where that is cheaper than to name all persons in it.

A query that finds little is cheaper asked as it is, and what it finds judged here, than asked with what is permitted for
every person in it. It comes to the same: the same predicate judges either way. How much is hidden among the candidates
decides which way is taken, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ExecutionTimeout

from fhir_server.store.permitted import Permitted

Document = dict[str, Any]

# To name more persons in a query takes as long as to ask it.
MANY = 500
# So many more candidates than those wanted on a page are fetched, first and then again, and so long they are looked for,
# before all persons are named in the query instead: then MongoDB may find it better to begin with the persons.
BEYOND = (0, 100)
MILLISECONDS = 500
# As many are looked at here at most where all are wanted.
MOST = 1_000
JUDGED = {"org": 1, "pat": 1, "pats": 1, "lab": 1, "c": 1, "w": 1}


def worthwhile(permitted: Permitted, type: str, *, few: bool = False) -> bool:
    """Return whether to look among candidates. few: what is asked for are records of a few persons and of nobody else."""
    return permitted.named(type) > (0 if few else MANY)


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
    admits, shown = permitted.test(collection.name), with_judged(shown)
    for most in (limit + each for each in BEYOND):
        found = await _soon(
            collection.find(filter, shown, sort=list(sort), limit=most, max_time_ms=MILLISECONDS).to_list()
        )
        if found is None:
            return None
        admitted = [each for each in found if admits(each)]
        if len(found) < most or len(admitted) >= limit:
            return admitted[:limit]
    return None


async def all_admitted(
    collection: AsyncCollection[Document],
    filter: Document,
    permitted: Permitted,
    *,
    shown: str,
    limit: int | None = None,
) -> list[Document] | None:
    """Return all documents that the filter finds and may be seen, in no order; None: not to be had this way.

    shown: the field that is wanted of them; no others are to be relied on. limit: so many of them will do.
    """
    # A field more in what is fetched costs more than to judge it: only those that are read.
    fields = {"_id": 0, **dict.fromkeys((shown, *permitted.reads(collection.name)), 1)}
    wanted = min(limit or MOST, MOST)
    most = wanted + wanted // 10  # few are hidden where this way is worth taking
    asked = collection.find(filter, fields, limit=most, batch_size=most + 1, max_time_ms=MILLISECONDS)
    found = await _soon(asked.to_list())
    if found is None:
        return None
    admits = permitted.test(collection.name)
    admitted = [each for each in found if admits(each)]
    return admitted if len(found) < most or (limit is not None and len(admitted) >= limit) else None


async def _soon(asked: Awaitable[list[Document]]) -> list[Document] | None:
    """Return what a query finds, None if it takes too long."""
    try:
        return await asked
    except ExecutionTimeout:
        return None


def with_judged(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return a projection that leaves what the judgement needs."""
    including = any(value == 1 for value in shown.values())
    return {**shown, **JUDGED} if including else dict(shown)
