"""Reading an authorization request: what an app asks for, and why it cannot have it.

Source: RFC 6749, 4.1.1 and 4.1.2.1; RFC 7636, 4.3; RFC 9207; SMART App Launch 2.2, "Obtain authorization code"; OpenID
Connect Core 1.0, 3.1.2.1. Only S256 is taken as challenge method, and a challenge is required of every client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fhir_server.auth.scopes import narrowed
from fhir_server.auth.server.clients import CODE, Client

# BASE64URL of a SHA-256 digest without padding.
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
PROMPTS = frozenset({"none", "login", "consent", "select_account"})
EHR_LAUNCH = "launch"

Pairs = Sequence[tuple[str, str]]


class Rejected(Exception):
    """The request names no client, or a redirect URI that is not the client's: it is told to the user on a page.

    Never redirected: what would be redirected to is not trusted (RFC 6749, 4.1.2.1).
    """


class Refused(Exception):
    """The request cannot be granted, and the app is told so. location: where the user agent is redirected to."""

    def __init__(self, location: str, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.location = location
        self.error = error


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid authorization request: client and redirect_uri are known good.

    scopes: those of the asked ones that the client may be granted. launch: the id of an EHR launch's context. prompt,
    login_hint, max_age: OpenID Connect's; max_age in seconds.
    """

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    challenge: str
    nonce: str | None = None
    launch: str | None = None
    prompt: frozenset[str] = frozenset()
    login_hint: str | None = field(default=None, repr=False)
    max_age: int | None = None

    @property
    def scope(self) -> str:
        """The scopes as one text."""
        return " ".join(self.scopes)


class _Wrong(Exception):
    """What is wrong with a request whose client and redirect URI are good: (error, description)."""


def single(pairs: Pairs, name: str) -> str | None:
    """Return the value of a parameter; None if it is not there, is empty, or is there more than once."""
    values = [value for key, value in pairs if key == name]
    return values[0] or None if len(values) == 1 else None


def destination(client: Client | None, pairs: Pairs) -> str:
    """Return the redirect URI of a request of this client. Raises Rejected."""
    if client is None:
        raise Rejected("No app is registered under this client_id.")
    if CODE not in client.grant_types:
        raise Rejected("This client is not an app that users approve.")
    given = single(pairs, "redirect_uri")
    if given is None or given not in client.redirect_uris:  # exact comparison (RFC 9700, 4.1.3)
        raise Rejected("The redirect_uri is not one that is registered for this app.")
    return given


def asked(client: Client, redirect_uri: str, pairs: Pairs, *, base: str, issuer: str) -> Asked:
    """Return what an app asks for. base: the FHIR base URL. Raises Refused."""
    try:
        _check_form(pairs, base)
        return _read(client, redirect_uri, pairs)
    except _Wrong as wrong:
        error, description = wrong.args
        location = error_location(redirect_uri, error, description, state=single(pairs, "state"), issuer=issuer)
        raise Refused(location, error, description) from None


def _check_form(pairs: Pairs, base: str) -> None:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise _Wrong("invalid_request", "A parameter is there more than once.")
    given = dict(pairs)
    if given.get("response_type") != "code":
        raise _Wrong("unsupported_response_type", "The response_type is code.")
    if given.get("response_mode", "query") != "query":
        raise _Wrong("invalid_request", "The response_mode is query.")
    for name in ("request", "request_uri"):
        if name in given:
            raise _Wrong(f"{name}_not_supported", "Send the parameters themselves.")
    if given.get("code_challenge_method") != "S256":
        raise _Wrong("invalid_request", "PKCE is required: code_challenge_method is S256.")
    if not CHALLENGE.fullmatch(given.get("code_challenge", "")):
        raise _Wrong("invalid_request", "PKCE is required: code_challenge is 43 characters of base64url.")
    if given.get("aud", "").rstrip("/") != base:
        raise _Wrong("invalid_request", "aud has to be the URL of this FHIR server.")


def _read(client: Client, redirect_uri: str, pairs: Pairs) -> Asked:
    given = {name: value for name, value in pairs if value}
    scopes = tuple(narrowed(given.get("scope", ""), " ".join(client.scopes)).split())
    if not scopes:
        raise _Wrong("invalid_scope", "None of the scopes can be granted to this app.")
    launch = given.get("launch")
    if launch is None and EHR_LAUNCH in scopes:
        raise _Wrong("invalid_request", "The scope launch needs the parameter launch; use launch/patient without it.")
    if launch is not None and EHR_LAUNCH not in scopes:
        raise _Wrong("invalid_scope", "The parameter launch needs the scope launch.")
    age = given.get("max_age")
    if age is not None and not (age.isascii() and age.isdecimal() and len(age) < 10):
        raise _Wrong("invalid_request", "max_age is a number of seconds.")
    return Asked(
        client=client,
        redirect_uri=redirect_uri,
        scopes=scopes,
        state=given.get("state"),
        challenge=given["code_challenge"],
        nonce=given.get("nonce"),
        launch=launch,
        prompt=_prompts(given.get("prompt", "")),
        login_hint=given.get("login_hint"),
        max_age=None if age is None else int(age),
    )


def _prompts(text: str) -> frozenset[str]:
    found = frozenset(text.split())
    if found - PROMPTS or ("none" in found and len(found) > 1):
        raise _Wrong("invalid_request", "prompt is none, or some of login, consent, select_account.")
    return found


def error_location(redirect_uri: str, error: str, description: str, *, state: str | None, issuer: str) -> str:
    """Return where a user agent is redirected to with an error."""
    return with_query(redirect_uri, error=error, error_description=description, state=state, iss=issuer)


def with_query(url: str, **values: str | None) -> str:
    """Return a URL with parameters added to its query; those that are None are left out.

    >>> with_query("https://app.example.org/back?own=1", code="a b", state=None)
    'https://app.example.org/back?own=1&code=a+b'
    """
    parts = urlsplit(url)
    own = parse_qsl(parts.query, keep_blank_values=True)
    added = [(name, value) for name, value in values.items() if value is not None]
    return urlunsplit(parts._replace(query=urlencode([*own, *added])))
