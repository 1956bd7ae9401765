"""Discovery and CORS: SMART App Launch 2.2, "Conformance"; RFC 8414; OpenID Connect Discovery 1.0; WHATWG Fetch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata

from tests.auth.server.apps import App, Desk
from tests.live import Live, live

APP = "https://app.example.org"
STRANGER = "https://evil.test"


def test_smart_configuration_says_what_smart_requires(desk: Desk) -> None:
    answer = httpx.get(
        f"{desk.server.base}/.well-known/smart-configuration", headers={"Accept": "application/fhir+json"}
    )
    assert answer.headers["Content-Type"] == "application/json"
    said = answer.json()
    assert said["issuer"] == desk.origin
    paths = {"authorization": "authorize", "token": "token", "introspection": "introspect", "revocation": "revoke"}
    for name, path in paths.items():
        assert said[f"{name}_endpoint"] == f"{desk.origin}/auth/{path}"
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert {"authorization_code", "client_credentials", "refresh_token"} <= set(said["grant_types_supported"])
    assert set(said["token_endpoint_auth_signing_alg_values_supported"]) == {"RS384", "ES384"}
    offered = {"launch-ehr", "launch-standalone", "authorize-post", "permission-v1", "permission-v2"}
    assert offered <= set(said["capabilities"])


@pytest.mark.parametrize("name", ["openid-configuration", "oauth-authorization-server"])
def test_the_metadata_are_those_of_the_standard(desk: Desk, name: str) -> None:
    said = httpx.get(f"{desk.origin}/.well-known/{name}").json()
    assert said["issuer"] == desk.origin
    # authlib wants https, which a test on loopback does not have.
    secure = {key: value.replace("http:", "https:") if isinstance(value, str) else value for key, value in said.items()}
    form = OpenIDProviderMetadata if name.startswith("openid") else AuthorizationServerMetadata
    form(secure).validate()


def test_the_key_set_is_there_before_the_first_token(mongo_uri: str, tmp_path: Path, database_name: str) -> None:
    with live(mongo_uri, tmp_path, database=database_name) as server:
        first = httpx.get(f"{server.settings.origin}/auth/jwks").json()["keys"]
        assert sorted(key["alg"] for key in first) == ["ES256", "RS256"]
        assert httpx.get(f"{server.settings.origin}/auth/jwks").json()["keys"] == first


def test_the_capability_statement_names_the_endpoints(desk: Desk) -> None:
    security = httpx.get(f"{desk.server.base}/metadata").json()["rest"][0]["security"]
    (uris,) = security["extension"]
    named = {each["url"]: each["valueUri"] for each in uris["extension"]}
    assert named["authorize"] == f"{desk.origin}/auth/authorize"
    assert named["token"] == desk.token_url
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert security["cors"] is True


OPEN = ["/fhir/.well-known/smart-configuration", "/fhir/metadata", "/.well-known/openid-configuration", "/auth/jwks"]


@pytest.mark.parametrize("path", OPEN)
def test_every_page_may_read_discovery(desk: Desk, path: str) -> None:
    answer = httpx.get(desk.origin + path, headers={"Origin": STRANGER})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def preflight(desk: Desk, path: str, origin: str) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
    }
    return httpx.options(desk.origin + path, headers=asked)


CALLED = ["/fhir/Patient", "/fhir", "/auth/token", "/auth/revoke", "/auth/introspect"]


@pytest.mark.parametrize("path", CALLED)
def test_pages_of_registered_apps_may_call(desk: Desk, public_app: App, path: str) -> None:
    answer = preflight(desk, path, APP)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "if-match", "prefer", "accept"))
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for stranger in (STRANGER, "null", f"{APP}.evil.test", "http://app.example.org", f"{APP}:444"):
        assert not [name for name in preflight(desk, path, stranger).headers if name.startswith("access-control")]


def test_answers_and_refusals_can_be_read_by_them_and_by_nobody_else(desk: Desk, public_app: App) -> None:
    token = public_app.signed_in()["access_token"]
    bearing = {"Authorization": f"Bearer {token}"}
    for path, headers in (("/fhir/Patient", bearing), ("/fhir/Patient", {}), ("/fhir/x/y/z", {})):
        mine = httpx.get(desk.origin + path, headers={**headers, "Origin": APP})
        assert mine.headers["Access-Control-Allow-Origin"] == APP
        assert "Origin" in mine.headers["Vary"]
        exposed = mine.headers["Access-Control-Expose-Headers"]
        for name in ("ETag", "Location", "Content-Location", "Last-Modified", "WWW-Authenticate"):
            assert name in exposed
        theirs = httpx.get(desk.origin + path, headers={**headers, "Origin": STRANGER})
        assert "Access-Control-Allow-Origin" not in theirs.headers
        assert theirs.status_code == mine.status_code


@pytest.mark.parametrize("path", ["/auth/authorize", "/auth/sign-in", "/auth/launch", "/health"])
def test_no_page_may_read_what_is_for_people(desk: Desk, public_app: App, path: str) -> None:
    for answer in (preflight(desk, path, APP), httpx.get(desk.origin + path, headers={"Origin": APP})):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.fixture
def portal(mongo_uri: str, tmp_path: Path, database_name: str) -> Iterator[Live]:
    with live(mongo_uri, tmp_path, database=database_name, cors_origins="https://portal.example.org") as server:
        yield server


def test_the_setting_names_further_origins(portal: Live) -> None:
    for origin, allowed in (("https://portal.example.org", True), (STRANGER, False)):
        headers: Any = {"Origin": origin}
        answer = httpx.get(f"{portal.base}/Patient", headers=headers)
        assert ("Access-Control-Allow-Origin" in answer.headers) is allowed
