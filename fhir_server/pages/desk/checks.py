"""Verifications of the log's chain that auditors have started: one at a time for each institution, the last result kept.

A verification runs in the worker that was asked, beside what it serves. Its row says how it stands; if the worker dies the
row is not renewed any more, and another verification can be started. The result is sealed: it names events.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.audit.verifying import Refile, verified
from fhir_server.auth.server.vault import Vault
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.commit import DURABLE

CHECKS = "chain_checks"
RENEWED_SECONDS = 5
# A verification whose row is older has died with its worker.
DEAD_AFTER = 60 * 1_000_000
Document = dict[str, Any]
log = logging.getLogger(__name__)


class Stage(StrEnum):
    """How a verification stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BROKEN = "broken"  # its worker has died


@dataclass(frozen=True, slots=True)
class Check:
    """The latest verification of an institution. All times in microseconds since 1970 UTC.

    looked: how many events were looked at. ended, report: of the last that came to its end, which may be an earlier one;
    report is what Report.content() returned.
    """

    stage: Stage
    begun: int
    looked: int
    ended: int | None = None
    report: Mapping[str, Any] | None = None


class Checks:
    """Starts verifications and keeps their results.

    now: the present instant in microseconds since 1970 UTC. refiling: gives, for one verification, what works out what an
    event is filed under, so that one is found that was hidden from searches.
    """

    def __init__(
        self,
        database: AsyncDatabase[Document],
        keyring: Keyring,
        vault: Vault,
        now: Callable[[], int],
        refiling: Callable[[], Refile],
    ) -> None:
        self._database = database
        self._rows = database.get_collection(CHECKS, write_concern=DURABLE)
        self._keyring = keyring
        self._vault = vault
        self._now = now
        self._refiling = refiling
        self._one = asyncio.Semaphore(1)
        self._running: set[asyncio.Task[None]] = set()

    async def of(self, institution: str) -> Check | None:
        """Return the latest verification of an institution, None if there was none."""
        row = await self._rows.find_one({"_id": institution})
        if row is None:
            return None
        stage = Stage(row["stage"])
        if stage is Stage.RUNNING and row["renewed"] < self._now() - DEAD_AFTER:
            stage = Stage.BROKEN
        report = self._vault.opened(_place(institution), row["report"]) if "report" in row else None
        return Check(stage, row["begun"], row["looked"], row.get("ended"), report)

    async def start(self, institution: str) -> bool:
        """Start a verification; return whether none was under way."""
        at, run = self._now(), secrets.token_hex(8)
        begun = {"stage": str(Stage.RUNNING), "begun": at, "renewed": at, "looked": 0, "run": run}
        free = {"$or": [{"stage": {"$ne": str(Stage.RUNNING)}}, {"renewed": {"$lt": at - DEAD_AFTER}}]}
        try:
            await self._rows.update_one({"_id": institution, **free}, {"$set": begun}, upsert=True)
        except DuplicateKeyError:
            return False
        task = asyncio.create_task(self._run(institution, run))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return True

    async def close(self) -> None:
        """End what is under way, without a result."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _run(self, institution: str, run: str) -> None:
        looked = [0]
        renewing = asyncio.create_task(self._renew(institution, run, looked))

        def more(count: int) -> None:
            looked[0] += count

        try:
            async with self._one:
                report = await verified(self._database, self._keyring, refile=self._refiling(), progress=more)
            said = self._vault.sealed(_place(institution), report.content())
            await self._set(institution, run, stage=str(Stage.DONE), ended=self._now(), report=said, looked=looked[0])
        except Exception as error:
            log.error("the chain of the log could not be verified: %s", type(error).__name__)
            with suppress(Exception):  # the database itself may be what failed: the row will be seen to be dead
                await self._set(institution, run, stage=str(Stage.FAILED))
        finally:
            renewing.cancel()

    async def _renew(self, institution: str, run: str, looked: list[int]) -> None:
        while True:
            await asyncio.sleep(RENEWED_SECONDS)
            with suppress(Exception):  # tried again
                await self._set(institution, run, renewed=self._now(), looked=looked[0])

    async def _set(self, institution: str, run: str, **fields: Any) -> None:
        await self._rows.update_one({"_id": institution, "run": run}, {"$set": fields})


def _place(institution: str) -> str:
    return f"{CHECKS}/{institution}"
