"""Apps and institutions' systems for the tests: registered through the product, talking over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.app import assemble, keyring_of
from fhir_server.auth.server.authentication import HASHER, JWT_BEARER
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.authorizations import Asked, Granted
from fhir_server.auth.server.clients import Client, Kind
from tests.live import Live

T = TypeVar("T")
Json = dict[str, Any]
Pairs = list[tuple[str, str]]
BACK = "https://app.example.org/back"
SCOPES = "openid fhirUser launch/patient offline_access online_access patient/*.rs user/*.cruds"
KEYS = {"RS384": RSAKey.generate_key(2048), "ES384": ECKey.generate_key("P-384")}


@dataclass
class Desk:
    """A running server, and its authorization server as a command of the operator would open it."""

    server: Live
    uri: str

    @property
    def origin(self) -> str:
        return self.server.settings.origin

    @property
    def token_url(self) -> str:
        return f"{self.origin}/auth/token"

    def run(self, work: Callable[[Authority], Awaitable[T]]) -> T:
        """Return what work returns with the authorization server's parts."""

        async def within() -> T:
            keyring = keyring_of(self.server.settings)
            parts = assemble(self.server.settings, keyring, uri=self.uri)
            try:
                await parts.ready()
                return await work(parts.authority(self.server.settings, keyring))
            finally:
                await parts.client.close()

        return asyncio.run(within())

    def register(self, client: Client) -> Client:
        return self.run(lambda authority: authority.clients.add(client))

    def post(self, path: str, data: Json, **how: Any) -> httpx.Response:
        return httpx.post(f"{self.origin}/auth/{path}", data=data, timeout=60, **how)

    def read(self, token: str, path: str = "Patient") -> int:
        """Return the status of a request that bears a token."""
        with self.server.bearing(token) as client:
            return client.get(path).status_code


@dataclass
class App:
    """A registered app, and what it does to get tokens. The user's part is done as the pages do it."""

    desk: Desk
    client: Client
    secret: str | None = None
    key: RSAKey | ECKey | None = None
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(40))

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def request(self, **changed: Any) -> Pairs:
        """Return the parameters of an authorization request; those that are None are left out."""
        usual = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": BACK,
            "scope": "openid fhirUser launch/patient offline_access patient/*.rs",
            "state": "st4te",
            "aud": self.desk.server.base,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "nonce": "n0nce",
        }
        return [(name, value) for name, value in {**usual, **changed}.items() if value is not None]

    def approved(self, granted: Granted | None = None, **changed: Any) -> dict[str, str]:
        """Return the parameters of the redirect after the user has approved."""

        async def approve(authority: Authority) -> str:
            asked: Asked = await authority.authorizations.read(self.request(**changed))
            return await authority.authorizations.grant(asked, granted or doctor(asked.scope))

        location = self.desk.run(approve)
        return dict(parse_qsl(urlsplit(location).query))

    def code(self, granted: Granted | None = None, **changed: Any) -> str:
        return self.approved(granted, **changed)["code"]

    def proof(self) -> Json:
        """Return the parameters by which the app says who it is."""
        if self.key is not None:
            return {"client_assertion_type": JWT_BEARER, "client_assertion": self.assertion()}
        return {"client_id": self.client.id, **({"client_secret": self.secret} if self.secret else {})}

    def assertion(self, header: Json | None = None, key: Any = None, **changed: Any) -> str:
        """Return a statement of the app under its key."""
        now = int(time.time())
        key = key or self.key
        usual = {"iss": self.client.id, "sub": self.client.id, "aud": self.desk.token_url, "exp": now + 240}
        claims = {**usual, "jti": secrets.token_urlsafe(8), **changed}
        alg = "RS384" if isinstance(key, RSAKey) else "ES384"
        said = {"alg": alg, "kid": "key-1", "typ": "JWT", **(header or {})}
        said = {name: value for name, value in said.items() if value is not None}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(said, claims, key, [said["alg"]])

    def redeem(self, code: str, /, **changed: Any) -> httpx.Response:
        usual = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": self.verifier}
        sent = {**usual, **self.proof(), **changed}
        return self.desk.post("token", {name: value for name, value in sent.items() if value is not None})

    def refresh(self, token: str, /, **changed: Any) -> httpx.Response:
        return self.desk.post(
            "token", {"grant_type": "refresh_token", "refresh_token": token, **self.proof(), **changed}
        )

    def signed_in(self, granted: Granted | None = None, **changed: Any) -> Json:
        """Return the token response of a whole approval."""
        answer = self.redeem(self.code(granted, **changed))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def backend(self, scope: str = "system/*.cruds", **changed: Any) -> httpx.Response:
        """Return the answer to a request for a token of the client's own."""
        return self.desk.post("token", {"grant_type": "client_credentials", "scope": scope, **self.proof(), **changed})


def doctor(scope: str, *, organization: str = "org1", session: str | None = None, **context: Any) -> Granted:
    """Return what a doctor grants."""
    claims = {
        "role": "practitioner",
        "fhirUser": "Practitioner/dr-zhang",
        "org": organization,
        "purpose": "TREAT",
        "scope": scope,
        "patient": "Patient/p1",
    }
    return Granted("account-1", int(time.time()), claims, {"patient": "p1", **context}, session)


def app(desk: Desk, kind: Kind = Kind.PUBLIC, alg: str = "ES384", **changed: Any) -> App:
    """Register an app, or a backend client of org1, under an id of its own."""
    secret = secrets.token_urlsafe(32) if kind is Kind.SYMMETRIC else None
    signing = KEYS[alg] if kind in (Kind.ASYMMETRIC, Kind.BACKEND) else None
    of_users = kind is not Kind.BACKEND
    client = Client(
        id=f"app-{secrets.token_hex(4)}",
        name="心电图小助手",
        kind=kind,
        redirect_uris=(BACK,) if of_users else (),
        scopes=tuple((SCOPES if of_users else "system/*.cruds user/*.rs").split()),
        jwks={"keys": [public(signing)]} if signing else None,
        secret_hash=HASHER.hash(secret) if secret else None,
        organization="org1",
        system_user=None if of_users else "Device/emr-org1",
    )
    return App(desk, desk.register(replace(client, **changed)), secret, signing)


def public(key: RSAKey | ECKey, kid: str = "key-1") -> Json:
    return {**key.as_dict(private=False), "kid": kid}
