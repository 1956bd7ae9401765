"""Taking away events that are older than they must be kept: whole anchored stretches, with a signed note, so that a
verification knows that they are gone rightly.

The note comes first. Whatever stops the removal, what is left of the stretch may be there or not, and the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from fhir_server.audit.anchor_chain import Checked, anchors_checked, anchors_of
from fhir_server.audit.anchors import ANCHORS, Anchor, Anchors, Kind, signer
from fhir_server.audit.links import FIELD, LOG
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.instants import microseconds

BATCH = 1_000

Database = AsyncDatabase[dict[str, Any]]


class Tampered(RuntimeError):
    """Nothing is taken away from a log that does not verify: what is left is evidence."""


class Expiry:
    """Takes away what is older than an instant. progress: told how many events more are gone."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        anchors: Anchors,
        *,
        days: int,
        now: datetime | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        """days: that events are kept. now: the present instant."""
        self._database = database
        self._events = database.get_collection(LOG, write_concern=WriteConcern("majority"))
        self._key = signer(keyring).public_key
        self._anchors = anchors
        self._until = microseconds((now or datetime.now(UTC)) - timedelta(days=days))
        self._progress = progress

    async def run(self) -> int:
        """Return how many events were taken away. Raises Tampered."""
        checked = await anchors_checked(self._database, self._key)
        if checked.findings or checked.first is None:
            raise Tampered(
                "The anchors of the audit log do not verify, so nothing is removed: fhir-facade audit verify"
            )
        count = await self._before(checked)
        for writer in sorted(await self._database[ANCHORS].distinct("by")):
            if writer:
                count += await self._writer(writer, checked)
        return count

    async def _writer(self, writer: str, checked: Checked) -> int:
        anchors = await anchors_of(self._database, writer, checked)
        if (last := await self._old(writer, anchors)) is None:
            return 0
        expired = max((each.n for each in anchors if each.kind is Kind.EXPIRED), default=0)
        if last.n > expired:
            await self._anchors.add(Kind.EXPIRED, by=writer, n=last.n, m=last.m, count=last.count, until=self._until)
        return await self._removed({f"{FIELD}.by": writer, f"{FIELD}.n": {"$lte": max(last.n, expired)}})

    async def _old(self, writer: str, anchors: list[Anchor]) -> Anchor | None:
        """Return the last anchor of a writer up to which everything is old enough."""
        young = {f"{FIELD}.by": writer, "at": {"$gte": self._until}}
        first = await self._events.find_one(
            young, {FIELD: 1}, sort=[(f"{FIELD}.by", ASCENDING), (f"{FIELD}.n", ASCENDING)]
        )
        old = [
            each
            for each in anchors
            if each.n > 0 and each.at < self._until and (first is None or each.n < first[FIELD]["n"])
        ]
        return max(old, key=lambda each: each.n, default=None)

    async def _before(self, checked: Checked) -> int:
        """Take away events from before the chain; the note says how many are left."""
        noted = checked.expired or checked.first
        old = {FIELD: {"$exists": False}, "at": {"$lt": self._until}}
        found = await self._events.count_documents(
            {**old, "at": {"$lt": self._until, "$gte": noted.until if noted else 0}}
        )
        if noted and found:
            await self._anchors.add(Kind.EXPIRED, count=noted.count - found, until=self._until)
        return await self._removed(old) if noted and noted.count else 0

    async def _removed(self, old: dict[str, Any]) -> int:
        """Take away what a filter finds, if it is old enough whatever an anchor says; return how many that were."""
        count = 0
        filter = {"$and": [old, {"at": {"$lt": self._until}}]}
        while ids := [each["_id"] for each in await self._events.find(filter, {"_id": 1}).limit(BATCH).to_list()]:
            count += (await self._events.delete_many({"_id": {"$in": ids}})).deleted_count
            self._progress(len(ids))
        return count
