"""Signed bearer tokens: issued for local work and tests, verified once, then known by their hash.

Two keys may sign: the installation's own (operators' tokens; no `kid` in the header), and those of the authorization
server, which rotate and are known by `kid`.
Source: RFC 9068 (JWT profile for access tokens), RFC 6750; SMART App Launch 2.2 for `fhirUser` and `scope`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol, RSAKey

from fhir_server.auth.requester import ID, INSTITUTIONAL, USER_TYPES, Requester, Role, is_reference
from fhir_server.auth.scopes import Scopes
from fhir_server.errors import Unauthenticated
from fhir_server.store.coalesce import Coalesced

ALGORITHM = "ES256"
TYPES = frozenset({"at+jwt", "application/at+jwt"})
KNOWN_TOKENS = 50_000
# How far the clocks of machines that share a database may differ, in seconds.
LEEWAY = 5
# No token of the authorization server lives longer (settings.py), in seconds.
LONGEST = 3_600
NOT_VALID = "The access token is not valid here."

SigningKey = ECKey | RSAKey
Claims = dict[str, Any]


class InvalidClaims(ValueError):
    """What a token is to say does not fit together; the message says which part and why."""


def requester_of(claims: Mapping[str, Any]) -> Requester:
    """Return the requester that verified claims describe.

    Raises InvalidClaims if a part is missing or of the wrong form, or if more than one purpose is claimed: access is
    never widened by the union of purposes (consent.md, D8).
    """
    try:
        role = Role(claims["role"])
        user, organization, purpose = claims["fhirUser"], claims["org"], claims["purpose"]
    except (KeyError, ValueError) as error:
        raise InvalidClaims(f"role, fhirUser, org and purpose are needed: {error}") from error
    if not isinstance(user, str) or not is_reference(user, USER_TYPES[role]):
        raise InvalidClaims(f"the user of a {role} token is a reference to {' or '.join(sorted(USER_TYPES[role]))}")
    if not isinstance(organization, str) or not ID.fullmatch(organization):
        raise InvalidClaims("org is the id of an Organization")
    if not isinstance(purpose, str) or not purpose.isalnum():
        raise InvalidClaims("purpose is one code of the v3 PurposeOfUse value set, such as TREAT")
    patient = claims.get("patient")
    if patient is not None and not (isinstance(patient, str) and is_reference(patient, frozenset({"Patient"}))):
        raise InvalidClaims("patient is a reference to a Patient")
    return Requester(
        role=role,
        user=user,
        organization=organization,
        purpose=purpose,
        scopes=Scopes.parse(claims.get("scope", "")),
        patient=user if role is Role.PATIENT else patient,
        department=claims.get("department") if role in INSTITUTIONAL else None,
        practitioner_role=claims.get("practitionerRole") if role in INSTITUTIONAL else None,
        reason=claims.get("reason"),
        token=str(claims.get("jti", "")),
        client=claims.get("client_id"),
        grant=claims.get("grant"),
        stated=float(claims.get("auth_time") or claims.get("iat") or 0),
        entitled=claims.get("btg") is True,
    )


@dataclass(frozen=True, slots=True)
class Verifying:
    """A key whose tokens are taken. until: seconds since 1970 from when on they are not."""

    key: SigningKey
    until: float = inf


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted beside the operator's. keys: reads, by kid, those that are published now."""

    name: str
    audience: str
    keys: Callable[[], Awaitable[Mapping[str, Verifying]]]


class _UnknownKey(Exception):
    """The token names a key that this process does not know."""


