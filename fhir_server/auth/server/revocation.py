"""What was revoked, known at once in every worker.

A revoked grant or token is a row that lives as long as an access token can. It is stored in one transaction with the
count of revocations, which every request reads with the consent epochs; the rows are read again only when that changed.
Source: RFC 7009; consent.md, D14.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.requester import Requester
from fhir_server.auth.server.vault import GRANTS, MARK, REVOKED
from fhir_server.errors import Unauthenticated
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import Unit
from fhir_server.store.consents import Epochs
from fhir_server.store.numbers import EPOCHS, REVOCATIONS

# Longer than any access token lives (settings.py), and than clocks differ.
KEPT = timedelta(hours=1, minutes=5)
# A revoked grant is remembered longer, so that a refresh token that comes back is known to be revoked.
GRANT_KEPT = timedelta(days=90)
FOR_EVER = datetime.max.replace(tzinfo=UTC)


def revoke_grants(ids: Iterable[str], unit: Unit) -> None:
    """Add to a unit that these grants end, and with them every token that stands on them."""
    now, found = datetime.now(UTC), list(ids)
    for id in found:
        # Without its mark the row does not count as live any more, whatever is written into it.
        ended = {"$set": {"revoked": True}, "$unset": {MARK: ""}, "$setOnInsert": {"until": now + GRANT_KEPT}}
        unit.touch(GRANTS, {"_id": id}, ended)
    _revoke([f"grant:{id}" for id in found], now, unit)


def revoke_token(jti: str, unit: Unit) -> None:
    """Add to a unit that one access token ends; for tokens that stand on no grant of a user."""
    _revoke([f"token:{jti}"], datetime.now(UTC), unit)


def revoke_generation(generation: str, unit: Unit) -> None:
    """Add to a unit that all tokens end which a registration of a client was given for itself."""
    _revoke([f"grant:{generation}"], datetime.now(UTC), unit)


def revoke_keys(kids: Iterable[str], unit: Unit) -> None:
    """Add to a unit that whatever these keys have signed ends.

    It is remembered for ever: a worker that never met another key knows them still.
    """
    for kid in kids:
        unit.touch(REVOKED, {"_id": f"key:{kid}"}, {"$set": {"at": datetime.now(UTC)}})
    unit.touch(EPOCHS, {"_id": REVOCATIONS}, {"$inc": {"n": 1}})


def _names(*, grant: str | None, jti: str, key: str | None) -> frozenset[str]:
    """Return under which names a token can be revoked."""
    return frozenset({f"grant:{grant}", f"token:{jti}", f"key:{key}"})


def _revoke(names: list[str], now: datetime, unit: Unit) -> None:
    if not names:
        return
    for name in names:
        unit.touch(REVOKED, {"_id": name}, {"$set": {"until": now + KEPT}})
    unit.touch(EPOCHS, {"_id": REVOCATIONS}, {"$inc": {"n": 1}})


class Revocations:
    """The revoked grants and tokens whose access tokens may not have expired yet."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._rows = database[REVOKED]
        self._read: tuple[int, frozenset[str]] = (-1, frozenset())
        # What was read of it before, until when: a row that somebody removes is no less revoked to this process.
        self._known: dict[str, datetime] = {}
        self._fetched: Coalesced[str, frozenset[str]] = Coalesced(self._fetch)

    async def check(self, requester: Requester, epochs: Epochs) -> None:
        """Raise Unauthenticated if the requester's token was revoked before these epochs were read."""
        if self._read[0] != epochs.revocations:
            # Read after the count was: at least as new as it says.
            found = await asyncio.shield(self._fetched.get("all"))
            self._read = (epochs.revocations, found or frozenset())
        revoked = self._read[1]
        if revoked and revoked & _names(grant=requester.grant, jti=requester.token, key=requester.key):
            raise Unauthenticated("The access token is not valid here.", error="invalid_token")

    async def revoked(self, *, grant: str | None, jti: str, key: str | None = None) -> bool:
        """Return whether a token is revoked by now, read afresh."""
        names = _names(grant=grant, jti=jti, key=key)
        rows = await self._rows.find({"_id": {"$in": list(names)}}, {"until": 1}).to_list()
        return not names.isdisjoint(self._remembered(rows))

    async def _fetch(self, _: list[str]) -> dict[str, frozenset[str]]:
        return {"all": self._remembered(await self._rows.find({}, {"until": 1}).to_list())}

    def _remembered(self, rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        """Return the names of all that is revoked by what was read now or before. A row without an end stays for ever."""
        now = datetime.now(UTC)
        self._known = {name: until for name, until in self._known.items() if until > now}
        self._known |= {row["_id"]: max(row.get("until", FOR_EVER), now + KEPT) for row in rows}
        return frozenset(self._known)
