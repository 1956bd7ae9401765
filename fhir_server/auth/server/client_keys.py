"""The public keys of clients: registered with them, or fetched from where they say.

Source: SMART App Launch 2.2, "Client authentication: asymmetric", "Registering a client".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import httpx
from joserfc.jwk import KeySet

from fhir_server.auth.server.clients import Client, InvalidClient, usable_keys

FETCH_SECONDS = 5.0
MOST_BYTES = 64 * 1024
# Keys are fetched again when they are this old, and for a kid that is not among them once a minute at most.
KEPT_SECONDS = 15 * 60
AGAIN_SECONDS = 60
EMPTY = KeySet([])


class _Fetched(NamedTuple):
    at: float
    keys: KeySet


class ClientKeys:
    """Finds the keys of clients. clock: seconds, of any beginning."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fetched: dict[str, _Fetched] = {}
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, client: Client, kid: str) -> KeySet:
        """Return the keys of a client; none if they cannot be had. kid: the key that is wanted."""
        if client.jwks is not None:
            return usable_keys(client.jwks)
        if client.jwks_uri is None:
            return EMPTY
        async with self._fetching[client.jwks_uri]:  # whoever comes meanwhile waits for the same answer
            known = self._fetched.get(client.jwks_uri)
            if known is None or self._is_old(known, kid):
                # An answer that cannot be used counts as well: the other side is not asked more often for it.
                known = self._fetched[client.jwks_uri] = _Fetched(self._clock(), await _fetch(client.jwks_uri))
        return known.keys

    def _is_old(self, known: _Fetched, kid: str) -> bool:
        age = self._clock() - known.at
        return age >= KEPT_SECONDS or (age >= AGAIN_SECONDS and all(key.kid != kid for key in known.keys.keys))


async def _fetch(url: str) -> KeySet:
    """Return the keys at a URL; none if there is no JWK set."""
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),  # of all of it, however slowly it comes
            httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as http,
            http.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            answer.raise_for_status()
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    return EMPTY
        return usable_keys(json.loads(body))
    except (httpx.HTTPError, TimeoutError, ValueError, InvalidClient, AttributeError, RecursionError):
        return EMPTY
