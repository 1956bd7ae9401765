"""Authorization requests and codes: RFC 6749 4.1, RFC 7636, RFC 9207, SMART App Launch 2.2 "Obtain authorization code"."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_server.auth.server.asking import Refused, Rejected
from fhir_server.auth.server.authorizations import Granted
from fhir_server.auth.server.clients import Kind
from tests.auth.server.apps import BACK, App, Desk, app, doctor

Json = dict[str, Any]


def refused(app: App, **changed: Any) -> dict[str, str]:
    """Return the parameters that a refused authorization request is redirected with."""
    with pytest.raises(Refused) as found:
        app.desk.run(lambda authority: authority.authorizations.read(app.request(**changed)))
    assert found.value.location.startswith(f"{BACK}?")
    return dict(parse_qsl(urlsplit(found.value.location).query))


# What is changed in a good request, and the error that the app is redirected with.
REFUSED = {
    "no response_type": ({"response_type": None}, "unsupported_response_type"),
    "the implicit flow": ({"response_type": "token"}, "unsupported_response_type"),
    "the hybrid flow": ({"response_type": "code id_token"}, "unsupported_response_type"),
    "a fragment": ({"response_mode": "fragment"}, "invalid_request"),
    "no challenge": ({"code_challenge": None}, "invalid_request"),
    "no method, which would be plain": ({"code_challenge_method": None}, "invalid_request"),
    "plain": ({"code_challenge_method": "plain"}, "invalid_request"),
    "a short challenge": ({"code_challenge": "abc"}, "invalid_request"),
    "another server": ({"aud": "https://other.example.org/fhir"}, "invalid_request"),
    "no server": ({"aud": None}, "invalid_request"),
    "no scope": ({"scope": None}, "invalid_scope"),
    "scopes that the app may not have": ({"scope": "system/*.rs patient/*.cud"}, "invalid_scope"),
    "an encoded slash in a scope": ({"scope": "patient%2F*.rs"}, "invalid_scope"),
    "a scope with a modifier": ({"scope": "patient/Observation.rs?code:not=x"}, "invalid_scope"),
    "launch without its scope": ({"launch": "abc"}, "invalid_scope"),
    "a request object": ({"request": "x.y.z"}, "request_not_supported"),
    "a request by reference": ({"request_uri": "https://app.example.org/r"}, "request_uri_not_supported"),
    "two prompts that cannot be": ({"prompt": "none login"}, "invalid_request"),
    "an unknown prompt": ({"prompt": "create"}, "invalid_request"),
    "a max_age that is no number": ({"max_age": "-1"}, "invalid_request"),
}


@pytest.mark.parametrize(("changed", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_request_is_told_to_the_app(public_app: App, changed: Json, error: str) -> None:
    said = refused(public_app, **changed)
    assert said["error"] == error
    assert said["state"] == "st4te"
    assert said["iss"] == public_app.desk.origin
    assert said["error_description"]


def test_a_parameter_that_is_there_twice_is_refused(public_app: App) -> None:
    pairs = [*public_app.request(), ("scope", "patient/*.rs")]
    with pytest.raises(Refused, match="more than once"):
        public_app.desk.run(lambda authority: authority.authorizations.read(pairs))


REDIRECTS = [None, "", "https://app.example.org/back/", "https://app.example.org/back?x=1", "https://app.example.org/Back",
             "http://app.example.org/back", "https://app.example.org.evil.test/back", "https://evil.test/back",
             "https://app.example.org/back/../evil", "https://user@app.example.org/back", "javascript:alert(1)"]  # fmt: skip


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_a_redirect_uri_that_is_not_registered_is_never_redirected_to(public_app: App, redirect: str | None) -> None:
    with pytest.raises(Rejected):
        public_app.desk.run(lambda authority: authority.authorizations.read(public_app.request(redirect_uri=redirect)))


@pytest.mark.parametrize("client", [None, "", "nobody", "../app"])
def test_an_unknown_client_is_never_redirected(public_app: App, client: str | None) -> None:
    with pytest.raises(Rejected):
        public_app.desk.run(lambda authority: authority.authorizations.read(public_app.request(client_id=client)))


def test_two_redirect_uris_are_none(public_app: App) -> None:
    pairs = [*public_app.request(), ("redirect_uri", "https://evil.test/back")]
    with pytest.raises(Rejected):
        public_app.desk.run(lambda authority: authority.authorizations.read(pairs))


def test_a_backend_client_is_approved_by_nobody(backend: App) -> None:
    with pytest.raises(Rejected):
        backend.desk.run(lambda authority: authority.authorizations.read(backend.request()))


def test_the_answer_names_state_and_issuer(public_app: App) -> None:
    said = public_app.approved()
    assert said.keys() == {"code", "state", "iss"}
    assert (said["state"], said["iss"]) == ("st4te", public_app.desk.origin)
    assert "state" not in public_app.approved(state=None)


KINDS = [(Kind.PUBLIC, "ES384"), (Kind.SYMMETRIC, "ES384"), (Kind.ASYMMETRIC, "ES384"), (Kind.ASYMMETRIC, "RS384")]


@pytest.mark.parametrize(("kind", "alg"), KINDS)
def test_every_kind_of_app_gets_tokens_for_a_code(desk: Desk, kind: Kind, alg: str) -> None:
    answer = app(desk, kind, alg).signed_in()
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 300
    assert answer["patient"] == "p1"
    assert set(answer["scope"].split()) == {"openid", "fhirUser", "launch/patient", "offline_access", "patient/*.rs"}
    assert desk.read(answer["access_token"]) == 200


def test_a_secret_may_come_by_http_basic(desk: Desk) -> None:
    client = app(desk, Kind.SYMMETRIC)
    sent = {"grant_type": "authorization_code", "code": client.code(), "redirect_uri": BACK}
    auth = httpx.BasicAuth(client.client.id, str(client.secret))
    assert desk.post("token", {**sent, "code_verifier": client.verifier}, auth=auth).status_code == 200
    wrong = desk.post("token", sent, auth=httpx.BasicAuth(client.client.id, "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert wrong.headers["WWW-Authenticate"].startswith("Basic ")


def test_the_token_response_is_not_stored_and_has_the_context(public_app: App) -> None:
    granted = doctor("openid patient/*.rs", encounter="e1", need_patient_banner=True, smart_style_url="https://x.org/s")
    answer = public_app.redeem(public_app.code(granted))
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    said = answer.json()
    assert (said["encounter"], said["need_patient_banner"], said["smart_style_url"]) == ("e1", True, "https://x.org/s")
    assert "refresh_token" not in said


def test_the_access_token_is_that_of_rfc_9068(public_app: App) -> None:
    token = public_app.signed_in()["access_token"]
    found = jwt.decode(token, keys(public_app.desk), algorithms=["ES256"])
    assert found.header["typ"] == "at+jwt"
    claims = found.claims
    assert claims["iss"] == public_app.desk.origin
    assert claims["aud"] == public_app.desk.server.base
    assert (claims["client_id"], claims["sub"]) == (public_app.client.id, "account-1")
    assert claims["exp"] - claims["iat"] == 300
    assert {"jti", "scope", "auth_time", "grant"} <= claims.keys()


def test_the_id_token_names_the_user(public_app: App) -> None:
    said = public_app.signed_in()
    found = jwt.decode(said["id_token"], keys(public_app.desk), algorithms=["RS256"]).claims
    assert found["iss"] == public_app.desk.origin
    assert (found["aud"], found["nonce"], found["sub"]) == (public_app.client.id, "n0nce", "account-1")
    assert found["fhirUser"] == f"{public_app.desk.server.base}/Practitioner/dr-zhang"
    assert {"exp", "iat", "auth_time"} <= found.keys()


def test_an_id_token_is_made_only_for_openid_and_tells_the_user_only_for_fhir_user(public_app: App) -> None:
    assert "id_token" not in public_app.signed_in(scope="patient/*.rs")
    said = public_app.signed_in(scope="openid patient/*.rs")
    assert "fhirUser" not in jwt.decode(said["id_token"], keys(public_app.desk), algorithms=["RS256"]).claims


def test_an_id_token_is_no_access_token(public_app: App) -> None:
    assert public_app.desk.read(public_app.signed_in()["id_token"]) == 401


def keys(desk: Desk) -> KeySet:
    return KeySet.import_key_set(httpx.get(f"{desk.origin}/auth/jwks").json())


WRONG: dict[str, tuple[Json, str]] = {
    "no verifier": ({"code_verifier": None}, "invalid_request"),
    "another verifier": ({"code_verifier": "v" * 43}, "invalid_grant"),
    "a short verifier": ({"code_verifier": "v"}, "invalid_grant"),
    "the redirect URI of nobody": ({"redirect_uri": "https://evil.test/back"}, "invalid_grant"),
    "no redirect URI": ({"redirect_uri": None}, "invalid_request"),
    "no code": ({"code": None}, "invalid_request"),
    "another code": ({"code": "c" * 43}, "invalid_grant"),
    "no client": ({"client_id": None}, "invalid_client"),
    "an unknown client": ({"client_id": "nobody"}, "invalid_client"),
    "a secret of a public client": ({"client_secret": "x"}, "invalid_client"),
    "no grant type": ({"grant_type": None}, "invalid_request"),
    "the password grant": ({"grant_type": "password"}, "unsupported_grant_type"),
    "the grant type of others": ({"grant_type": "client_credentials"}, "unauthorized_client"),
}


@pytest.mark.parametrize(("changed", "error"), WRONG.values(), ids=WRONG.keys())
def test_a_code_that_is_not_redeemed_as_it_was_asked_for_brings_nothing(
    public_app: App, changed: Json, error: str
) -> None:
    answer = public_app.redeem(public_app.code(), **changed)
    assert (answer.status_code, answer.json()["error"]) == (401 if error == "invalid_client" else 400, error)
    assert answer.json()["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_code_of_another_client_brings_nothing(desk: Desk, public_app: App) -> None:
    code = public_app.code()
    other = app(desk)
    other.verifier = public_app.verifier
    assert other.redeem(code).json()["error"] == "invalid_grant"
    assert public_app.redeem(code).status_code == 200


def test_a_code_that_comes_again_ends_all_that_it_brought(public_app: App) -> None:
    code = public_app.code()
    first = public_app.redeem(code).json()
    assert public_app.desk.read(first["access_token"]) == 200
    assert public_app.redeem(code).json()["error"] == "invalid_grant"
    assert public_app.desk.read(first["access_token"]) == 401
    assert public_app.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"


def test_of_many_who_redeem_one_code_at_once_at_most_one_gets_tokens(public_app: App) -> None:
    code = public_app.code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: public_app.redeem(code), range(8)))
    assert sum(answer.status_code == 200 for answer in answers) <= 1
    assert all(answer.json()["error"] == "invalid_grant" for answer in answers if answer.status_code != 200)


def test_a_code_is_good_for_a_minute(public_app: App) -> None:
    async def late(authority: Any) -> tuple[bool, bool]:
        asked = await authority.authorizations.read(public_app.request())
        location = await authority.authorizations.grant(asked, doctor(asked.scope))
        code = await authority.grants.code(dict(parse_qsl(urlsplit(location).query))["code"])
        now = authority.now()
        return now + 58 < code.expires, code.expires <= now + 60

    assert public_app.desk.run(late) == (True, True)


def test_never_more_is_granted_than_was_asked_and_the_role_may_use(public_app: App) -> None:
    more = doctor("openid offline_access patient/*.cruds user/*.cruds system/*.rs")
    said = public_app.signed_in(more, scope="patient/Observation.rs user/*.r")
    assert set(said["scope"].split()) == {"patient/Observation.rs", "user/*.r"}
    with pytest.raises(Refused):
        public_app.code(doctor("system/*.rs"), scope="patient/*.rs")


def test_a_form_that_cannot_be_read_is_refused_as_one(desk: Desk) -> None:
    type = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, headers in [
        (b"grant_type=a&grant_type=b", type),
        (b"grant_type=%ff", type),
        ("grant_type=密码".encode(), type),
        (b"x" * 70_000, type),
        (b'{"grant_type": "client_credentials"}', {"Content-Type": "application/json"}),
        (b"", {}),
    ]:
        answer = httpx.post(desk.token_url, content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert httpx.get(desk.token_url, params={"grant_type": "client_credentials"}).status_code == 405


def test_what_a_role_cannot_be_is_not_granted(public_app: App) -> None:
    wrong = Granted("a", 0, {"role": "practitioner", "fhirUser": "Patient/p1", "org": "org1", "purpose": "TREAT"})
    with pytest.raises(ValueError, match="practitioner"):
        public_app.code(wrong)
