"""Sessions: who is signed in in a browser, known by an opaque cookie of which the store has only the hash.

A cookie is new whenever what it stands for grows (sign-in, second factor), so nobody can plant one beforehand.
Source: OWASP ASVS 4.0.3, V3.2 to V3.4; RFC 6265bis (cookie name prefix, SameSite).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.server.vault import MARK, Vault
from fhir_server.auth.signed.refusing import logged
from fhir_server.auth.signed.rows import Fault
from fhir_server.store.commit import DURABLE
from fhir_server.store.instants import microseconds

SESSIONS = "auth_sessions"
# How somebody proved who they are, in words of RFC 8176; "fed": at their institution's provider.
PASSWORD, CODE, SEVERAL, PROVIDER = "pwd", "otp", "mfa", "fed"
STRONG = frozenset({CODE, SEVERAL})  # what counts as a second factor
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in. id: names the session to the server, and is no key to it. at: seconds since 1970."""

    id: str
    account: str
    at: int
    factors: frozenset[str]


def digest(token: str) -> str:
    """Return the hash under which a random token is stored; it has 256 bits of chance, so it needs no salt."""
    return sha256(token.encode()).hexdigest()


def new_token() -> str:
    """Return a fresh token of 256 random bits."""
    return secrets.token_urlsafe(32)


def form_token(vault: Vault, cookie: str) -> str:
    """Return what a form must carry that is sent with this cookie, so that no other site can make one."""
    return vault.name("form", cookie)


def form_fits(vault: Vault, cookie: str | None, given: str | None) -> bool:
    """Return whether a form carries the token of the cookie that came with it."""
    return bool(cookie and given) and hmac.compare_digest(
        form_token(vault, cookie or "").encode(), (given or "").encode()
    )


def marked(vault: Vault, row: Document) -> Document:
    """Return the row of a session with its mark."""
    return {**row, MARK: vault.mark(*session_said(row))}


def session_said(row: Document) -> tuple[Any, ...]:
    """Return what the mark of a session is made of; when it ends in milliseconds, as MongoDB keeps it."""
    ends = microseconds(row["until"]) // 1_000
    return SESSIONS, row["_id"], row["account"], row["at"], list(row["factors"]), ends


class Sessions:
    """The sessions of all browsers, shared by all processes."""

    def __init__(
        self, database: AsyncDatabase[Document], vault: Vault, clock: Callable[[], datetime], *, minutes: int
    ) -> None:
        self._vault = vault
        self._rows = database.get_collection(SESSIONS, write_concern=DURABLE)
        self._clock = clock
        self._lasting = timedelta(minutes=minutes)

    async def begin(self, account: str, factors: frozenset[str], *, at: int | None = None) -> tuple[str, Session]:
        """Return the cookie of a new session, and the session. at: when they signed in, if that was before."""
        token, now = new_token(), self._clock()
        session = Session(digest(token), account, int(now.timestamp()) if at is None else at, factors)
        row = {"_id": session.id, "account": account, "at": session.at, "factors": sorted(factors)}
        await self._rows.insert_one(marked(self._vault, {**row, "until": now + self._lasting}))
        return token, session

    async def of(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, None if there is none, it has ended, or is not as the server stored it."""
        row = await self._rows.find_one({"_id": digest(cookie)}) if cookie else None
        if row is None or row["until"] <= self._clock():
            return None
        if not self._vault.fits(row.get(MARK), *session_said(row)):
            await logged(SESSIONS, row["_id"], Fault.CHANGED)
            return None
        return Session(row["_id"], row["account"], row["at"], frozenset(row["factors"]))

    async def end(self, session: Session) -> None:
        await self._rows.delete_one({"_id": session.id})

    async def end_all(self, account: str) -> None:
        """End every session of an account: its password was changed, or it was disabled."""
        await self._rows.delete_many({"account": account})
