"""What processes that died have left behind their last anchor: another one anchors it, if it verifies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from pymongo import DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.audit.anchor_chain import Checked
from fhir_server.audit.anchors import ANCHORS, Anchor, Anchors, Kind, signer
from fhir_server.audit.links import FIELD, LOG, Position
from fhir_server.audit.verifying import CHAIN_INDEX, Verification
from fhir_server.crypto.keyring import Keyring, KeyringError

LOOKED_AFTER_SECONDS = 600.0
# A living process has anchored its events by then.
LEFT_AFTER_SECONDS = 300.0

Database = AsyncDatabase[dict[str, Any]]
log = logging.getLogger(__name__)


class Leavings:
    """Anchors what others have left."""

    def __init__(self, database: Database, keyring: Keyring, anchors: Anchors) -> None:
        self._database = database
        self._keyring = keyring
        self._anchors = anchors
        # The number up to which a writer's tail was looked at and did not verify: it is not looked at again and again.
        self._broken: dict[str, int] = {}

    async def forever(self) -> None:
        """Look after them, now and from now on."""
        while True:
            try:
                await self.once()
            except (PyMongoError, KeyringError, OSError) as error:  # tried again
                log.warning("what others left of the audit log could not be anchored: %s", type(error).__name__)
            await asyncio.sleep(LOOKED_AFTER_SECONDS)

    async def once(self, *, after: float = LEFT_AFTER_SECONDS) -> int:
        """Anchor what is there to anchor now; return of how many writers. after: seconds since their last event."""
        count = 0
        async for writer in self._open_ones():
            anchor = await self._last(writer)
            newest = await self._tail(writer, anchor.n) if anchor and anchor.kind is not Kind.CLOSED else None
            if anchor is None or newest is None or time.time() - _seconds(newest["_id"]) < after:
                continue
            if self._broken.get(writer) != newest[FIELD]["n"]:
                count += await self._anchored(writer, anchor, newest[FIELD]["n"])
        return count

    async def _anchored(self, writer: str, anchor: Anchor, last: int) -> bool:
        """Anchor a writer's tail up to its last event, behind an anchor; return False if it does not verify."""
        start = Position(anchor.n, bytes.fromhex(anchor.m), anchor.count)
        verification = Verification(self._database, self._keyring, Checked(signer(self._keyring).public_key))
        follower = await verification.follow(writer, [anchor], start)
        reached, findings = follower.reached, follower.finish()
        if findings or reached.n <= start.n:
            log.error("the audit log of a process that died does not verify: run fhir-facade audit verify")
            self._broken[writer] = last
            return False
        count = start.size + reached.size
        await self._anchors.add(Kind.LEFT, by=writer, n=reached.n, m=reached.m.hex(), count=count)
        return True

    async def _last(self, writer: str) -> Anchor | None:
        """Return the last authentic anchor that says how far a writer's chain reaches."""
        key = signer(self._keyring).public_key
        rows = self._database[ANCHORS].find({"by": writer, "kind": {"$ne": Kind.EXPIRED}}, batch_size=10)
        async for row in rows.sort([("by", DESCENDING), ("_id", DESCENDING)]):
            if (anchor := Anchor.read(row)) and anchor.authentic(key):
                return anchor
        return None

    async def _open_ones(self) -> AsyncIterator[str]:
        """Yield the writers whose chain may not be closed: one look at the newest anchor of each."""
        steps: list[dict[str, Any]] = [
            {"$sort": {"by": -1, "_id": -1}},
            {"$group": {"_id": "$by", "kind": {"$first": "$kind"}}},
            {"$match": {"kind": {"$ne": Kind.CLOSED}, "_id": {"$type": "string", "$ne": ""}}},
        ]
        async for each in await self._database[ANCHORS].aggregate(steps):
            yield each["_id"]

    async def _tail(self, writer: str, reached: int) -> dict[str, Any] | None:
        """Return the last event of a writer if it lies behind its last anchor."""
        behind = {f"{FIELD}.by": writer, f"{FIELD}.n": {"$gt": reached}}
        order = [(f"{FIELD}.by", DESCENDING), (f"{FIELD}.n", DESCENDING)]
        events = self._database.get_collection(LOG, read_concern=ReadConcern("majority"))
        return await events.find_one(behind, {FIELD: 1}, sort=order, hint=CHAIN_INDEX)


def _seconds(id: str) -> float:
    """Return the time in an id that the server gave (store/ids.py), in seconds since 1970; 0 if it has another form."""
    try:
        return int(id[:8] + id[9:13], 16) / 1_000
    except ValueError:
        return 0.0
