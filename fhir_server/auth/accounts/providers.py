"""Asking an institution's provider who somebody is: code flow with PKCE and nonce, and the id token that comes of it.

Source: OpenID Connect Core 1.0, 3.1 (3.1.3.7: what of an id token is checked); OpenID Connect Discovery 1.0, 4.3;
RFC 7636; RFC 9700, 4.4 (mix-up).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from fhir_server.auth.accounts.provider import Provider
from fhir_server.auth.accounts.sessions import new_token

# Signatures that only the holder of a private key can make: neither "none" nor a shared secret is one.
ALGORITHMS = ["RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512"]
KNOWN_SECONDS = 3_600
TIMEOUT = 10.0
LEEWAY = 60  # seconds that the clocks of two institutions may differ


class ProviderFailed(Exception):
    """The provider did not say who it is, or what it said cannot be trusted. The message is for the operator's log."""


@dataclass(frozen=True, slots=True)
class Away:
    """Somebody is on the way to a provider. url: where to. kept: what is remembered until they are back."""

    url: str
    kept: Mapping[str, str]


class Providers:
    """The providers of the settings. redirect_uri: where they send users back to."""

    def __init__(self, providers: Sequence[Provider], *, redirect_uri: str, clock: Callable[[], datetime]) -> None:
        self.offered = tuple(providers)
        self._by_id = {each.id: each for each in providers}
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._known: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def get(self, id: str) -> Provider | None:
        return self._by_id.get(id)

    async def leave(self, provider: Provider, flow: str) -> Away:
        """Return the way to a provider. flow: token of the flow that goes on afterwards. Raises ProviderFailed."""
        found = await self._configuration(provider)
        kept = {"id": provider.id, "state": f"{flow}.{new_token()}", "nonce": new_token(), "verifier": new_token()}
        url = prepare_grant_uri(
            found["authorization_endpoint"],
            provider.client_id,
            "code",
            redirect_uri=self._redirect_uri,
            scope=provider.scope,
            state=kept["state"],
            nonce=kept["nonce"],
            code_challenge=create_s256_code_challenge(kept["verifier"]),
            code_challenge_method="S256",
            **provider.parameters,
        )
        return Away(url, kept)

    async def back(self, provider: Provider, code: str, kept: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the claims of the id token that a code is worth. Raises ProviderFailed."""
        found = await self._configuration(provider)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": kept["verifier"],
        }
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT) as client:
                answer = await client.post(found["token_endpoint"], data=form, auth=_secret_of(provider))
            token = answer.raise_for_status().json()["id_token"]
        except (httpx.HTTPError, KeyError, ValueError, TypeError) as error:
            raise ProviderFailed(f"{provider.id}: the code was not taken ({type(error).__name__})") from None
        return await self._checked(provider, str(token), kept["nonce"])

    async def _checked(self, provider: Provider, token: str, nonce: str) -> Mapping[str, Any]:
        for fresh in (False, True):  # a key that is not known may be new
            keys = await self._keys(provider, fresh=fresh)
            try:
                return claims_of(token, keys, provider, nonce, now=int(self._clock().timestamp()))
            except UnknownKey:
                continue
        raise ProviderFailed(f"{provider.id}: the id token is signed by a key that is not the provider's")

    async def _configuration(self, provider: Provider) -> Mapping[str, Any]:
        url = provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = await self._fetched(provider, url)
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if found.get("issuer") != provider.issuer or not all(isinstance(found.get(each), str) for each in needed):
            raise ProviderFailed(f"{provider.id}: its configuration is of another issuer, or incomplete")
        return found

    async def _keys(self, provider: Provider, *, fresh: bool) -> KeySet:
        jwks = await self._fetched(provider, (await self._configuration(provider))["jwks_uri"], fresh=fresh)
        try:
            return KeySet.import_key_set({"keys": list(jwks["keys"])})
        except (JoseError, KeyError, ValueError, TypeError) as error:
            raise ProviderFailed(f"{provider.id}: its keys cannot be read ({type(error).__name__})") from None

    async def _fetched(self, provider: Provider, url: str, *, fresh: bool = False) -> Mapping[str, Any]:
        known = self._known.get(url)
        if known and not fresh and time.monotonic() - known[0] < KNOWN_SECONDS:
            return known[1]
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT) as client:
                answer = await client.get(url, headers={"Accept": "application/json"})
            found = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderFailed(f"{provider.id}: it does not answer ({type(error).__name__})") from None
        if not isinstance(found, dict):
            raise ProviderFailed(f"{provider.id}: it answers with something else than a JSON object")
        self._known[url] = (time.monotonic(), found)
        return found


class UnknownKey(Exception):
    """The id token names a key that is not among those given."""


def claims_of(token: str, keys: KeySet, provider: Provider, nonce: str, *, now: int) -> Mapping[str, Any]:
    """Return the claims of an id token that this provider made for this client and this nonce.

    now: seconds since 1970. Raises UnknownKey, ProviderFailed.
    """
    try:
        decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
        claims = decoded.claims
        JWTClaimsRegistry(
            now=now,
            leeway=LEEWAY,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": provider.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
    except InvalidKeyIdError:
        raise UnknownKey from None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProviderFailed(f"{provider.id}: its id token is not good ({type(error).__name__})") from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != provider.client_id:
        raise ProviderFailed(f"{provider.id}: its id token is for another party")
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise ProviderFailed(f"{provider.id}: its id token names nobody")
    return claims


def _secret_of(provider: Provider) -> httpx.BasicAuth:
    """Return how this server says who it is to a provider: both parts form-encoded (RFC 6749, 2.3.1)."""
    try:
        return httpx.BasicAuth(quote(provider.client_id, safe=""), quote(provider.secret(), safe=""))
    except OSError as error:
        raise ProviderFailed(f"{provider.id}: the secret file cannot be read: {error.strerror}") from None
