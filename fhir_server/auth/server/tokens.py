"""Making tokens: access tokens for this FHIR server, id tokens for the app.

Source: RFC 9068, section 2; OpenID Connect Core 1.0, section 2; SMART App Launch 2.2, "Scopes for requesting identity
data" (fhirUser) and "Access token response".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from joserfc import jwt

from fhir_server.auth.bearer import requester_of
from fhir_server.auth.requester import Requester
from fhir_server.auth.server.grants import Grant
from fhir_server.auth.server.signing import ALGORITHMS, SigningKeys, Use
from fhir_server.auth.server.vault import new_secret

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """An access token: its text, what it says, and who bears it."""

    text: str
    claims: Json
    requester: Requester

    @property
    def answer(self) -> Json:
        """The token response as far as it follows from the token (RFC 6749, 5.1)."""
        lifetime = self.claims["exp"] - self.claims["iat"]
        return {
            "access_token": self.text,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": self.claims["scope"],
        }


class Minting:
    """Makes tokens. base: the FHIR base URL, for which access tokens are. lifetime: of access tokens, in seconds."""

    def __init__(self, keys: SigningKeys, *, issuer: str, base: str, lifetime: int, now: Callable[[], float]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._base = base
        self._lifetime = lifetime
        self._now = now

    async def access(self, claims: Mapping[str, Any], *, subject: str, client: str, grant: str) -> Made:
        """Return an access token that says these claims. Raises InvalidClaims."""
        now = int(self._now())
        full = {
            **{name: value for name, value in claims.items() if value is not None},
            "iss": self._issuer,
            "sub": subject,
            "aud": self._base,
            "client_id": client,
            "grant": grant,
            "iat": now,
            "exp": now + self._lifetime,
            "jti": new_secret(16),
        }
        requester = requester_of(full)
        return Made(await self._signed(Use.ACCESS, "at+jwt", full), full, requester)

    async def of_grant(self, grant: Grant, scope: str) -> Made:
        """Return an access token that stands on a grant, with some of its scopes."""
        granted = grant.granted
        claims = {**granted.claims, "scope": scope, "auth_time": granted.auth_time}
        return await self.access(claims, subject=granted.account, client=grant.client, grant=grant.id)

    async def identity(self, grant: Grant, access: Made, *, nonce: str | None) -> str:
        """Return the id token of a grant."""
        now = int(self._now())
        granted = grant.granted
        claims = {
            "iss": self._issuer,
            "sub": granted.account,
            "aud": grant.client,
            "iat": now,
            "exp": now + self._lifetime,
            "auth_time": granted.auth_time,
            "at_hash": _half(access.text),
            "nonce": nonce,
        }
        if "fhirUser" in grant.scopes:
            claims["fhirUser"] = f"{self._base}/{granted.claims['fhirUser']}"
        said = {name: value for name, value in claims.items() if value is not None}
        return await self._signed(Use.IDENTITY, "JWT", said)

    async def _signed(self, use: Use, type: str, claims: Json) -> str:
        key = await self._keys.signing(use)
        return jwt.encode({"alg": ALGORITHMS[use], "typ": type, "kid": key.kid}, claims, key, [ALGORITHMS[use]])


def _half(text: str) -> str:
    """Return at_hash: the left half of the digest of a token (OpenID Connect Core 1.0, 3.1.3.6)."""
    return base64.urlsafe_b64encode(sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()
