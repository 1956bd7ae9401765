"""Our own server as the target: one for each set of settings, with a clock that the rows set."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey
from pymongo import MongoClient

from fhir_server.app import keyring_of
from fhir_server.auth.bearer import InvalidClaims
from tests.consent.rows import DEFAULTS, Row
from tests.consent.target import Target, Who
from tests.consent.world import T0
from tests.live import Clock, Live, live

LIFETIME = 4 * 3600


class Servers:
    """Starts a server for each set of settings that a row needs, once; ends them all."""

    def __init__(self, mongo_uri: str, folder: Path, *, gated: bool = True) -> None:
        self._uri, self._folder, self._gated = mongo_uri, folder, gated
        self._open = ExitStack()
        self._known: dict[str, Target] = {}

    def close(self) -> None:
        self._open.close()

    def target(self, row: Row) -> Target:
        """Return the server with the settings of a row."""
        key = f"{sorted(row.under.items())}"
        if key not in self._known:
            self._known[key] = self._started(row.under)
        return self._known[key]

    def _started(self, settings: Mapping[str, Any]) -> Target:
        """Return a server with these settings; of the usual ones, two processes' worth over the same data."""
        name, clock = f"test_{secrets.token_hex(6)}", Clock(T0)
        folder = self._folder / name
        folder.mkdir()
        self._open.callback(_drop, self._uri, name)
        changed = {
            each: value for each, value in settings.items() if each == "implicit_policy" or value != DEFAULTS[each]
        }
        servers = [
            self._open.enter_context(live(self._uri, folder, database=name, clock=clock, gated=self._gated, **changed))
            for _ in range(2 if settings == DEFAULTS and self._gated else 1)
        ]

        def set_clock(at: datetime) -> None:
            clock.now = at

        return Target(tuple(each.base for each in servers), LocalTokens(servers[0]), set_clock, settings)


class LocalTokens:
    """Tokens that the server's own key signed, those that it would not issue as well."""

    def __init__(self, server: Live) -> None:
        self._server = server

    def __call__(self, who: Who) -> str | None:
        try:
            return self._server.bearer.issue(who.said, lifetime=LIFETIME)
        except InvalidClaims:
            return self._forged(who)

    def _forged(self, who: Who) -> str:
        key = ECKey.import_key(keyring_of(self._server.settings).signing_pem.decode())
        proper = self._server.token("practitioner", "Practitioner/Dr1")
        token = jwt.decode(proper, key)
        claims = {**token.claims, **who.said, "exp": int(time.time()) + LIFETIME, "jti": secrets.token_hex(8)}
        return jwt.encode(token.header, claims, key)


def _drop(uri: str, name: str) -> None:
    with MongoClient[Any](uri) as client:
        client.drop_database(name)
