"""From an authorization request to a code: what stands between the pages that ask the user and the token endpoint.

Source: RFC 6749, 4.1; RFC 9207 (iss in the response); SMART App Launch 2.2, "Obtain authorization code".
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from fhir_server.auth.bearer import requester_of
from fhir_server.auth.policy import CONTEXTS
from fhir_server.auth.requester import Role
from fhir_server.auth.scopes import Scope, narrowed
from fhir_server.auth.server.asking import (
    Asked,
    Pairs,
    Refused,
    Rejected,
    asked,
    destination,
    error_location,
    single,
    with_query,
)
from fhir_server.auth.server.grants import CODE_SECONDS, Code, Grant, Granted, Grants
from fhir_server.auth.server.recording import Recorder
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.revocation import revoke_grants
from fhir_server.auth.server.vault import new_secret
from fhir_server.store.commit import Committer, Unit

__all__ = ["Asked", "Authorizations", "Granted", "Lives", "Refused", "Rejected", "for_role"]


Stands = Callable[[], Awaitable[bool]]


async def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Lives:
    """How long things live, in seconds: access tokens, grants for offline access, grants for a session."""

    access: int = 300
    offline: int = 90 * 24 * 3_600
    online: int = 12 * 3_600

    def of(self, scopes: frozenset[str]) -> int:
        """Return how long a grant of these scopes lives."""
        if "offline_access" in scopes:
            return self.offline
        return self.online if "online_access" in scopes else CODE_SECONDS + self.access


def for_role(scope: str, role: Role) -> str:
    """Return the scopes that users of a role may use: those for FHIR resources, of its contexts, and all others.

    >>> for_role("openid system/*.rs patient/*.rs", Role.PATIENT)
    'openid patient/*.rs'
    """
    return of_contexts(scope, CONTEXTS[role])


def of_contexts(scope: str, contexts: frozenset[str]) -> str:
    """Return the scopes for FHIR resources that are of some contexts, and all that are not for FHIR resources."""
    read = ((word, Scope.read(word)) for word in scope.split())
    return " ".join(word for word, found in read if found is None or found.context in contexts)


class Authorizations:
    """Reads authorization requests, and answers them with codes."""

    def __init__(
        self,
        clients: Clients,
        grants: Grants,
        committer: Committer,
        recorder: Recorder,
        *,
        base: str,
        issuer: str,
        lives: Lives,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._grants = grants
        self._committer = committer
        self._recorder = recorder
        self._base = base
        self._issuer = issuer
        self._lives = lives
        self._now = now

    async def read(self, pairs: Pairs) -> Asked:
        """Return what an authorization request asks for. pairs: of the query, or of the form.

        Raises Rejected (to be told on a page) or Refused (to be redirected to its location).
        """
        id = single(pairs, "client_id")
        client = await self._clients.get(id) if id else None
        redirect_uri = destination(client, pairs)
        assert client is not None
        return asked(client, redirect_uri, pairs, base=self._base, issuer=self._issuer)

    async def grant(self, asked: Asked, granted: Granted, *, stands: Stands = _always) -> str:
        """Store what a user granted, and return where the user agent is redirected to with the code.

        Never more is granted than was asked, the client may have and the user's role may use. stands: asked once it is
        stored, whether the user may still grant it: whoever ends all grants of an account finds it from then on.
        Raises InvalidClaims if the claims do not describe a requester, Refused if no scope is left, or it does not stand.
        """
        role = requester_of(granted.claims).role
        scope = for_role(narrowed(str(granted.claims.get("scope", "")), asked.scope), role)
        if not scope:
            location = self.refuse(asked, "invalid_scope", "The user cannot grant any of the scopes.")
            raise Refused(location, "invalid_scope", "none is left")
        granted = replace(granted, claims={**granted.claims, "scope": scope})
        now, text, unit = self._now(), new_secret(), Unit()
        until = now + self._lives.of(frozenset(scope.split()))
        grant = Grant(new_secret(16), asked.client.id, granted, until)
        self._grants.add(grant, unit)
        expires = now + CODE_SECONDS
        code = Code("", grant.id, grant.client, asked.redirect_uri, asked.challenge, asked.nonce, expires)
        self._grants.add_code(text, code, unit)
        await self._recorder.add("authorized", grant, unit)
        await self._committer.commit(unit)
        if not await stands():
            await self._take_back(grant)
            location = self.refuse(asked, "access_denied", "The user was signed out meanwhile.")
            raise Refused(location, "access_denied", "signed out")
        return with_query(asked.redirect_uri, code=text, state=asked.state, iss=self._issuer)

    async def _take_back(self, grant: Grant) -> None:
        unit = Unit()
        revoke_grants([grant.id], unit)
        await self._recorder.add("revocation", grant, unit)
        await self._committer.commit(unit)

    def refuse(self, asked: Asked, error: str, description: str) -> str:
        """Return where the user agent is redirected to with an error of RFC 6749 or OpenID Connect."""
        return error_location(asked.redirect_uri, error, description, state=asked.state, issuer=self._issuer)
