"""A lease: of several worker processes one does a work at a time; if it dies, another takes it up when the lease ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.store.commit import DURABLE

LEASES = "leases"


class Lease:
    """The lease of one work, as one process asks for it."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], work: str, length: timedelta) -> None:
        self._leases = database.get_collection(LEASES, write_concern=DURABLE)
        self._work = work
        self._length = length
        self._owner = uuid4().hex

    async def taken(self) -> bool:
        """Take the lease, or keep it; return whether it is this process's from now on, for its length."""
        now = datetime.now(UTC)
        free = {"_id": self._work, "$or": [{"owner": self._owner}, {"until": {"$lte": now}}]}
        try:
            await self._leases.update_one(
                free, {"$set": {"owner": self._owner, "until": now + self._length}}, upsert=True
            )
        except DuplicateKeyError:
            return False
        return True

    async def give_up(self) -> None:
        """Let another process take it at once."""
        await self._leases.delete_one({"_id": self._work, "owner": self._owner})
