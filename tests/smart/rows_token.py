"""Requirements on the token endpoint: what a code brings, and id tokens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.grants import Granted
from tests.smart.cast import PASSWORD
from tests.smart.table import at_once, named, refused
from tests.smart.world import VERIFIER, World

EXCHANGE = "App Launch: Obtain access token"
RESPONSE = "App Launch: Obtain authorization code, Response"
PKCE = "App Launch: Considerations for PKCE Support"
IDENTITY = "Scopes: Scopes for requesting identity data"
OAUTH = "RFC 6749, 4.1.2 and 10.5"


def _not_exchanged(*errors: str, **changes: str | None) -> Callable[[World], None]:
    """Return a check that a good code is not exchanged with these form fields, and counts no more or still, unused."""

    def holds(world: World) -> None:
        refused(world.exchange(world.authorized()["code"], **changes), *errors)

    return holds


def _the_answer_is_complete(world: World) -> None:
    answer = world.exchange(world.authorized()["code"])
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    said = answer.json()
    assert said["token_type"] == "Bearer"
    assert 0 < said["expires_in"] <= 3_600
    assert set(said["scope"].split()) == set(world.request()["scope"].split())
    assert said["patient"] == "p1"
    assert "refresh_token" not in said
    assert "id_token" not in said


def _the_token_opens_what_it_says(world: World) -> None:
    token = world.granted()["access_token"]
    assert world.get("Patient/p1", token).status_code == 200
    assert len(world.get("Observation?patient=p1", token).json()["entry"]) == 2
    assert world.get("Encounter/e1", token).status_code in (403, 404)
    assert world.get("Patient/p2", token).status_code == 404


def _a_code_counts_once_in_a_race(world: World) -> None:
    code = world.authorized()["code"]
    given = [each for each in at_once(lambda: world.exchange(code)) if each.status_code == 200]
    assert len(given) <= 1
    for each in given:
        assert world.get("Patient/p1", each.json()["access_token"]).status_code == 401


def _an_old_code_is_refused(world: World) -> None:
    for age, status in ((30, 200), (90, 400)):
        answer = world.exchange(_code_of(world, age))
        assert answer.status_code == status, answer.text


def _code_of(world: World, age: float) -> str:
    """Return a code that was given to the app so many seconds ago."""

    async def granted(authority: Authority) -> str:
        asked = await authority.authorizations.read([*world.request().items()])
        said = {"role": "practitioner", "fhirUser": "Practitioner/d1", "org": "org1", "purpose": "TREAT"}
        claims = {**said, "scope": "patient/Patient.rs", "patient": "Patient/p1"}
        return await authority.authorizations.grant(asked, Granted("somebody", int(time.time()), claims))

    return dict(parse_qsl(urlsplit(world.shifted(-age, granted)).query))["code"]


def _only_a_posted_form_counts(world: World) -> None:
    code = world.authorized()["code"]
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": world.redirect,
        "client_id": "chart",
        "code_verifier": VERIFIER,
    }
    assert world.http.get(world.token_url, params=fields).status_code == 405
    refused(world.http.post(world.token_url, params=fields), "invalid_request", "invalid_client")
    refused(world.http.post(world.token_url, json=fields), "invalid_request")
    twice = [*fields.items(), ("code", "another")]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(world.http.post(world.token_url, content=str(httpx.QueryParams(twice)), headers=headers), "invalid_request")
    assert world.exchange(code).status_code == 200


def _a_used_code_ends_what_it_gave(world: World) -> None:
    code = world.authorized(scope="launch/patient patient/Patient.rs offline_access")["code"]
    first = world.exchange(code).json()
    assert world.get("Patient/p1", first["access_token"]).status_code == 200
    refused(world.exchange(code), "invalid_grant")
    assert world.get("Patient/p1", first["access_token"]).status_code == 401
    refused(_refresh(world, first["refresh_token"]), "invalid_grant")


def _refresh(world: World, token: str, **changes: str | None) -> httpx.Response:
    return world.form({"grant_type": "refresh_token", "refresh_token": token, **changes})


def _id_token(world: World) -> None:
    nonce = secrets.token_hex(8)
    said = world.granted(scope="openid fhirUser launch/patient patient/Patient.rs", nonce=nonce)
    keys = KeySet.import_key_set(world.http.get(world.configuration["jwks_uri"]).json())
    read = jwt.decode(said["id_token"], keys, algorithms=["RS256"])
    assert read.header["kid"] in {key.kid for key in keys}
    claims, now = read.claims, time.time()
    assert claims["iss"] == world.configuration["issuer"]
    assert claims["aud"] in ("chart", ["chart"])
    assert claims["nonce"] == nonce
    assert claims["fhirUser"] in ("Practitioner/d1", f"{world.base}/Practitioner/d1")
    assert claims["iat"] - 5 <= now < claims["exp"]
    assert claims["sub"]
    assert "doctor1" not in claims["sub"]


def _no_id_token_unasked(world: World) -> None:
    assert "id_token" not in world.granted(scope="fhirUser launch/patient patient/Patient.rs")


def _an_id_token_opens_nothing(world: World) -> None:
    said = world.granted(scope="openid fhirUser launch/patient patient/Patient.rs")
    assert world.get("Patient/p1", said["id_token"]).status_code == 401


_row = named("token")

ROWS = (
    _row(
        "answer",
        EXCHANGE,
        "the answer has token, type, life, scope and patient, and is not stored",
        _the_answer_is_complete,
    ),
    _row(
        "access",
        "App Launch: Access FHIR API",
        "the token opens what its scopes and context say, and no more",
        _the_token_opens_what_it_says,
    ),
    _row(
        "code-reuse", OAUTH, "a code counts once; a second use ends what the first gave", _a_used_code_ends_what_it_gave
    ),
    _row("code-race", OAUTH, "so it does when it comes many times at once", _a_code_counts_once_in_a_race),
    _row("form", "RFC 6749, 3.2", "parameters count in a posted form only, and once each", _only_a_posted_form_counts),
    _row("code-old", RESPONSE, "a code counts for a short time", _an_old_code_is_refused),
    _row("code-of-another", OAUTH, "a code counts for its client", _not_exchanged("invalid_grant", client_id="other")),
    _row(
        "code-unknown",
        OAUTH,
        "an unknown code is refused",
        lambda world: refused(world.exchange("unknown"), "invalid_grant"),
    ),
    _row(
        "redirect",
        OAUTH,
        "redirect_uri is that of the request",
        _not_exchanged("invalid_grant", redirect_uri="https://other.example.org/back"),
    ),
    _row(
        "redirect-missing",
        EXCHANGE,
        "redirect_uri is required",
        _not_exchanged("invalid_grant", "invalid_request", redirect_uri=None),
    ),
    _row(
        "client-missing",
        EXCHANGE,
        "a public app says its client_id",
        _not_exchanged("invalid_client", "invalid_request", client_id=None),
    ),
    _row("verifier-wrong", PKCE, "the verifier has to fit", _not_exchanged("invalid_grant", code_verifier="x" * 43)),
    _row(
        "verifier-missing",
        PKCE,
        "a missing verifier is refused",
        _not_exchanged("invalid_grant", "invalid_request", code_verifier=None),
    ),
    _row(
        "verifier-empty", PKCE, "and an empty one", _not_exchanged("invalid_grant", "invalid_request", code_verifier="")
    ),
    _row(
        "grant-type",
        EXCHANGE,
        "an unknown grant type is refused",
        _not_exchanged("unsupported_grant_type", grant_type="implicit"),
    ),
    _row(
        "password",
        EXCHANGE,
        "the grant type password is not offered",
        _not_exchanged("unsupported_grant_type", grant_type="password", username="doctor1", password=PASSWORD),
    ),
    _row(
        "credentials",
        EXCHANGE,
        "a public app gets no token for itself",
        _not_exchanged("unauthorized_client", "invalid_client", grant_type="client_credentials"),
    ),
    _row("id-token", IDENTITY, "an id token is signed RS256, and names user, app, nonce", _id_token),
    _row("id-token-unasked", IDENTITY, "there is none without openid", _no_id_token_unasked),
    _row("id-token-no-access", IDENTITY, "an id token is no access token", _an_id_token_opens_nothing),
)
