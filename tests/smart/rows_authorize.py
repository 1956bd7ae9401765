"""Requirements on the authorization endpoint."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.smart.table import named
from tests.smart.world import World, back, challenge

REQUEST = "App Launch: Obtain authorization code"
PKCE = "App Launch: Considerations for PKCE Support"
RESPONSE = "App Launch: Obtain authorization code, Response"
EHR = "Scopes: Apps that launch from the EHR"
ISS = "RFC 9207: OAuth 2.0 Authorization Server Issuer Identification"
OAUTH = "RFC 6749, 3.1 and 4.1.2.1"
OPENID = "OpenID Connect Core 1.0, 3.1.2.1"


def _told_on_a_page(**changes: str | None) -> Callable[[World], None]:
    """Return a check that a request is answered with a page, and leads nowhere."""

    def holds(world: World) -> None:
        for answer in (world.asked(**changes), _posted(world, **changes)):
            assert answer.status_code == 400, answer.text
            assert "location" not in answer.headers
            assert answer.headers["content-type"].startswith("text/html")

    return holds


def _posted(world: World, **changes: str | None) -> httpx.Response:
    """Return the answer to a request that is sent by POST; a redirect within the server is followed."""
    answer = world.http.post(f"{world.origin}/auth/authorize", data=world.request(**changes), follow_redirects=False)
    target = answer.url.join(answer.headers.get("location", ""))
    own = answer.is_redirect and str(target).startswith(f"{world.origin}/auth/authorize?")
    return world.http.get(target) if own else answer


def _refused(error: str, **changes: str | None) -> Callable[[World], None]:
    """Return a check that a request leads back to the app with an error, without any sign-in."""

    def holds(world: World) -> None:
        for answer in (world.asked(**changes), _posted(world, **changes)):
            said = back(answer, world.redirect)
            assert said["error"] == error
            assert "code" not in said
            if "state" not in changes:
                assert said["state"] == "state-of-the-app"
            assert said["iss"] == world.configuration["issuer"]

    return holds


def _twice(name: str, value: str) -> Callable[[World], httpx.Response]:
    def ask(world: World) -> httpx.Response:
        pairs = [*world.request().items(), (name, value)]
        return world.http.get(f"{world.origin}/auth/authorize", params=pairs, follow_redirects=False)

    return ask


def _a_repeated_parameter_is_refused(world: World) -> None:
    for name, value in (("scope", "patient/*.cruds"), ("aud", world.base), ("code_challenge", challenge("x" * 43))):
        assert back(_twice(name, value)(world), world.redirect)["error"] == "invalid_request"
    for name, value in (("redirect_uri", world.redirect), ("client_id", "other")):
        assert _twice(name, value)(world).status_code == 400


def _both_methods_lead_to_the_sign_in(world: World) -> None:
    for answer in (world.asked(), _posted(world)):
        followed = answer
        while followed.status_code in (302, 303):
            followed = world.http.get(httpx.URL(str(answer.url)).join(followed.headers["location"]))
        assert followed.status_code == 200
        assert 'type="password"' in followed.text


def _first_page(world: World, **changes: str) -> httpx.Response:
    with httpx.Client(timeout=60, follow_redirects=True) as visitor:
        return visitor.get(f"{world.origin}/auth/authorize", params=world.request(**changes))


def _pages_are_not_framed(world: World) -> None:
    headers = _first_page(world).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


def _what_is_asked_is_shown_as_text(world: World) -> None:
    page = _first_page(world, login_hint='"><script>alert(1)</script>', state="<b>", nonce="<i>")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


def _the_state_comes_back_as_it_was(world: World) -> None:
    for state in ("a+b c&d=e%2F#f", "状态", "x" * 500):
        assert world.authorized(state=state)["state"] == state


def _the_response_names_the_issuer(world: World) -> None:
    assert world.authorized()["iss"] == world.configuration["issuer"]


def _denied(world: World) -> None:
    person = world.person("doctor1")
    said = back(person.deny(world.asked(person)), world.redirect)
    assert (said["error"], said["state"]) == ("access_denied", "state-of-the-app")


def _no_prompt_without_a_session(world: World) -> None:
    assert back(world.asked(prompt="none"), world.redirect)["error"] in ("login_required", "interaction_required")


_row = named("authorize")

ROWS = (
    _row("get-and-post", REQUEST, "GET and POST lead to the same sign-in", _both_methods_lead_to_the_sign_in),
    _row(
        "redirect",
        OAUTH,
        "a redirect URI that is not registered is told on a page",
        _told_on_a_page(redirect_uri="https://evil.example.org/"),
    ),
    _row(
        "redirect-longer",
        OAUTH,
        "nor one that begins like a registered one",
        _told_on_a_page(redirect_uri="https://app.example.org/index.html/x"),
    ),
    _row(
        "redirect-query",
        OAUTH,
        "nor one with a query more",
        _told_on_a_page(redirect_uri="https://app.example.org/index.html?x=1"),
    ),
    _row(
        "redirect-case",
        OAUTH,
        "nor one in other letters",
        _told_on_a_page(redirect_uri="https://APP.example.org/index.html"),
    ),
    _row(
        "redirect-encoded",
        OAUTH,
        "nor one with an encoded slash",
        _told_on_a_page(redirect_uri="https://app.example.org%2Findex.html"),
    ),
    _row("redirect-missing", REQUEST, "nor none", _told_on_a_page(redirect_uri=None)),
    _row("redirect-of-another", OAUTH, "nor that of another app", _told_on_a_page(client_id="other")),
    _row("client-unknown", OAUTH, "an unknown client is told on a page", _told_on_a_page(client_id="nobody")),
    _row("client-missing", REQUEST, "and a missing one", _told_on_a_page(client_id=None)),
    _row("client-backend", OAUTH, "and a client that no user approves", _told_on_a_page(client_id="emr")),
    _row(
        "response-type",
        REQUEST,
        "response_type is code and no other",
        _refused("unsupported_response_type", response_type="token"),
    ),
    _row(
        "response-type-id-token",
        REQUEST,
        "not code id_token",
        _refused("unsupported_response_type", response_type="code id_token"),
    ),
    _row("pkce-missing", PKCE, "a challenge is required", _refused("invalid_request", code_challenge=None)),
    _row("pkce-plain", PKCE, "plain is refused", _refused("invalid_request", code_challenge_method="plain")),
    _row(
        "pkce-method-missing",
        PKCE,
        "a missing method means plain, and is refused",
        _refused("invalid_request", code_challenge_method=None),
    ),
    _row(
        "pkce-case",
        PKCE,
        "the method is S256 in these letters",
        _refused("invalid_request", code_challenge_method="s256"),
    ),
    _row(
        "pkce-short",
        PKCE,
        "a challenge that is no SHA-256 is refused",
        _refused("invalid_request", code_challenge="abc"),
    ),
    _row("aud-missing", REQUEST, "aud is required", _refused("invalid_request", aud=None)),
    _row(
        "aud-other",
        REQUEST,
        "aud is this server's base",
        _refused("invalid_request", aud="https://other.example.org/fhir"),
    ),
    _row(
        "scope-none",
        OAUTH,
        "scopes of which none is known are refused",
        _refused("invalid_scope", scope="everything patient/*.x"),
    ),
    _row("scope-missing", REQUEST, "scope is required", _refused("invalid_scope", scope=None)),
    _row(
        "launch-missing",
        EHR,
        "the scope launch needs the parameter launch",
        _refused("invalid_request", scope="launch patient/*.rs"),
    ),
    _row(
        "request-object",
        OPENID,
        "request objects are refused by name",
        _refused("request_not_supported", request="x.y.z"),
    ),
    _row(
        "request-uri",
        OPENID,
        "and so are their URLs",
        _refused("request_uri_not_supported", request_uri="https://app.example.org/r"),
    ),
    _row("repeated", OAUTH, "a parameter that is there twice is refused", _a_repeated_parameter_is_refused),
    _row("prompt-none", OPENID, "prompt=none shows no page", _no_prompt_without_a_session),
    _row("framed", "RFC 6749, 10.13", "pages cannot be framed, run no script and are not kept", _pages_are_not_framed),
    _row("markup", "RFC 6749, 10.14", "what a request says is shown as text", _what_is_asked_is_shown_as_text),
    _row("state", RESPONSE, "state comes back exactly", _the_state_comes_back_as_it_was),
    _row("iss", ISS, "the response names the issuer", _the_response_names_the_issuer),
    _row("denied", RESPONSE, "who denies sends the app access_denied", _denied),
)
