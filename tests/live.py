"""A real server on a real socket over a real MongoDB, in a thread of the test process, and a client for it."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from fhir_server.app import assemble, bearer_of, create_app, keyring_of
from fhir_server.auth.bearer import Bearer
from fhir_server.settings import Settings

JSON = "application/fhir+json"

# One for all clients: to make it takes longer than a request.
UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


@dataclass
class Clock:
    """The server's clock: the real one, or standing still where a test sets it."""

    now: datetime | None = None

    def __call__(self) -> datetime:
        return self.now or datetime.now(UTC)


@dataclass
class Live:
    """A running server. Users are made by name of their role; each has an institution and a purpose."""

    base: str
    bearer: Bearer
    settings: Settings
    clock: Clock = field(default_factory=Clock)

    def token(self, role: str, user: str, organization: str = "org1", purpose: str = "TREAT", **claims: Any) -> str:
        scope = claims.pop("scope", "patient/*.cruds" if role == "patient" else "user/*.cruds")
        said = {"role": role, "fhirUser": user, "org": organization, "purpose": purpose, "scope": scope, **claims}
        return self.bearer.issue(said, lifetime=3600)

    def client(
        self, role: str, user: str, organization: str = "org1", purpose: str = "TREAT", **claims: Any
    ) -> httpx.Client:
        """Return an HTTP client that carries a token of this user; paths are relative to the FHIR base."""
        token = self.token(role, user, organization, purpose, **claims)
        return self.bearing(token)

    def bearing(self, token: str | None) -> httpx.Client:
        headers = {"Accept": JSON, "Content-Type": JSON, **({"Authorization": f"Bearer {token}"} if token else {})}
        return httpx.Client(base_url=self.base + "/", headers=headers, timeout=60, verify=UNVERIFIED, trust_env=False)

    def system(self, organization: str = "org1") -> httpx.Client:
        """Return a client of an institution's own system, which may write."""
        return self.client("system", f"Device/emr-{organization}", organization, scope="system/*.cruds")

    def put(self, *resources: dict[str, Any], organization: str = "org1") -> None:
        """Store resources under their own ids as an institution's system."""
        with self.system(organization) as client:
            for resource in resources:
                answer = client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
                assert answer.status_code in (200, 201), answer.text


@contextmanager
def live(
    mongo_uri: str, folder: Path, *, database: str, gated: bool = True, clock: Clock | None = None, **settings: Any
) -> Iterator[Live]:
    """Run a server over its own database; folder holds its keyring, so servers of one folder share their data."""
    port = settings.pop("port", 0) or free_port()
    chosen = Settings.load(folder, port=port, database=database, zone=settings.pop("zone", "UTC"), **settings)
    keyring = keyring_of(chosen)
    time_of_day = clock or Clock()
    parts = assemble(chosen, keyring, uri=mongo_uri, clock=time_of_day, gated=gated)
    config = uvicorn.Config(create_app(chosen, parts, keyring), port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started, "the server did not start"
    try:
        yield Live(chosen.public_base, bearer_of(keyring), chosen, time_of_day)
    finally:
        server.should_exit = True
        thread.join(30)


def free_port() -> int:
    """Return a port that nothing listens on.

    Below those that systems hand out by themselves to whoever connects, and by chance of this process's own: between the
    look and its use no connection takes it, nor another worker of the same test run.
    """
    for port in random.SystemRandom().sample(range(12_000, 20_000), 1_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")
