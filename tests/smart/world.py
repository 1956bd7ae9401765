"""A server with apps, systems, accounts and records for the tests of SMART, and what an app and its user do."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx
from pymongo import AsyncMongoClient, MongoClient

from fhir_server.app import assemble, keyring_of
from fhir_server.auth.accounts.passwords import Passwords
from fhir_server.auth.accounts.users import Users
from fhir_server.auth.server.authority import Authority, opened
from fhir_server.auth.server.clients import Client
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.vault import FAILURES, Vault
from fhir_server.auth.signed.register import PURPOSE, Register
from fhir_server.settings import Settings
from tests.live import Live, live
from tests.smart.cast import NEWCOMER, PASSWORD, REDIRECT, SECRET, apps, people, records
from tests.smart.keys import CLIENT_ASSERTION, Pair, es384, rs384, stating
from tests.smart.person import Person
from tests.smart.site import serving

VERIFIER = "a-verifier-of-the-app-that-is-long-enough-for-RFC-7636"

T = TypeVar("T")


@dataclass
class World:
    """The running server, and what the tests know of its clients and people."""

    live: Live
    mongo_uri: str
    mongo: MongoClient[dict[str, Any]]
    pairs: dict[str, Pair]
    redirect: str
    jwks_uri: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))
    persons: dict[str, Person] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return self.live.base

    @property
    def origin(self) -> str:
        return self.live.base.removesuffix("/fhir")

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """What the server tells of itself."""
        told: dict[str, Any] = self.http.get(f"{self.base}/.well-known/smart-configuration").json()
        return told

    @property
    def token_url(self) -> str:
        return f"{self.origin}/auth/token"

    def forgive(self) -> None:
        """Let the server forget who failed to authenticate, so that what comes next is not slowed down."""
        self.mongo[self.live.settings.database][FAILURES].delete_many({})

    def command(self, *words: str) -> str:
        """Return what a command of the operator prints."""
        given = {"FHIR_DATA": str(self.live.settings.data), "FHIR_MONGODB_URI": self.mongo_uri}
        done = subprocess.run(
            [sys.executable, "-m", "fhir_server", *words],
            env={
                **os.environ,
                **given,
                "FHIR_DATABASE": self.live.settings.database,
                "FHIR_ZONE": self.live.settings.zone,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def at(self, seconds: float) -> Iterator[None]:
        """Let the server's clock stand still, so many seconds from now."""
        self.live.clock.now = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            yield
        finally:
            self.live.clock.now = None

    def shifted(self, seconds: float, work: Callable[[Authority], Awaitable[T]]) -> T:
        """Return what work returns with an authorization server of this installation whose clock is so far ahead."""

        async def run() -> T:
            settings, keyring = self.live.settings, keyring_of(self.live.settings)
            parts = assemble(settings, keyring, uri=self.mongo_uri)
            use = parts.services
            shared = {"audit": use.audit, "committer": use.committer, "at": use.now}
            try:
                now = lambda: time.time() + seconds  # noqa: E731
                return await work(opened(settings, keyring, parts.database, **shared, now=now))
            finally:
                await parts.client.close()

        return asyncio.run(run())

    def person(self, login: str) -> Person:
        """Return the browser of somebody, the same for all who ask, so that they sign in once."""
        if login not in self.persons:
            self.persons[login] = Person(login, PASSWORD, SECRET)
        return self.persons[login]

    def request(self, **changes: str | None) -> dict[str, str]:
        """Return the parameters of an authorization request of the app "chart". None leaves one out."""
        usual = {
            "response_type": "code",
            "client_id": "chart",
            "redirect_uri": self.redirect,
            "scope": "launch/patient patient/Patient.rs patient/Observation.rs",
            "state": "state-of-the-app",
            "aud": self.base,
            "code_challenge": challenge(VERIFIER),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def asked(self, person: Person | None = None, **changes: str | None) -> httpx.Response:
        """Return the first answer to an authorization request, sent by GET; it is not followed."""
        client = person.http if person else self.http
        return client.get(f"{self.origin}/auth/authorize", params=self.request(**changes), follow_redirects=False)

    def authorized(self, login: str = "doctor1", *, choose: str = "p1", **changes: str | None) -> dict[str, str]:
        """Return what an app gets at its redirect URI when this person approves. choose: the patient they pick."""
        person = self.person(login)
        return back(
            person.approve(self.asked(person, **changes), choose=choose), changes.get("redirect_uri") or self.redirect
        )

    def exchange(self, code: str, **changes: str | None) -> httpx.Response:
        """Return the answer to a code. changes: form fields that differ; None leaves one out."""
        usual = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect,
            "client_id": "chart",
            "code_verifier": VERIFIER,
        }
        return self.form({**usual, **changes})

    def form(self, fields: Mapping[str, str | None], url: str | None = None, **options: Any) -> httpx.Response:
        """Return the answer to a form that is sent to the token endpoint, or to another."""
        kept = {name: value for name, value in fields.items() if value is not None}
        return self.http.post(url or self.token_url, data=kept, **options)

    def granted(self, login: str = "doctor1", *, choose: str = "p1", **changes: str | None) -> dict[str, Any]:
        """Return the token response that an app gets when this person approves."""
        code = self.authorized(login, choose=choose, **changes)["code"]
        answer = self.exchange(code, client_id=changes.get("client_id") or "chart")
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def assertion(self, client: str, **changes: Any) -> str:
        """Return the JWT by which a client says who it is."""
        return self.pairs[client].sign(stating(client, self.token_url, **changes))

    def backend(self, client: str = "emr", scope: str = "system/*.rs", assertion: str | None = None) -> httpx.Response:
        """Return the answer to a backend client that asks for a token."""
        said = {"grant_type": "client_credentials", "scope": scope, "client_assertion_type": CLIENT_ASSERTION}
        return self.form({**said, "client_assertion": assertion or self.assertion(client)})

    def backend_token(self, client: str = "emr", scope: str = "system/*.rs") -> str:
        answer = self.backend(client, scope)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def get(self, path: str, token: str) -> httpx.Response:
        """Return the answer of the FHIR API to a bearer of a token."""
        return self.http.get(f"{self.base}/{path}", headers={"Authorization": f"Bearer {token}"})

    def launch(self, client: str = "emr", **changes: Any) -> httpx.Response:
        """Return the answer to an EMR that makes a context for a launch."""
        usual = {"patient": "p1", "encounter": "e1", "user": "Practitioner/d1"}
        said = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        headers = {"Authorization": f"Bearer {self.backend_token(client, 'launch system/*.rs')}"}
        return self.http.post(f"{self.origin}/auth/launch", json=said, headers=headers)


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def back(answer: httpx.Response, redirect: str = REDIRECT) -> dict[str, str]:
    """Return the parameters with which an answer leads back to the app."""
    assert answer.status_code in (302, 303), f"{answer.status_code} {answer.text}"
    location = answer.headers["location"]
    assert location.startswith(f"{redirect}?"), location
    pairs = parse_qsl(urlsplit(location).query, keep_blank_values=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@contextmanager
def world(mongo_uri: str, folder: Path, redirect: str = REDIRECT, **settings: Any) -> Iterator[World]:
    """Run a server with all of this in it. redirect: where its apps live. settings: that differ from the usual ones."""
    name = f"test_{secrets.token_hex(6)}"
    pairs = {"signing": es384(), "emr": rs384(), "emr2": es384(), "remote": es384("remote-1")}
    with (
        TemporaryDirectory() as public,
        serving(Path(public)) as elsewhere,
        live(mongo_uri, folder, database=name, **settings) as running,
        MongoClient[dict[str, Any]](mongo_uri) as mongo,
    ):
        jwks_uri = f"{elsewhere}/jwks.json"
        Path(public, "jwks.json").write_text(json.dumps(pairs["remote"].public))
        asyncio.run(_register(mongo_uri, running.settings, apps(pairs, redirect, jwks_uri)))
        running.put(*records())
        made = World(running, mongo_uri, mongo, pairs, redirect, jwks_uri)
        with made.http:
            yield made
        for person in made.persons.values():
            person.http.close()


async def _register(mongo_uri: str, settings: Settings, registered: Iterable[Client]) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_uri) as mongo:
        keyring = keyring_of(settings)
        register, vault = Register(mongo[settings.database], keyring.signer(PURPOSE)), Vault(keyring)
        clients, users = Clients(register, vault), Users(register, vault)
        for client in registered:
            await clients.add(client)
        password = await Passwords().hashed(PASSWORD)
        for account in people():
            made = await users.add(account, password=password)
            if account.needs_second_factor and account.login != NEWCOMER:
                assert await users.enrol(made.id, SECRET, step=0)
