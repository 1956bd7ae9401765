"""The numbers of the definitions that the store is filled under, and the fence that keeps late writes out.

    heard    counts every change of the search parameters' definitions; each request reads it with the consent epochs
    filing   counts the changes of what resources are filed under; each document carries the number it was filed under

A write that began under old definitions could be stored after the records were filed anew, and would stay unfiled. So
each process has a row of its own, which every transaction that stores resources changes, provided that it does not
bear a higher number than the one the resources were filed under. To raise the fence is to write the new number into
all rows: that waits for the transactions that have changed a row, and makes every other fail, whose snapshot is older
or whose number is lower. Once it is raised, no document with a lower number can come into the store.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from fhir_server.errors import Conflict

EPOCHS = "consent_epochs"  # the collection that every request reads
NUMBERS = {"_id": "definitions"}
# Rows {_id, n} of the same collection.
MEMBERSHIPS = "memberships"  # counts changes of who belongs to which group, team and institution
REVOCATIONS = "revocations"  # counts grants and tokens that were revoked
FENCE = "writers"
# Rows of processes that are gone; one that comes back later than this gets a new row.
KEPT_SECONDS = 7 * 24 * 3_600


class Outdated(Conflict):
    """Something was begun under search parameters that have changed: begun anew under the present ones it succeeds."""

    def __init__(self) -> None:
        super().__init__("The search parameters changed meanwhile: send the request again.")


class Numbers(NamedTuple):
    """The numbers as they stand."""

    heard: int = 0
    filing: int = 0


def changed(*, filing: bool) -> UpdateOne:
    """Return the update that tells all processes of a change. filing: resources are filed differently from now on."""
    return UpdateOne(NUMBERS, {"$inc": {"heard": 1, "filing": int(filing)}}, upsert=True)


async def numbers(database: AsyncDatabase[dict[str, Any]]) -> Numbers:
    """Return the numbers as they stand."""
    found = await database[EPOCHS].find_one(NUMBERS) or {}
    return Numbers(found.get("heard", 0), found.get("filing", 0))


class Fence:
    """This process's row in the fence."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._rows = database.get_collection(FENCE, write_concern=WriteConcern("majority"))
        self._id = uuid4().hex

    async def enter(self, filing: int) -> None:
        """Let pass from now on what is filed under this number or a higher one.

        Read the number again afterwards: if it has changed, the fence may have been raised just before.
        """
        await self._rows.create_index("at", name="kept", expireAfterSeconds=KEPT_SECONDS)
        row = {"$max": {"filing": filing}, "$set": {"at": datetime.now(UTC)}}
        await self._rows.update_one({"_id": self._id}, row, upsert=True)

    async def let_through(self, filing: int, session: AsyncClientSession) -> None:
        """Let a transaction through whose resources are filed under this number. Raises Outdated."""
        found = {"_id": self._id, "filing": {"$lte": filing}}
        change = {"$set": {"at": datetime.now(UTC)}, "$inc": {"n": 1}}
        if not (await self._rows.update_one(found, change, session=session)).matched_count:
            raise Outdated

    async def raise_to(self, filing: int) -> None:
        """Keep out of the store, from now on, all that is filed under a lower number, whichever process comes with it."""
        await self._rows.update_many({"filing": {"$lt": filing}}, {"$set": {"filing": filing}})
