"""The deliveries of this installation, as their rows tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.deliveries.delivery import PURGING, RECEIVED, Delivery
from fhir_server.store.commit import DURABLE
from fhir_server.store.keys import KEYS
from fhir_server.store.received import DELIVERIES, HELD

Database = AsyncDatabase[dict[str, Any]]
INDEXES = {
    DELIVERIES: IndexModel([("state", ASCENDING), ("due", ASCENDING)], name="due"),
    RECEIVED: IndexModel([("delivery", ASCENDING), ("_id", ASCENDING)], name="delivery"),
    KEYS: IndexModel([("delivery", ASCENDING)], name="delivery", sparse=True),
}


async def ensure(database: Database) -> None:
    """Make the indexes by which deliveries, what they brought and their keys are found."""
    for name, index in INDEXES.items():
        await database[name].create_indexes([index])


class Deliveries:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._rows = database.get_collection(DELIVERIES, write_concern=DURABLE)
        self._received = database[RECEIVED]

    async def get(self, id: str) -> Delivery | None:
        row = await self._rows.find_one({"_id": id})
        return Delivery.of(row) if row else None

    async def counts(self, id: str) -> dict[str, int]:
        """Return how many resources of each type were purged of a delivery so far."""
        row = await self._rows.find_one({"_id": id}) or {}
        return dict(sorted(row.get("counts", {}).items()))

    async def brought(self, id: str, *, most: int = 0) -> list[str]:
        """Return "Type/id" of the resources that came with a delivery and were not purged. most: 0 for all."""
        rows = await self._received.find({"delivery": id}).sort("_id", 1).limit(most).to_list()
        return [row["_id"] for row in rows]

    async def ripe(self, now: datetime, *, looked_before: datetime) -> AsyncIterator[Delivery]:
        """Yield those that may have to be purged: due by their row, not looked at since, or begun and not finished."""
        held = [{"due": {"$lte": now}}, {"looked": {"$lte": looked_before}}]
        found = {"$or": [{"state": PURGING}, *({"state": HELD, **each} for each in held)]}
        async for row in self._rows.find(found, batch_size=200):
            yield Delivery.of(row)

    async def put_off(self, delivery: Delivery, due: datetime, *, looked: datetime) -> None:
        """Note until when a delivery is held after all."""
        await self._rows.update_one({"_id": delivery.id, "state": HELD}, {"$set": {"due": due, "looked": looked}})

    async def begin(self, delivery: Delivery) -> None:
        """Begin to purge: from now on nothing of this delivery is stored (store/received.py)."""
        await self._rows.update_one({"_id": delivery.id, "state": HELD}, {"$set": {"state": PURGING}})
