"""Signed statements of clients: who a client is (private_key_jwt), and for whom an EMR speaks (RFC 7523).

Source: RFC 7523, section 3; SMART App Launch 2.2, "Client authentication: asymmetric"; RFC 8725 (the algorithm is chosen
by the key, never by the token).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.auth.bearer import LEEWAY
from fhir_server.auth.server.client_keys import ClientKeys
from fhir_server.auth.server.clients import CLIENT_ID, METHODS, Client
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.vault import ASSERTIONS, Vault
from fhir_server.store.commit import DURABLE

ALGORITHMS = ("RS384", "ES384")
LONGEST = 300  # seconds, SMART App Launch 2.2
LONGEST_JTI = 256  # characters


class Unacceptable(Exception):
    """The statement is not taken; the message says what to change. client: whose it claims to be, if registered."""

    def __init__(self, message: str, client: Client | None = None) -> None:
        super().__init__(message)
        self.client = client


class Stated(NamedTuple):
    """A statement that is verified, and that nobody can make a second time."""

    client: Client
    claims: dict[str, Any]


class Assertions:
    """Verifies statements of registered clients; each is taken once, in whichever worker."""

    def __init__(
        self,
        clients: Clients,
        keys: ClientKeys,
        database: AsyncDatabase[dict[str, Any]],
        vault: Vault,
        *,
        audiences: frozenset[str],
        now: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._keys = keys
        self._seen = database.get_collection(ASSERTIONS, write_concern=DURABLE)
        self._vault = vault
        self._audiences = audiences
        self._now = now

    async def stated(self, text: str) -> Stated:
        """Return what a client says under its own key. Raises Unacceptable."""
        header, issuer = _unverified(text)
        client = await self._clients.get(issuer)
        if client is None or "private_key_jwt" not in METHODS[client.kind]:
            raise Unacceptable("iss is not the id of a client that is registered with keys.")
        try:
            claims = await self._verified(client, text, header)
            check_times(claims, now=self._now())
            self._check_audience(claims)
            await self._once(client, claims)
        except Unacceptable as problem:
            raise Unacceptable(str(problem), client) from None
        return Stated(client, claims)

    async def _verified(self, client: Client, text: str, header: dict[str, Any]) -> dict[str, Any]:
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise Unacceptable("The header needs the kid of the key that signed.")
        if "jku" in header and header["jku"] != client.jwks_uri:
            raise Unacceptable("jku is not the URL of the keys that is registered for this client.")
        keys = await self._keys.of(client, kid)
        try:
            key = _named(keys, kid)
            return jwt.decode(text, key, algorithms=[algorithm_of(key)]).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise Unacceptable(
                "The signature is not that of a registered key of this client with RS384 or ES384."
            ) from None

    def _check_audience(self, claims: dict[str, Any]) -> None:
        said = claims.get("aud")
        listed = said if isinstance(said, list) else [said]
        if not any(isinstance(each, str) and each in self._audiences for each in listed):
            raise Unacceptable(f"aud has to be {min(self._audiences)}")

    async def _once(self, client: Client, claims: dict[str, Any]) -> None:
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
            raise Unacceptable(f"jti has to be a text of 1 to {LONGEST_JTI} characters.")
        name = self._vault.name("jti", f"{client.id}\0{jti}")
        until = datetime.fromtimestamp(float(claims["exp"]) + 60, UTC)
        try:
            await self._seen.insert_one({"_id": name, "until": until})
        except DuplicateKeyError:
            raise Unacceptable("jti was used before: each statement needs its own.") from None


def check_times(claims: dict[str, Any], *, now: float) -> None:
    """Raise Unacceptable unless a statement holds now, and not for long; now: seconds since 1970."""
    exp, starts = _number(claims, "exp"), [_number(claims, name) for name in ("iat", "nbf") if name in claims]
    if exp <= now - LEEWAY:
        raise Unacceptable("The statement has expired.")
    if exp > now + LONGEST + LEEWAY:
        raise Unacceptable(f"exp is more than {LONGEST} seconds away.")
    if any(start > now + LEEWAY for start in starts):
        raise Unacceptable("iat or nbf is in the future: check the clock.")


def _number(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise Unacceptable(f"{name} has to be a number of seconds since 1970.")
    return float(value)


def algorithm_of(key: RSAKey | ECKey) -> str:
    """Return the one algorithm that a key is used with."""
    return "RS384" if isinstance(key, RSAKey) else "ES384"


def _named(keys: KeySet, kid: str) -> RSAKey | ECKey:
    (found,) = (key for key in keys.keys if key.kid == kid)  # two of one name are as bad as none
    if not isinstance(found, RSAKey | ECKey):
        raise TypeError("neither RSA nor EC")
    return found


def _unverified(text: str) -> tuple[dict[str, Any], str]:
    """Return the header of a statement and whose it claims to be. Raises Unacceptable."""
    try:
        token = jws.extract_compact(text.encode("ascii"))
        header = token.headers()
        issuer = _claims(token.payload).get("iss")
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        raise Unacceptable("The statement is not a signed JWT.") from None
    if header.get("alg") not in ALGORITHMS:
        raise Unacceptable("The statement is signed with RS384 or ES384.")
    if not isinstance(issuer, str) or not CLIENT_ID.fullmatch(issuer):
        raise Unacceptable("iss has to be the client id.")
    return header, issuer


def _claims(payload: bytes) -> dict[str, Any]:
    found = json.loads(payload)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
