"""AuditEvents of the authorization server: each grant, token, refusal and revocation is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fhir_server.audit.event import Happening, Outcome
from fhir_server.audit.log import AuditLog
from fhir_server.auth.bearer import InvalidClaims, requester_of
from fhir_server.auth.requester import Requester
from fhir_server.auth.server.clients import Client
from fhir_server.auth.server.grants import Grant
from fhir_server.store.commit import Unit


class Recorder:
    """Writes the AuditEvents; at: the present instant in microseconds since 1970."""

    def __init__(self, log: AuditLog, at: Callable[[], int]) -> None:
        self._log = log
        self._at = at

    async def add(self, what: str, who: Grant | Requester, unit: Unit, *, note: str | None = None) -> None:
        """Add to a unit the event of something that is done as part of it."""
        requester = who if isinstance(who, Requester) else of_grant(who)
        client = requester.client if requester else who.client
        happening = Happening(what, note=_note(client, note))
        await self._log.add(happening, requester, unit, at=self._at())

    async def told(self, what: str, who: Requester, client: Client) -> None:
        """Store the event of what a client was told of a token. who: as the token says."""
        happening = Happening(what, note=_note(client.id, None))
        await self._log.record(happening, replace(who, client=client.id), at=self._at())

    async def refused(self, what: str, client: Client | None, status: int, error: str) -> None:
        """Store the event of a refusal. client: whom it concerns, if it is a registered one. error: RFC 6749's code."""
        concerned = frozenset({client.organization} if client and client.organization else ())
        happening = Happening(
            what, Outcome.REFUSED, status, note=_note(client.id if client else None, error), concerned=concerned
        )
        await self._log.record(happening, None, at=self._at())


def of_grant(grant: Grant) -> Requester | None:
    """Return the requester that tokens of a grant stand for; None if it cannot be read any more."""
    try:
        return requester_of({**grant.granted.claims, "client_id": grant.client, "grant": grant.id})
    except InvalidClaims:
        return None


def _note(client: str | None, note: str | None) -> str | None:
    parts = [part for part in (note, f"client {client}" if client else None) if part]
    return "; ".join(parts) or None
