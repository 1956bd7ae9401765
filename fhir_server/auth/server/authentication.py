"""Who calls the token, revocation and introspection endpoints.

Source: RFC 6749, 2.3 and 3.2.1; RFC 7523, 2.2; SMART App Launch 2.2, "Client authentication".
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from authlib.oauth2.rfc6749.util import extract_basic_authorization  # type: ignore[import-untyped]
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.nobodys import nobodys
from fhir_server.auth.server.assertions import Assertions, Unacceptable
from fhir_server.auth.server.clients import Client, Kind
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.problems import OAuthProblem, invalid_client, invalid_request
from fhir_server.auth.server.recording import Recorder
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.vault import FAILURES, Vault

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
WRONG = "The client is unknown, or it did not prove who it is in the way that it is registered for."
REMEMBERED = timedelta(minutes=15)
FREE_FAILURES = 3
LONGEST_PAUSE = 4.0  # seconds

HASHER = PasswordHasher()
# Stands for the secret of a client that is not there: the answer takes as long.
NOBODYS = nobodys(HASHER)


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that is known now. said: the claims of its assertion, if it signed one."""

    client: Client
    said: Mapping[str, Any] = field(default_factory=dict)


def pause_after(failures: int) -> float:
    """Return how many seconds the next refusal of a client waits that has failed so often in a row.

    >>> [pause_after(count) for count in (1, 4, 6, 20)]
    [0.0, 0.25, 1.0, 4.0]
    """
    return 0.0 if failures <= FREE_FAILURES else min(0.25 * 2.0 ** min(failures - FREE_FAILURES - 1, 10), LONGEST_PAUSE)


class Authentication:
    """Finds out which client calls. pause: waits for seconds."""

    def __init__(
        self,
        clients: Clients,
        assertions: Assertions,
        recorder: Recorder,
        database: AsyncDatabase[dict[str, Any]],
        vault: Vault,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = clients
        self._assertions = assertions
        self._recorder = recorder
        self._failures = database[FAILURES]
        self._vault = vault
        self._pause = pause
        self._hashing = asyncio.Semaphore(2)  # one verification takes 64 MiB

    async def caller(self, form: Form, authorization: str | None) -> Caller:
        """Return who calls. Raises OAuthProblem, invalid_client above all, which is recorded and slowed down."""
        basic = authorization is not None
        if sum((basic, "client_secret" in form, "client_assertion" in form)) > 1:
            raise invalid_request("Authenticate in one way only.")
        if "client_assertion" in form:
            return await self._by_assertion(form)
        id, secret = _basic(authorization) if basic else (form.get("client_id"), form.get("client_secret"))
        client = await self._clients.get(id) if id else None
        if basic and form.get("client_id", id) != id:
            raise invalid_request("client_id is not the client that authenticates.")
        if secret is None and not basic and client is not None and client.kind is Kind.PUBLIC:
            return Caller(client)
        if await self._proven(client, secret):
            assert client is not None
            await self._failures.delete_one({"_id": self._vault.name("client", client.id)})
            return Caller(client)
        raise await self._refused(client, WRONG, challenge=basic)

    async def _by_assertion(self, form: Form) -> Caller:
        if form.get("client_assertion_type") != JWT_BEARER:
            raise invalid_request(f"client_assertion_type has to be {JWT_BEARER}")
        try:
            client, claims = await self._assertions.stated(form["client_assertion"])
            if claims.get("sub") != client.id:
                raise Unacceptable("sub has to be the client id.", client)
            if form.get("client_id", client.id) != client.id:
                raise Unacceptable("client_id is not the client that signed.", client)
        except Unacceptable as problem:
            raise await self._refused(problem.client, str(problem), guessed=False) from None
        return Caller(client, claims)

    async def _proven(self, client: Client | None, secret: str | None) -> bool:
        """Return whether a secret is a client's own."""
        kept = client.secret_hash if client is not None and client.kind is Kind.SYMMETRIC else None
        async with self._hashing:
            right = await asyncio.to_thread(verified, kept or NOBODYS, secret or "")
        return right and kept is not None and secret is not None

    async def _refused(
        self, client: Client | None, why: str, *, challenge: bool = False, guessed: bool = True
    ) -> OAuthProblem:
        """Return the refusal, once it is recorded and, after many guesses at this client's secret, has waited.

        A signature is not guessed: there waiting would only keep connections open.
        """
        await self._recorder.refused("client-authentication", client, 401, "invalid_client")
        if client is not None and guessed:
            await self._pause(pause_after(await self._count(client)))
        return invalid_client(why, challenge=challenge)

    async def _count(self, client: Client) -> int:
        row = await self._failures.find_one_and_update(
            {"_id": self._vault.name("client", client.id)},
            {"$inc": {"n": 1}, "$set": {"until": datetime.now(UTC) + REMEMBERED}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return int(row["n"]) if row else 1


def verified(kept: str, secret: str) -> bool:
    """Return whether a secret is the one of an argon2id hash."""
    try:
        return HASHER.verify(kept, secret)
    except (VerificationError, InvalidHashError):
        return False


def same(one: str, other: str) -> bool:
    """Return whether two texts are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _basic(authorization: str | None) -> tuple[str | None, str | None]:
    """Return id and secret of an HTTP Basic header, which are form-encoded (RFC 6749, 2.3.1)."""
    try:
        id, secret = extract_basic_authorization({"Authorization": authorization or ""})
    except (ValueError, UnicodeError):
        return None, None
    return id or None, secret or None
