"""Flows: what a user has chosen so far on the way to an app, kept here and not in the browser, so nobody can change it.

A page knows its flow by an opaque token; it counts only together with the cookie of the browser that it began in. Until
somebody chooses or signs in, a flow is nothing but the app's request: that is sealed in the token, and nothing is stored, so
that whoever only opens the page writes nothing.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.auth.accounts.sessions import digest
from fhir_server.auth.server.vault import Vault
from fhir_server.crypto.sealing import Unsealable
from fhir_server.store.commit import DURABLE

FLOWS = "auth_flows"
LASTING = timedelta(minutes=20)
# Where somebody goes on who has signed in for it.
NEXT = {"my": "/auth/my"}
UNDER_WAY = {"flow": {"$exists": True}}
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to an app.

    token: as the page has it. began: seconds since 1970. pairs: the authorization request as it came; empty for somebody
    who signs in without an app. launched: the context that the EMR gave, once it was read. secret: of a second factor
    that is being enrolled. provider: what is remembered while the user is at an institution's provider. next: which pages of
    ours somebody signs in for without an app; a name out of NEXT, since a URL could lead anywhere.
    """

    token: str = field(repr=False)
    began: int
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    lang: str = "zh"
    next: str | None = None
    purpose: str | None = None
    reason: str | None = None
    patient: str | None = None
    encounter: str | None = None
    launched: Mapping[str, Any] | None = None
    secret: str | None = field(default=None, repr=False)
    provider: Mapping[str, str] = field(default_factory=dict, repr=False)

    def begun_anew(self) -> Flow:
        """Return the flow without what anybody has chosen in it: of somebody who has just signed in."""
        return Flow(self.token, self.began, self.pairs, self.lang, self.next)


class Flows:
    """The flows under way, shared by all processes."""

    def __init__(self, database: AsyncDatabase[Document], vault: Vault, clock: Callable[[], datetime]) -> None:
        self._rows = database.get_collection(FLOWS, write_concern=DURABLE)
        self._vault = vault
        self._clock = clock

    def begin(self, cookie: str, pairs: tuple[tuple[str, str], ...], lang: str, next: str | None = None) -> Flow:
        """Return a new flow of a browser; it is not stored yet."""
        return self._sealed(Flow("", int(self._clock().timestamp()), pairs, lang, next), cookie)

    async def of(self, cookie: str | None, token: str | None) -> Flow | None:
        """Return a browser's flow, None if there is none, it has ended, or it took too long."""
        if not cookie or not token:
            return None
        row = await self._rows.find_one({"_id": digest(token)})
        if row is None:
            return self._unsealed(token, cookie)
        if row["cookie"] != digest(cookie) or row["until"] <= self._clock() or "flow" not in row:
            return None
        return _flow(token, self._vault.opened(f"flow|{row['_id']}", row["flow"]))

    async def keep(self, flow: Flow, cookie: str) -> Flow:
        """Store how far a flow has come, unless it has ended. cookie: the one that the browser has from now on."""
        until = datetime.fromtimestamp(flow.began, UTC) + LASTING
        change = {"$set": self._row(flow, cookie), "$setOnInsert": {"until": until}}
        with suppress(DuplicateKeyError):  # it has ended
            await self._rows.update_one({"_id": digest(flow.token), **UNDER_WAY}, change, upsert=True)
        return flow

    async def spoken(self, flow: Flow, cookie: str, lang: str) -> Flow:
        """Return a flow whose pages are in this language from now on; one that is not stored gets another token."""
        spoken = replace(flow, lang=lang)
        if lang == flow.lang:
            return flow
        known = {"_id": digest(flow.token), **UNDER_WAY}
        if (await self._rows.update_one(known, {"$set": self._row(spoken, cookie)})).matched_count:
            return spoken
        return self._sealed(spoken, cookie)

    async def end(self, flow: Flow) -> bool:
        """End a flow; return whether it was stored and still under way: it ends once, and does not begin again."""
        known = {"_id": digest(flow.token), **UNDER_WAY}
        return (await self._rows.update_one(known, {"$unset": {"flow": ""}})).modified_count == 1

    def _row(self, flow: Flow, cookie: str) -> Document:
        kept = {name: getattr(flow, name) for name in Flow.__dataclass_fields__ if name != "token"}
        return {"flow": self._vault.sealed(f"flow|{digest(flow.token)}", kept), "cookie": digest(cookie)}

    def _sealed(self, flow: Flow, cookie: str) -> Flow:
        """Return a flow in which nothing is chosen, with what it is as its token."""
        said = {"began": flow.began, "pairs": flow.pairs, "lang": flow.lang, "next": flow.next}
        sealed = urlsafe_b64encode(self._vault.sealed(_place(cookie), said))
        return replace(flow, token=sealed.rstrip(b"=").decode())

    def _unsealed(self, token: str, cookie: str) -> Flow | None:
        try:
            sealed = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            flow = _flow(token, self._vault.opened(_place(cookie), sealed))
        except (ValueError, Unsealable):
            return None
        return flow if self._clock() < datetime.fromtimestamp(flow.began, UTC) + LASTING else None


def _flow(token: str, kept: Mapping[str, Any]) -> Flow:
    return Flow(token, **{**kept, "pairs": tuple((name, value) for name, value in kept["pairs"])})


def _place(cookie: str) -> str:
    """Return where a flow that is not stored belongs: to the browser that it began in."""
    return f"begun flow|{digest(cookie)}"
