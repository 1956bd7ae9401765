"""Requirements on what a server tells of itself, and to which origins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tests.smart.cast import APP_ORIGIN
from tests.smart.table import Requirement
from tests.smart.world import World

DISCOVERY = "Conformance: Using .well-known"
CAPABILITIES = "Conformance: Capability Sets"
OPENID = "Scopes: Scopes for requesting identity data"
CORS = "App Launch: Considerations for CORS"

# Each set of capabilities that SMART 2.2 names, with one kind of client in each.
SETS = {
    "patient-standalone": "launch-standalone client-public context-standalone-patient permission-patient permission-offline",
    "patient-ehr": "launch-ehr client-public context-ehr-patient permission-patient",
    "clinician-standalone": "launch-standalone client-confidential-symmetric permission-user permission-patient",
    "clinician-ehr": "launch-ehr client-confidential-symmetric context-ehr-patient context-ehr-encounter permission-patient "
    "permission-user",
    "all-clients": "client-confidential-asymmetric authorize-post sso-openid-connect permission-v1 permission-v2",
}


def _told(field: str, check: Callable[[Any], bool]) -> Callable[[World], None]:
    """Return a check of one field of the configuration."""

    def holds(world: World) -> None:
        said = world.configuration
        assert field in said
        assert check(said[field]), said[field]

    return holds


def _is_url(value: Any) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _has(*wanted: str) -> Callable[[Any], bool]:
    return lambda value: set(wanted) <= set(value) and len(value) == len(set(value))


def _json_whatever_is_accepted(world: World) -> None:
    for accept in ("application/json", "application/fhir+xml", "text/html", "*/*", ""):
        answer = world.http.get(f"{world.base}/.well-known/smart-configuration", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == "application/json"


def _all_urls_are_absolute(world: World) -> None:
    urls = [value for name, value in world.configuration.items() if name.endswith(("_endpoint", "_uri", "issuer"))]
    assert len(urls) >= 5
    assert all(map(_is_url, urls))


def _supports(set_of: str) -> Callable[[World], None]:
    return lambda world: _told("capabilities", _has(*SETS[set_of].split()))(world)


def _scopes_that_are_listed_can_be_granted(world: World) -> None:
    listed = set(world.configuration["scopes_supported"])
    assert {
        "openid",
        "fhirUser",
        "launch",
        "launch/patient",
        "launch/encounter",
        "offline_access",
        "online_access",
    } <= listed


def _keys_are_bare_and_public(world: World) -> None:
    keys = world.http.get(world.configuration["jwks_uri"]).json()["keys"]
    assert keys
    for key in keys:
        assert key["kid"]
        assert key["kty"] in ("EC", "RSA")
        assert not {"d", "p", "q", "k", "oth"} & set(key)


def _openid_configuration_agrees(world: World) -> None:
    issuer = world.configuration["issuer"]
    told = world.http.get(f"{issuer}/.well-known/openid-configuration").json()
    assert told["issuer"] == issuer
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        assert told[name] == world.configuration[name]
    assert "RS256" in told["id_token_signing_alg_values_supported"]
    assert "none" not in told["id_token_signing_alg_values_supported"]


def _capability_statement_names_the_endpoints(world: World) -> None:
    (rest,) = world.http.get(f"{world.base}/metadata").json()["rest"]
    (oauth,) = (
        each for each in rest["security"]["extension"] if each["url"].endswith("/StructureDefinition/oauth-uris")
    )
    told = {each["url"]: each["valueUri"] for each in oauth["extension"]}
    assert told["authorize"] == world.configuration["authorization_endpoint"]
    assert told["token"] == world.configuration["token_endpoint"]


def _allowed(world: World, method: str, url: str, origin: str, **headers: str) -> tuple[str | None, str]:
    """Return the origin that may read the answer, and the headers that a preflight would let it send."""
    wanted = {"Origin": origin, "Access-Control-Request-Method": method, **headers}
    answer = world.http.options(url, headers=wanted)
    return answer.headers.get("access-control-allow-origin"), answer.headers.get(
        "access-control-allow-headers", ""
    ).lower()


def _anyone_may_read_what_is_public(world: World) -> None:
    for path in ("/.well-known/smart-configuration", "/metadata"):
        answer = world.http.get(world.base + path, headers={"Origin": "https://anybody.example.org"})
        assert answer.headers["access-control-allow-origin"] in ("*", "https://anybody.example.org")
        assert "access-control-allow-credentials" not in answer.headers


def _an_app_may_call(world: World) -> None:
    token = world.configuration["token_endpoint"]
    assert _allowed(world, "POST", token, APP_ORIGIN)[0] in ("*", APP_ORIGIN)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        headers = {"Access-Control-Request-Headers": "authorization,content-type,if-match"}
        origin, sent = _allowed(world, method, f"{world.base}/Patient/p1", APP_ORIGIN, **headers)
        assert origin in ("*", APP_ORIGIN)
        assert {"authorization", "content-type", "if-match"} <= {each.strip() for each in sent.split(",")}


def _a_stranger_may_not_call(world: World) -> None:
    for stranger in (
        "https://stranger.example.org",
        "null",
        APP_ORIGIN + ".example.org",
        APP_ORIGIN.replace("https", "http"),
    ):
        assert _allowed(world, "POST", world.configuration["token_endpoint"], stranger)[0] is None
        assert _allowed(world, "GET", f"{world.base}/Patient/p1", stranger)[0] is None
        answer = world.http.get(f"{world.base}/Patient/p1", headers={"Origin": stranger})
        assert "access-control-allow-origin" not in answer.headers


def _errors_can_be_read_too(world: World) -> None:
    headers = {"Origin": APP_ORIGIN, "Authorization": "Bearer none"}
    answer = world.http.get(f"{world.base}/Patient/p1", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] in ("*", APP_ORIGIN)
    assert "origin" in answer.headers.get("vary", "").lower() or answer.headers["access-control-allow-origin"] == "*"


def _field(name: str, says: str, check: Callable[[Any], bool]) -> Requirement:
    return Requirement(f"discovery-{name}", DISCOVERY, says, _told(name, check))


ROWS = (
    Requirement(
        "discovery-json",
        DISCOVERY,
        "the configuration is open, and JSON whatever is accepted",
        _json_whatever_is_accepted,
    ),
    Requirement("discovery-absolute", DISCOVERY, "all URLs in it are absolute", _all_urls_are_absolute),
    _field("issuer", "names the issuer of id tokens", _is_url),
    _field("jwks_uri", "names the URL of the keys", _is_url),
    _field("authorization_endpoint", "names the authorization endpoint", _is_url),
    _field("token_endpoint", "names the token endpoint", _is_url),
    _field("introspection_endpoint", "names the introspection endpoint", _is_url),
    _field("revocation_endpoint", "names the revocation endpoint", _is_url),
    _field(
        "grant_types_supported", "lists both grant types of SMART", _has("authorization_code", "client_credentials")
    ),
    _field(
        "token_endpoint_auth_methods_supported",
        "lists how clients authenticate",
        _has("client_secret_basic", "client_secret_post", "private_key_jwt"),
    ),
    _field(
        "token_endpoint_auth_signing_alg_values_supported",
        "lists RS384 and ES384, and neither HS256 nor none",
        lambda value: set(value) == {"RS384", "ES384"},
    ),
    _field(
        "response_types_supported",
        "lists code, and nothing that puts a token into a URL",
        lambda value: value == ["code"],
    ),
    _field("code_challenge_methods_supported", "lists S256 and not plain", lambda value: value == ["S256"]),
    *(
        Requirement(f"capabilities-{name}", CAPABILITIES, f"has the capabilities of {name}", _supports(name))
        for name in SETS
    ),
    Requirement(
        "discovery-scopes",
        DISCOVERY,
        "lists the scopes beside those for resources",
        _scopes_that_are_listed_can_be_granted,
    ),
    Requirement("openid-keys", OPENID, "keys are published as bare public JWKs", _keys_are_bare_and_public),
    Requirement(
        "openid-configuration",
        OPENID,
        "the OpenID configuration agrees; id tokens can be RS256",
        _openid_configuration_agrees,
    ),
    Requirement(
        "capability-statement",
        "FHIR R4: CapabilityStatement.rest.security",
        "names the endpoints in oauth-uris",
        _capability_statement_names_the_endpoints,
    ),
    Requirement(
        "cors-public", CORS, "every origin may read configuration and metadata", _anyone_may_read_what_is_public
    ),
    Requirement("cors-app", CORS, "a registered app's origin may use token endpoint and FHIR API", _an_app_may_call),
    Requirement("cors-stranger", CORS, "no other origin may, nor one that looks alike", _a_stranger_may_not_call),
    Requirement("cors-errors", CORS, "an app's origin may read a refusal", _errors_can_be_read_too),
)
