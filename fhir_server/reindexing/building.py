"""Building the operator's search parameters: one process files the stored records anew; if it dies, another goes on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from fhir_server.crypto.sealing import Unsealable
from fhir_server.errors import Conflict
from fhir_server.reindexing.definitions import PARAMETERS, Definitions, Row, bases
from fhir_server.reindexing.refiling import Position, refile
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.lease import Lease
from fhir_server.store.numbers import EPOCHS, changed

JOB = "reindexing"
LOOKED_AFTER_SECONDS = 1.0
LEASE = timedelta(seconds=15)
LOGGED_EVERY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Building:
    """Looks after the parameters that are not built yet, as long as the process lives."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], definitions: Definitions, committer: Committer) -> None:
        self._database = database
        self._jobs = database[JOB]
        self._definitions = definitions
        self._committer = committer
        self._lease = Lease(database, JOB, LEASE)

    async def forever(self) -> None:
        """Build whatever there is to build, now and from now on."""
        while True:
            try:
                await self.once()
            except (PyMongoError, Conflict, Unsealable) as error:  # tried again: what was done is not done twice
                log.warning("building search parameters stopped: %s", type(error).__name__)
            await asyncio.sleep(LOOKED_AFTER_SECONDS)

    async def once(self) -> None:
        """Build what there is to build now, unless another process does."""
        await self._definitions.renew()
        if self._definitions.unbuilt() and await self._lease.taken():
            await self._build(self._definitions.unbuilt())
            await self._lease.give_up()

    async def _build(self, rows: Sequence[Row]) -> None:
        """File the records anew under these parameters; stop early if they change or the job goes to another process."""
        filing, types = self._definitions.numbers.filing, bases(rows)
        await self._committer.fence.raise_to(filing)
        after, seen = await self._position(filing)
        total = sum([await self._database[type].estimated_document_count() for type in types])
        logged = time.monotonic()
        for type in types:
            async for position in refile(
                self._database, self._definitions.services, type, filing, after=after.get(type, "")
            ):
                seen += position.seen
                if not await self._kept(filing, type, position, seen):
                    return
                if time.monotonic() > logged + LOGGED_EVERY_SECONDS:
                    logged = time.monotonic()
                    log.info("search parameters: %d of about %d records filed", seen, total)
                await self._definitions.renew()
                if self._definitions.numbers.filing != filing:
                    return
        await self._finish(rows)
        log.info("search parameters built: %s", ", ".join(row.key for row in rows))
        await self._definitions.renew()

    async def _position(self, filing: int) -> tuple[dict[str, str], int]:
        """Return how far this job is: the last id of each type, and the documents seen; at the start of a new one: none."""
        found = await self._jobs.find_one({"_id": JOB}) or {}
        if found.get("filing") != filing:
            await self._jobs.replace_one({"_id": JOB}, {"filing": filing, "after": {}, "seen": 0}, upsert=True)
            return {}, 0
        return found["after"], found["seen"]

    async def _kept(self, filing: int, type: str, position: Position, seen: int) -> bool:
        """Remember the position; return whether the job is still this process's."""
        # Also if it is no more: all up to there is filed.
        reached = {f"after.{type}": position.last, "seen": seen}
        await self._jobs.update_one({"_id": JOB, "filing": filing}, {"$set": reached})
        return await self._lease.taken()

    async def _finish(self, rows: Sequence[Row]) -> None:
        """Let all processes know that the parameters are built. Raises Conflict if one of them has changed."""
        unit = Unit()
        for row in rows:
            unit.replace(PARAMETERS, {"_id": row.key, "revision": row.revision}, replace(row, built=True).document())
        unit.touches[EPOCHS].append(changed(filing=False))
        await self._committer.commit(unit)
