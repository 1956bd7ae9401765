"""Failed attempts to sign in: after a few, whoever they were for and wherever they came from has to wait.

Attempts are counted before they are tried, in one operation of the database, so that many at once in many processes
are not more than a few. What is counted is named by keyed names; whether an account exists changes nothing.
Source: OWASP ASVS 4.0.3, V2.2.1; GB/T 22239-2019 8.1.4.1 b (等保三级 身份鉴别: 限制非法登录次数).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.server.vault import Vault
from fhir_server.store.commit import DURABLE

ATTEMPTS = "auth_attempts"
KEPT_SECONDS = 24 * 3_600
FIRST_DELAY, LONGEST_DELAY = 30, 900  # seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """How many failures of a kind are free; after them the delay doubles with each."""

    kind: str
    free: int

    def delay(self, failures: int) -> int:
        """Return for how many seconds nothing more is tried after this many failures.

        >>> [Limit("login", 5).delay(each) for each in (4, 5, 6, 7, 50)]
        [0, 30, 60, 120, 900]
        """
        return 0 if failures < self.free else min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - self.free, 10))


LOGIN = Limit("login", 5)
CODE = Limit("code", 5)
# Hospitals stand behind one address: the limit of a source is there against guessing over many accounts.
SOURCE = Limit("source", 50)


class Attempts:
    """The counts, shared by all processes."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], vault: Vault, clock: Callable[[], datetime]) -> None:
        self._rows = database.get_collection(ATTEMPTS, write_concern=DURABLE)
        self._vault = vault
        self._clock = clock

    async def begin(self, limit: Limit, who: str) -> int:
        """Count an attempt as if it failed; return for how many seconds it has to wait, 0 if it may be tried.

        One that has to wait is not counted.
        """
        now = self._clock()
        before = await self._rows.find_one_and_update(
            {"_id": self._id(limit, who)},
            [{"$set": {"at": _unless_waiting(now, "$at", now), "n": _counted(now), "until": _until(limit, now)}}],
            upsert=True,
            return_document=ReturnDocument.BEFORE,
        )
        until = before.get("until") if before else None
        return max(0, round((until - now).total_seconds() + 0.5)) if until and until > now else 0

    async def succeeded(self, limit: Limit, who: str) -> None:
        """Forget the failures of an account that signed in; of a source, only the attempt that was counted."""
        found = {"_id": self._id(limit, who)}
        if limit is SOURCE:
            await self._rows.update_one({**found, "n": {"$gt": 0}}, {"$inc": {"n": -1}, "$unset": {"until": ""}})
        else:
            await self._rows.delete_one(found)

    def _id(self, limit: Limit, who: str) -> str:
        return self._vault.name(f"attempts {limit.kind}", who)


def _unless_waiting(now: datetime, kept: Any, otherwise: Any) -> Any:
    return {"$cond": [{"$gt": ["$until", now]}, kept, otherwise]}


def _counted(now: datetime) -> Any:
    return _unless_waiting(now, "$n", {"$add": [{"$ifNull": ["$n", 0]}, 1]})


def _until(limit: Limit, now: datetime) -> Any:
    """Return the expression of the instant until which the next attempt waits."""
    most = 16  # failures beyond which the delay does not grow
    reached = [
        {"case": {"$eq": [{"$add": [{"$ifNull": ["$n", 0]}, 1]}, limit.free + each]}, "then": _after(limit, now, each)}
        for each in range(most)
    ]
    free = {"case": {"$lt": [{"$add": [{"$ifNull": ["$n", 0]}, 1]}, limit.free]}, "then": None}
    return _unless_waiting(
        now, "$until", {"$switch": {"branches": [free, *reached], "default": _after(limit, now, most)}}
    )


def _after(limit: Limit, now: datetime, more: int) -> datetime:
    return now + timedelta(seconds=limit.delay(limit.free + more))
