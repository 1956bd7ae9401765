"""Which access tokens are taken: RFC 9068, section 4; RFC 6750, section 3; RFC 8725."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.signing import Use
from tests.auth.server.apps import App, Desk

Json = dict[str, Any]


@pytest.fixture(scope="module")
def signer(desk: Desk, backend: App) -> tuple[ECKey, Json]:
    """The key that signs access tokens, and the claims of a good one."""
    token = backend.backend().json()["access_token"]
    claims = jwt.decode(token, desk.run(lambda authority: authority.keys.signing(Use.ACCESS)), ["ES256"]).claims
    key = desk.run(lambda authority: authority.keys.signing(Use.ACCESS))
    assert isinstance(key, ECKey)
    return key, claims


def later(seconds: int) -> int:
    return int(time.time()) + seconds


# What is changed in a good token, header and claims; None takes it away.
CHANGED: dict[str, tuple[Json, Json]] = {
    "expired": ({}, {"exp": later(-1)}),
    "from the future": ({}, {"iat": later(86_400)}),
    "good in the future": ({}, {"nbf": later(86_400)}),
    "no end": ({}, {"exp": None}),
    "an end that is far": ({}, {"exp": later(5 * 3_600)}),
    "an end that is no number": ({}, {"exp": "never"}),
    "no beginning": ({}, {"iat": None}),
    "another issuer": ({}, {"iss": "https://other.example.org"}),
    "another audience": ({}, {"aud": "https://other.example.org/fhir"}),
    "several audiences": ({}, {"aud": ["https://other.example.org/fhir"]}),
    "no audience": ({}, {"aud": None}),
    "no issuer": ({}, {"iss": None}),
    "an unknown key": ({"kid": "another"}, {}),
    "the operator's key": ({"kid": None}, {}),
    "a key that is no text": ({"kid": 5}, {}),
    "another kind of token": ({"typ": "JWT"}, {}),
    "no kind": ({"typ": None}, {}),
    "a header that has to be understood": ({"crit": ["x"], "x": 1}, {}),
    "an unknown role": ({}, {"role": "admin"}),
    "two roles": ({}, {"role": ["system", "auditor"]}),
    "two purposes": ({}, {"purpose": ["TREAT", "HRESCH"]}),
    "a user of another kind": ({}, {"fhirUser": "Patient/p1"}),
    "a user that is no text": ({}, {"fhirUser": 5}),
}


def made(key: ECKey, header: Json, claims: Json) -> str:
    """Return a signed token, whatever it says; a header that joserfc would not make is made by hand."""
    head = {name: value for name, value in {"alg": "ES256", "typ": "at+jwt", "kid": key.kid, **header}.items() if value}
    said = f"{encoded(head)}.{encoded({name: value for name, value in claims.items() if value is not None})}"
    r, s = decode_dss_signature(key.private_key.sign(said.encode(), ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=").decode()
    return f"{said}.{signature}"


def encoded(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_the_token_that_the_others_are_changed_from_is_good(desk: Desk, signer: tuple[ECKey, Json]) -> None:
    key, claims = signer
    assert desk.read(made(key, {}, claims)) == 200
    assert desk.read(made(key, {"typ": "application/at+jwt"}, claims)) == 200


@pytest.mark.parametrize(("header", "changed"), CHANGED.values(), ids=CHANGED.keys())
def test_a_token_that_is_not_as_it_should_be_is_not_taken(
    desk: Desk, signer: tuple[ECKey, Json], header: Json, changed: Json
) -> None:
    key, claims = signer
    refused(desk, made(key, header, {**claims, **changed}))


def refused(desk: Desk, token: str) -> None:
    """Assert that a token is refused, and that the refusal tells nothing but that."""
    with desk.server.bearing(token) as client:
        answer = client.get("Patient")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="fhir", error="invalid_token"'
    (issue,) = answer.json()["issue"]
    assert (issue["code"], "token" in issue["diagnostics"]) == ("login", True)


FORGED: dict[str, Callable[[ECKey, Json], str]] = {
    "none": lambda key, claims: f"{encoded({'alg': 'none', 'typ': 'at+jwt', 'kid': key.kid})}.{encoded(claims)}.",
    "HMAC with the public key": lambda key, claims: hmac_signed(key, claims, key.as_pem(private=False)),
    "HMAC with the key's name": lambda key, claims: hmac_signed(key, claims, str(key.kid).encode()),
    "another key under the same name": lambda key, claims: made_by_another(key, claims),
    "its own key": lambda key, claims: carrying_its_key(key, claims),
    "not signed": lambda key, claims: made(key, {}, claims).rpartition(".")[0] + ".",
    "signed twice": lambda key, claims: made(key, {}, claims) + ".x",
    "no token": lambda key, claims: "x",
    "nested without end": lambda key, claims: "." * 200,
}


def hmac_signed(key: ECKey, claims: Json, secret: bytes) -> str:
    said = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{encoded(claims)}"
    return f"{said}.{base64.urlsafe_b64encode(hmac.digest(secret, said.encode(), 'sha256')).rstrip(b'=').decode()}"


def made_by_another(key: ECKey, claims: Json) -> str:
    return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, claims, ECKey.generate_key("P-256"))


def carrying_its_key(key: ECKey, claims: Json) -> str:
    own = ECKey.generate_key("P-256")
    return jwt.encode({"alg": "ES256", "typ": "at+jwt", "jwk": own.as_dict(private=False)}, claims, own)


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_not_taken(
    desk: Desk, signer: tuple[ECKey, Json], forged: Callable[[ECKey, Json], str]
) -> None:
    refused(desk, forged(*signer))


def test_without_a_token_no_error_is_named(desk: Desk) -> None:
    with desk.server.bearing(None) as client:
        answer = client.get("Patient")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="fhir"')


def test_the_operators_token_is_taken_still(desk: Desk) -> None:
    with desk.server.system("org1") as client:
        assert client.get("Patient").status_code == 200


def test_keys_rotate_and_old_tokens_live_on(desk: Desk, backend: App) -> None:
    async def rotate(authority: Authority) -> None:
        await authority.keys.rotate()

    old = backend.backend().json()["access_token"]
    desk.run(rotate)
    new = backend.backend().json()["access_token"]
    kids = [jwt_header(token)["kid"] for token in (old, new)]
    assert kids[0] != kids[1]
    assert desk.read(old) == desk.read(new) == 200  # the server learns the new key by itself
    published = desk.run(lambda authority: authority.keys.published())["keys"]
    assert set(kids) <= {key["kid"] for key in published}
    assert all("d" not in key for key in published)
    assert {(key["alg"], key["kty"]) for key in published} == {("ES256", "EC"), ("RS256", "RSA")}


def test_a_key_that_is_void_at_once_verifies_nothing_before_any_other_is_met(desk: Desk, backend: App) -> None:
    async def rotate(authority: Authority) -> None:
        await authority.rotate(at_once=True)

    old = backend.backend().json()["access_token"]
    another = backend.backend().json()["access_token"]  # of the same key, and not met yet
    assert desk.read(old) == 200
    desk.run(rotate)
    asked = {"token": old, **backend.proof()}
    assert [desk.read(old), desk.read(another), desk.post("introspect", asked).json()] == [401, 401, {"active": False}]
    new = backend.backend().json()["access_token"]
    assert [desk.read(new), desk.read(old), desk.read(another)] == [200, 401, 401]


def jwt_header(token: str) -> Json:
    head = token.split(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))))
