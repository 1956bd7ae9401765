"""Wrapping every stored key anew under the current master key, while all else goes on; what they sealed stays as it is.

How far the job is, the keys themselves say: killed anywhere, it goes on when it is started again. A key that is
destroyed meanwhile is not brought back: an exchange finds the wrapping that was read, or nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.sealing import Bound, Held, WrappedKey, Wrapping
from fhir_server.store.commit import DURABLE
from fhir_server.store.keys import exchanged

Database = AsyncDatabase[dict[str, Any]]
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class WrappedIn:
    """A collection whose documents {_id, master, sealed, …} each hold a wrapped key. owner: whose it is, by _id."""

    collection: str
    owner: Callable[[Any], bytes]


async def left(database: Database, places: Iterable[WrappedIn], current: str) -> int:
    """Return how many keys are not wrapped under the current master key."""
    other = {"master": {"$ne": current}}
    return sum([await database[each.collection].count_documents(other) for each in places])


async def masters_in_use(
    database: Database, places: Iterable[WrappedIn], session: AsyncClientSession | None = None
) -> dict[str, int]:
    """Return how many keys are wrapped under each master key. session: the snapshot in which that is counted."""
    found: dict[str, int] = {}
    for each in places:
        pipeline = [{"$group": {"_id": "$master", "count": {"$sum": 1}}}]
        async for row in await database[each.collection].aggregate(pipeline, session=session):
            found[row["_id"]] = found.get(row["_id"], 0) + row["count"]
    return found


async def rewrap(database: Database, place: WrappedIn, wrapping: Wrapping) -> AsyncIterator[int]:
    """Wrap anew the keys of a collection that are under other master keys; yield how many, after each batch is durable.

    A key whose master key is not held is passed over: whoever is storing it has seen the master key go, and exchanges
    its wrapping right away (store/keys.py). Raises Unsealable if a key was changed; it is left as it is.
    """
    collection = database.get_collection(place.collection, write_concern=DURABLE)
    batch = list[dict[str, Any]]()
    fields = {"master": 1, "sealed": 1}
    async with collection.find({"master": {"$in": wrapping.others}}, fields, batch_size=BATCH) as cursor:
        async for document in cursor:
            batch.append(document)
            if len(batch) == BATCH:
                yield await _exchange(collection, place, wrapping, batch)
                batch = []
    if batch:
        yield await _exchange(collection, place, wrapping, batch)


async def _exchange(collection: Any, place: WrappedIn, wrapping: Wrapping, batch: list[dict[str, Any]]) -> int:
    owners = [place.owner(each["_id"]) for each in batch]
    held = [Held(WrappedKey(each["master"], each["sealed"]), owner) for each, owner in zip(batch, owners, strict=True)]
    opened = await wrapping.unwrap_all(held)
    wrapped = await wrapping.wrap_all([Bound(key, owner) for key, owner in zip(opened, owners, strict=True)])
    changes = [exchanged(old, new) for old, new in zip(batch, wrapped, strict=True)]
    return int((await collection.bulk_write(changes, ordered=False)).modified_count)
