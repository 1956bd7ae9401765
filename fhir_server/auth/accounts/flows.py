"""Flows: what a user has chosen so far on the way to an app, kept here and not in the browser, so nobody can change it.

A page knows its flow by an opaque token; it counts only together with the cookie of the browser that it began in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.accounts.sessions import digest, new_token
from fhir_server.auth.server.vault import Vault
from fhir_server.store.commit import DURABLE

FLOWS = "auth_flows"
LASTING = timedelta(minutes=20)
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to an app.

    token: as the page has it. began: seconds since 1970. pairs: the authorization request as it came; empty for somebody
    who signs in without an app. launched: the context that the EMR gave, once it was read. secret: of a second factor
    that is being enrolled. provider: what is remembered while the user is at an institution's provider.
    """

    token: str = field(repr=False)
    began: int
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    lang: str = "zh"
    purpose: str | None = None
    reason: str | None = None
    patient: str | None = None
    encounter: str | None = None
    launched: Mapping[str, Any] | None = None
    secret: str | None = field(default=None, repr=False)
    provider: Mapping[str, str] = field(default_factory=dict, repr=False)

    def begun_anew(self) -> Flow:
        """Return the flow without what anybody has chosen in it: of somebody who has just signed in."""
        return Flow(self.token, self.began, self.pairs, self.lang)


class Flows:
    """The flows under way, shared by all processes."""

    def __init__(self, database: AsyncDatabase[Document], vault: Vault, clock: Callable[[], datetime]) -> None:
        self._rows = database.get_collection(FLOWS, write_concern=DURABLE)
        self._vault = vault
        self._clock = clock

    async def begin(self, cookie: str, pairs: tuple[tuple[str, str], ...], lang: str) -> Flow:
        """Return a new flow of a browser."""
        now = self._clock()
        flow = Flow(new_token(), int(now.timestamp()), pairs, lang)
        await self._rows.insert_one({**self._row(flow), "cookie": digest(cookie), "until": now + LASTING})
        return flow

    async def of(self, cookie: str | None, token: str | None) -> Flow | None:
        """Return a browser's flow, None if there is none or it took too long."""
        if not cookie or not token:
            return None
        row = await self._rows.find_one({"_id": digest(token), "cookie": digest(cookie)})
        if row is None or row["until"] <= self._clock():
            return None
        return self._opened(token, row)

    async def keep(self, flow: Flow, cookie: str) -> Flow:
        """Store how far a flow has come. cookie: the one that the browser has from now on."""
        await self._rows.update_one(
            {"_id": digest(flow.token)}, {"$set": {"flow": self._row(flow)["flow"], "cookie": digest(cookie)}}
        )
        return flow

    async def end(self, flow: Flow) -> bool:
        """End a flow; return whether it was still under way: it ends once."""
        return (await self._rows.delete_one({"_id": digest(flow.token)})).deleted_count == 1

    def _row(self, flow: Flow) -> Document:
        id = digest(flow.token)
        kept = {name: getattr(flow, name) for name in Flow.__dataclass_fields__ if name != "token"}
        return {"_id": id, "flow": self._vault.sealed(f"flow|{id}", kept)}

    def _opened(self, token: str, row: Document) -> Flow:
        kept = self._vault.opened(f"flow|{row['_id']}", row["flow"])
        return Flow(token, **{**kept, "pairs": tuple((name, value) for name, value in kept["pairs"])})
