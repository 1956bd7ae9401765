"""Backend services and private_key_jwt: SMART App Launch 2.2, "Backend Services"; RFC 7523, section 3; RFC 8725."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.auth.server.authentication import JWT_BEARER
from fhir_server.auth.server.client_keys import AGAIN_SECONDS, ClientKeys
from fhir_server.auth.server.clients import Client, Kind
from tests.auth.server.apps import KEYS, App, Desk, app, public
from tests.live import live

Json = dict[str, Any]
OTHER = ECKey.generate_key("P-384")


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_an_institutions_system_gets_a_token_for_itself(desk: Desk, alg: str) -> None:
    client = app(desk, Kind.BACKEND, alg)
    answer = client.backend()
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (said["token_type"], said["scope"]) == ("Bearer", "system/*.cruds")
    assert said["expires_in"] <= 300
    assert desk.read(said["access_token"]) == 200


def test_scopes_are_those_of_the_client_and_of_systems(backend: App) -> None:
    for asked, granted in [
        ("system/*.rs", "system/*.rs"),
        ("system/*.read", "system/*.read"),
        ("system/Patient.rs patient/*.rs openid offline_access x/y.z", "system/Patient.rs"),
        ("system/*.rs user/*.cruds", "system/*.rs"),
    ]:
        assert backend.backend(asked).json()["scope"] == granted
    for nothing in ("user/*.rs", "patient/*.rs", "openid fhirUser", "system%2F*.rs", "system/*.rs?code:not=x"):
        assert backend.backend(nothing).json()["error"] == "invalid_scope"
    assert backend.backend("").json()["error"] == "invalid_request"


def future() -> int:
    return int(time.time()) + 60


# What is changed in a good statement.
STATEMENTS: dict[str, Callable[[App], Json]] = {
    "no key id": lambda app: {"header": {"kid": None}},
    "an unknown key id": lambda app: {"header": {"kid": "key-2"}},
    "a key of somebody else": lambda app: {"key": OTHER},
    "keys at a URL that is not registered": lambda app: {"header": {"jku": "https://evil.test/keys"}},
    "another issuer": lambda app: {"iss": "nobody"},
    "no issuer": lambda app: {"iss": None},
    "another subject": lambda app: {"sub": "nobody"},
    "no subject": lambda app: {"sub": None},
    "another audience": lambda app: {"aud": "https://other.example.org/token"},
    "the FHIR server as audience": lambda app: {"aud": app.desk.server.base},
    "no audience": lambda app: {"aud": None},
    "expired": lambda app: {"exp": int(time.time()) - 60},
    "no end": lambda app: {"exp": None},
    "too long a life": lambda app: {"exp": int(time.time()) + 3_600},
    "an end that is no number": lambda app: {"exp": "soon"},
    "an end that is no number, though true": lambda app: {"exp": True},
    "made in the future": lambda app: {"iat": future()},
    "good in the future": lambda app: {"nbf": future()},
    "no id": lambda app: {"jti": None},
    "an empty id": lambda app: {"jti": ""},
    "an id that is no text": lambda app: {"jti": 5},
    "an endless id": lambda app: {"jti": "x" * 300},
}


@pytest.mark.parametrize("changed", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_a_statement_that_is_not_as_it_should_be_is_refused(backend: App, changed: Callable[[App], Json]) -> None:
    answer = backend.backend(client_assertion=backend.assertion(**changed(backend)))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_description"]


def encoded(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(app: App) -> Iterator[tuple[str, str]]:
    """Yield statements that confuse algorithms, each with what it does."""
    now = int(time.time())
    claims = {"iss": app.client.id, "sub": app.client.id, "aud": app.desk.token_url, "exp": now + 200}
    for alg in ("none", "None", ""):
        yield alg, f"{encoded({'alg': alg, 'kid': 'key-1'})}.{encoded({**claims, 'jti': secrets.token_hex(8)})}."
    pem = KEYS["RS384"].as_pem(private=False)
    for secret in (pem, pem.strip(), b"key-1"):
        signed = {**claims, "jti": secrets.token_hex(8)}
        said = f"{encoded({'alg': 'HS256', 'kid': 'key-1'})}.{encoded(signed)}"
        code = base64.urlsafe_b64encode(hmac.digest(secret, said.encode(), "sha256")).rstrip(b"=").decode()
        yield "HMAC by what is public", f"{said}.{code}"
    for alg in ("RS256", "RS512", "PS384"):
        signed = {**claims, "jti": secrets.token_hex(8)}
        yield alg, jwt.encode({"alg": alg, "kid": "key-1"}, signed, KEYS["RS384"], [alg])
    good = app.assertion()
    head, payload, signature = good.split(".")
    yield "changed", f"{head}.{encoded({**claims, 'jti': 'x', 'scope': 'more'})}.{signature}"
    yield "cut", f"{head}.{payload}."
    yield "no token", "x"
    yield "no token at all", "..."
    yield (
        "its own key",
        jwt.encode({"alg": "ES384", "kid": "key-1", "jwk": public(OTHER)}, {**claims, "jti": "y"}, OTHER, ["ES384"]),
    )


def test_no_algorithm_is_taken_for_another(desk: Desk) -> None:
    client = app(desk, Kind.BACKEND, "RS384")
    for what, text in forged(client):
        answer = client.backend(client_assertion=text)
        assert answer.json()["error"] in ("invalid_client", "invalid_request"), what
        assert answer.status_code in (400, 401), what
    assert client.backend().status_code == 200


def test_a_statement_is_taken_once(backend: App) -> None:
    statement = backend.assertion()
    assert backend.backend(client_assertion=statement).status_code == 200
    again = backend.backend(client_assertion=statement)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert "jti" in again.json()["error_description"]


def test_a_statement_is_taken_once_by_all_workers(backend: App, mongo_uri: str) -> None:
    settings = backend.desk.server.settings
    with live(mongo_uri, settings.data, database=settings.database, base_url=settings.public_base) as second:
        assert second.settings.port != settings.port
        urls = [f"{origin}/auth/token" for origin in (settings.origin, f"http://127.0.0.1:{second.settings.port}")]
        statement = backend.assertion()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: sent(urls[n % 2], statement), range(8)))
    assert sorted(answers) == [200] + [401] * 7


def sent(url: str, statement: str) -> int:
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": JWT_BEARER}
    return httpx.post(url, data={**form, "client_assertion": statement}, timeout=60).status_code


def test_two_ways_to_authenticate_are_none(backend: App) -> None:
    for more in ({"client_secret": "x"}, {"client_assertion_type": "x"}):
        assert backend.backend(**more).json()["error"] == "invalid_request"
    assert backend.backend(client_id="another").json()["error"] == "invalid_client"
    assert backend.backend(client_id=backend.client.id).status_code == 200


def test_a_client_with_keys_does_not_get_in_without_them(desk: Desk) -> None:
    backend = app(desk, Kind.BACKEND)
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_id": backend.client.id}
    for secret in ({}, {"client_secret": "x"}, {"client_secret": ""}):
        assert backend.desk.post("token", {**form, **secret}).json()["error"] == "invalid_client"


def test_a_purpose_that_is_not_registered_is_refused(desk: Desk) -> None:
    client = app(desk, Kind.BACKEND, purposes=("HOPERAT", "TREAT"))
    token = client.backend().json()["access_token"]
    assert claims_of(token)["purpose"] == "HOPERAT"
    stated = client.backend(client_assertion=client.assertion(purpose="TREAT")).json()["access_token"]
    assert claims_of(stated)["purpose"] == "TREAT"
    for purpose in ("ETREAT", "nonsense", ["TREAT"], "TREAT HOPERAT", 1):
        assert client.backend(client_assertion=client.assertion(purpose=purpose)).status_code == 400


def claims_of(token: str) -> Json:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


@contextmanager
def published(*keys: RSAKey | ECKey) -> Iterator[tuple[str, list[str]]]:
    """Serve a JWK set on loopback; yield its URL, and the list of what was asked for."""
    asked: list[str] = []
    served = {"keys": [public(key, f"key-{n}") for n, key in enumerate(keys, 1)]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(served).encode()
            self.send_response(200 if self.path == "/keys" else 302)
            self.send_header("Location", "/keys")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_keys_are_fetched_from_where_they_are_registered(desk: Desk) -> None:
    with published(KEYS["ES384"]) as (url, asked):
        client = app(desk, Kind.BACKEND, jwks=None, jwks_uri=f"{url}/keys")
        assert client.backend().status_code == 200
        named = client.assertion(header={"jku": f"{url}/keys"})
        assert client.backend(client_assertion=named).status_code == 200
        unknown = client.assertion(header={"kid": "key-9"})
        assert client.backend(client_assertion=unknown).status_code == 401
        assert len(asked) == 1  # not for each request, and not at once for a key that is unknown
        moved = app(desk, Kind.BACKEND, jwks=None, jwks_uri=f"{url}/elsewhere")
        assert moved.backend().status_code == 401  # a redirect is not followed


def test_an_unknown_key_is_looked_for_again_after_a_minute() -> None:
    now = [0.0]
    keys = ClientKeys(lambda: now[0])
    with published(KEYS["ES384"]) as (url, asked):
        client = Client("c", "c", Kind.BACKEND, jwks_uri=f"{url}/keys")
        for instant, times in ((0.0, 1), (AGAIN_SECONDS - 1, 1), (AGAIN_SECONDS, 2), (AGAIN_SECONDS + 1, 2)):
            now[0] = instant
            asyncio.run(keys.of(client, "key-2"))
            assert len(asked) == times


def test_however_many_ask_for_keys_at_once_they_are_fetched_once() -> None:
    keys = ClientKeys()

    async def many(client: Client) -> None:
        found = await asyncio.gather(*(keys.of(client, "key-1") for _ in range(20)))
        assert all(len(each.keys) == 1 for each in found)

    with published(KEYS["ES384"]) as (url, asked):
        asyncio.run(many(Client("c", "c", Kind.BACKEND, jwks_uri=f"{url}/keys")))
        assert len(asked) == 1


def test_an_issuer_that_cannot_be_a_client_is_a_refusal(backend: App) -> None:
    for issuer in ("\ud800", "x\0", "x" * 10_000, ""):
        said = {"iss": issuer, "sub": issuer, "aud": backend.desk.token_url, "exp": future(), "jti": "1"}
        text = f"{encoded({'alg': 'ES384', 'kid': 'key-1'})}.{encoded(said)}.AAAA"
        answer = backend.backend(client_assertion=text)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_a_keys_url_that_does_not_answer_is_a_refusal(desk: Desk) -> None:
    client = app(desk, Kind.BACKEND, jwks=None, jwks_uri="http://127.0.0.1:9/keys")
    assert client.backend().json()["error"] == "invalid_client"
