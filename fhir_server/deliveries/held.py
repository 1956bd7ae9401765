"""The deliveries of this installation, as their rows tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.deliveries.delivery import PURGED, PURGING, RECEIVED, Delivery
from fhir_server.store.commit import DURABLE
from fhir_server.store.keys import DELIVERED, KEYS
from fhir_server.store.marks import FIELD, LOG, ChangedInStore, RowMarks
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
    """Reads and changes the rows. A row that is not as it was stored is believed in nothing (store/marks.py)."""

    def __init__(self, database: Database, marks: RowMarks) -> None:
        self._rows = database.get_collection(DELIVERIES, write_concern=DURABLE)
        self._received = database[RECEIVED]
        self._keys = database[KEYS]
        self._marks = marks

    async def get(self, id: str) -> Delivery | None:
        """Return a delivery. Raises ChangedInStore if its row is not as it was stored."""
        row = await self._rows.find_one({"_id": id})
        if row is None or self._fits(row):
            return Delivery.of(row) if row else None
        raise ChangedInStore("What is known of this delivery was changed in the store.")

    async def read(self, id: str) -> tuple[Delivery | None, Mapping[str, Any] | None]:
        """Return a delivery if its row is as it was stored, else None and what the row says, if there is one."""
        row = await self._rows.find_one({"_id": id})
        return (Delivery.of(row), row) if row and self._fits(row) else (None, row)

    def row(self, delivery: Delivery) -> dict[str, Any]:
        """Return the row of a delivery with its mark."""
        return {**delivery.document(), FIELD: self._marks.of(DELIVERIES, *delivery.marked)}

    async def adopt(self) -> None:
        """Mark the rows that an earlier version stored without marks, as they stand."""
        async for each in self._rows.find({FIELD: None, "received": {"$exists": True}}):
            mark = self.row(Delivery.of(each))[FIELD]
            await self._rows.update_one({**each, FIELD: None}, {"$set": {FIELD: mark}})

    async def noted(self, id: str) -> tuple[dict[str, int], list[int]]:
        """Return how many resources of each type were purged of a delivery so far, and the names of keys that sealed them."""
        row = await self._rows.find_one({"_id": id}) or {}
        return dict(sorted(row.get("counts", {}).items())), list(row.get("keys", ()))

    async def brought(self, id: str, *, most: int = 0) -> list[str]:
        """Return "Type/id" of the resources that came with a delivery and were not purged. most: 0 for all."""
        rows = await self._received.find({"delivery": id}).sort("_id", 1).limit(most).to_list()
        return [row["_id"] for row in rows]

    async def ripe(self, now: datetime) -> list[str]:
        """Return the ids of those that may have to be purged: due by their row, or begun and not finished."""
        found = {"$or": [{"state": PURGING}, {"state": HELD, "due": {"$lte": now}}]}
        return [row["_id"] async for row in self._rows.find(found, {"_id": 1})]

    async def every(self) -> list[str]:
        """Return the ids of all of which something is left, whatever their rows say: records that are listed, or keys."""
        found = {row["_id"] async for row in self._rows.find({"state": {"$ne": PURGED}}, {"_id": 1})}
        for collection in (self._received, self._keys):
            each_once: list[Mapping[str, Any]] = [
                {"$match": {DELIVERED: {"$exists": True}}},
                {"$group": {"_id": f"${DELIVERED}"}},
            ]
            found |= {row["_id"] async for row in await collection.aggregate(each_once)}
        return sorted(found)

    async def put_off(self, delivery: Delivery, due: datetime) -> None:
        """Note until when a delivery is held after all."""
        await self._rows.update_one({"_id": delivery.id, "state": HELD}, {"$set": {"due": due}})

    async def begin(self, delivery: Delivery) -> None:
        """Begin to purge: from now on nothing of this delivery is stored (store/received.py)."""
        await self._rows.update_one({"_id": delivery.id}, {"$set": {"state": PURGING}}, upsert=True)

    def _fits(self, row: Mapping[str, Any]) -> bool:
        try:
            fits = self._marks.fits(row.get(FIELD), DELIVERIES, *Delivery.of(row).marked)
        except (KeyError, TypeError, AttributeError):
            fits = False
        if not fits:
            LOG.error("the row of a delivery was changed behind the server's back")
        return fits