class Bearer:
    """Issues tokens with this installation's own signing key (EC P-256), and verifies these and its issuer's."""

    def __init__(
        self, key: ECKey, *, issuer: str, server: Issuer | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._issuer = issuer
        self._server = server
        self._clock = clock
        self._keys: Mapping[str, Verifying] = {}
        self._learning: Coalesced[str, bool] = Coalesced(self._learn)
        self._known: OrderedDict[bytes, tuple[float, Requester]] = OrderedDict()

    def issue(self, claims: Mapping[str, Any], *, lifetime: float) -> str:
        """Return a signed token that says these claims for `lifetime` seconds.

        Raises InvalidClaims.
        """
        requester_of(claims)
        now = int(time.time())
        full = {
            **claims,
            "iss": self._issuer,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode({"alg": ALGORITHM, "typ": "at+jwt"}, full, self._key)

    async def requester(self, token: str, *, now: float) -> Requester:
        """Return the requester of a token, whoever of the two has signed it.

        now: seconds since 1970. Raises Unauthenticated.
        """
        try:
            return self._unexpired(token, now)
        except _UnknownKey:
            await asyncio.shield(self._learning.get("keys"))
        return self.verify(token, now=now)

    def verify(self, token: str, *, now: float) -> Requester:
        """Return the requester of a token, as far as its key is known to this process.

        now: seconds since 1970. Raises Unauthenticated if the token is not ours, damaged or expired.
        """
        try:
            return self._unexpired(token, now)
        except _UnknownKey:
            raise Unauthenticated(NOT_VALID, error="invalid_token") from None

    async def claims(self, token: str) -> Claims | None:
        """Return what a token of the authorization server says that is valid and not expired; None if it is not."""
        await asyncio.shield(self._learning.get("keys"))  # one of those that are known may be void by now
        try:
            self._unexpired(token, self._clock())
            found, _ = self._decoded(token)
        except (Unauthenticated, _UnknownKey):
            return None
        return found if self._server and found["iss"] == self._server.name else None

    def _unexpired(self, token: str, now: float) -> Requester:
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is None:
            claims, key = self._decoded(token)
            until = self._keys[key].until if key is not None else inf
            known = self._known[digest] = (min(float(claims["exp"]), until), _described(claims, key))
            if len(self._known) > KNOWN_TOKENS:
                self._known.popitem(last=False)
        expires, requester = known
        if now >= expires:
            raise Unauthenticated("The access token has expired: get a new one.", error="invalid_token")
        return requester

    def _decoded(self, token: str) -> tuple[Claims, str | None]:
        """Return what a token of ours says that is not from the future, and the kid of its key.

        Raises Unauthenticated, _UnknownKey.
        """
        try:
            found = jwt.decode(token, self._key_of, algorithms=[ALGORITHM])
            self._check(found.header, found.claims)
        except (JoseError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Unauthenticated(NOT_VALID, error="invalid_token") from error
        return found.claims, found.header.get("kid")

    def _key_of(self, token: GuestProtocol) -> SigningKey:
        kid = token.headers().get("kid")
        if kid is None:
            return self._key
        if self._server is None or not isinstance(kid, str) or kid not in self._keys:
            raise _UnknownKey
        return self._keys[kid].key

    def _check(self, header: Mapping[str, Any], claims: Claims) -> None:
        """Raise ValueError unless header and claims are those of an access token for this server, by now."""
        server = self._server if "kid" in header else None
        if str(header.get("typ", "")).lower() not in TYPES:
            raise ValueError("not an access token")
        if claims["iss"] != (server.name if server else self._issuer):
            raise ValueError("issued by somebody else")
        if server and claims["aud"] != server.audience:
            raise ValueError("issued for somebody else")
        latest = self._clock() + LEEWAY
        if float(claims["iat"]) > latest or float(claims.get("nbf", 0)) > latest:
            raise ValueError("from the future")
        if not 0 < float(claims["exp"]) < (latest + LONGEST if server else inf):
            raise ValueError("without end")

    async def _learn(self, _: list[str]) -> dict[str, bool]:
        if self._server:
            keys = await self._server.keys()
            if keys != self._keys:  # else whoever makes up a kid would have all tokens verified anew
                self._keys = keys
                self._known.clear()  # a key may have been taken back
        return {}


def _described(claims: Claims, key: str | None) -> Requester:
    try:
        return replace(requester_of(claims), key=key)
    except InvalidClaims as error:
        raise Unauthenticated(NOT_VALID, error="invalid_token") from error
