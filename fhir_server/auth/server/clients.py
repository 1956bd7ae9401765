"""Registered clients: apps, institutions' systems and EMRs, each with what it may do at most.

Source: RFC 7591, section 2 (the names of client metadata); SMART App Launch 2.2, "App registration"; RFC 8252, 7.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from consent_engine.vocabulary import purposes_covering
from fhir_server.auth.requester import ID, USER_TYPES, Role, is_reference

CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
RSA_BITS = 2048  # RFC 7518, 3.3
CODE, REFRESH, CREDENTIALS = "authorization_code", "refresh_token", "client_credentials"
ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Kind(StrEnum):
    """What a client can keep to itself, and so how it says who it is."""

    PUBLIC = "public"
    SYMMETRIC = "confidential-symmetric"
    ASYMMETRIC = "confidential-asymmetric"
    BACKEND = "backend"


# How each kind authenticates at the token endpoint (RFC 7591 names).
METHODS = {
    Kind.PUBLIC: ("none",),
    Kind.SYMMETRIC: ("client_secret_basic", "client_secret_post"),
    Kind.ASYMMETRIC: ("private_key_jwt",),
    Kind.BACKEND: ("private_key_jwt",),
}


class InvalidClient(ValueError):
    """A registration cannot be taken; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Client:
    """One registered client.

    scopes: the most that it may be granted. jwks: its public keys; jwks_uri: where they are, if not here. secret_hash:
    argon2id. organization: id of the Organization that it belongs to. system_user: the reference that stands for it when
    no user does ("Device/..."). purposes: v3 PurposeOfUse codes that it may state; the first is the default. may_assert:
    an EMR that may speak for its own doctors (RFC 7523). may_launch: an EMR that may create launch contexts.
    web_origins: further origins whose pages may call this server. generation: changes with every registration, so that
    a new client does not inherit what was revoked with an old one of the same id.
    """

    id: str
    name: str
    kind: Kind
    redirect_uris: tuple[str, ...] = ()
    launch_uri: str | None = None
    post_logout_redirect_uris: tuple[str, ...] = ()
    web_origins: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    secret_hash: str | None = field(default=None, repr=False)
    organization: str | None = None
    system_user: str | None = None
    purposes: tuple[str, ...] = ("TREAT",)
    may_assert: bool = False
    may_launch: bool = False
    generation: str = ""

    @property
    def grant_types(self) -> frozenset[str]:
        """The grant types that this client may use."""
        own = {CREDENTIALS} if self.kind is Kind.BACKEND else {CODE, REFRESH}
        return frozenset(own | ({ASSERTION} if self.may_assert else set()))

    @property
    def confidential(self) -> bool:
        """Whether the client proves who it is."""
        return self.kind is not Kind.PUBLIC

    @property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may call this server: those of a public client's redirects, and those registered."""
        own = map(origin_of, self.redirect_uris) if self.kind is Kind.PUBLIC else ()
        return frozenset((*own, *self.web_origins))

    def stored(self) -> dict[str, Any]:
        """Return the client as JSON."""
        return asdict(self)


def client_of(stored: Mapping[str, Any]) -> Client:
    """Return the client that `stored` gave as JSON; fields that later versions added are left out."""
    known = {each.name for each in fields(Client)}
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return Client(
        **{name: value for name, value in {**stored, **lists, "kind": Kind(stored["kind"])}.items() if name in known}
    )


def origin_of(url: str) -> str:
    """Return the origin of a URL (RFC 6454, ASCII serialisation).

    >>> origin_of("https://App.example.org:8443/back?x=1")
    'https://app.example.org:8443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def checked(client: Client) -> Client:
    """Return a client that can be registered. Raises InvalidClient."""
    if not CLIENT_ID.fullmatch(client.id):
        raise InvalidClient("The client id is 1 to 64 letters, digits or . _ ~ -")
    if not client.name.strip():
        raise InvalidClient("The client needs a name; users read it when they are asked for approval.")
    if not client.scopes:
        raise InvalidClient(
            'The client needs scopes: the most it may be granted, such as "launch/patient patient/*.rs".'
        )
    _check_urls(client)
    _check_keys(client)
    _check_institution(client)
    return client


def _check_urls(client: Client) -> None:
    if CODE in client.grant_types and not client.redirect_uris:
        raise InvalidClient("A client that users approve needs a redirect URI.")
    if client.kind is Kind.BACKEND and client.redirect_uris:
        raise InvalidClient("A backend client has no redirect URI: no user approves it.")
    urls = (
        *client.redirect_uris,
        *client.post_logout_redirect_uris,
        *filter(None, (client.launch_uri, client.jwks_uri)),
    )
    for url in urls:
        _check_url(url)
    for origin in client.web_origins:
        if origin_of(origin) != origin:
            raise InvalidClient(f"{origin} is not an origin, such as https://app.example.org")
        _check_url(origin)


def _check_url(url: str) -> None:
    """Refuse what could hand a code to somebody else: fragments, user information, http beyond this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidClient(f"{url} is not a URL.") from None
    if not parts.scheme or not parts.hostname or parts.fragment or "#" in url or "@" in parts.netloc or "*" in url:
        raise InvalidClient(f"{url} is not an absolute URL without fragment, user and wildcard.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise InvalidClient(f"{url} uses http, which is for loopback addresses only: use https.")
    if parts.scheme not in ("http", "https"):
        raise InvalidClient(f"{url} is neither http nor https.")


def _check_keys(client: Client) -> None:
    if "private_key_jwt" not in METHODS[client.kind]:
        if client.jwks or client.jwks_uri:
            raise InvalidClient(f"A {client.kind} client has no keys.")
        return
    if bool(client.jwks) == bool(client.jwks_uri):
        raise InvalidClient(f"A {client.kind} client needs its public keys: either jwks or jwks_uri.")
    if client.jwks:
        usable_keys(client.jwks)


def usable_keys(jwks: Mapping[str, Any]) -> KeySet:
    """Return the key set of public RSA and EC P-384 keys that a JWK set holds. Raises InvalidClient.

    Keys of other kinds are left out: assertions are signed with RS384 or ES384 (SMART App Launch 2.2).
    """
    keys = jwks.get("keys")
    if not isinstance(keys, list):
        raise InvalidClient('A JWK set is an object with the list "keys".')
    try:
        usable = [dict(each) for each in keys if each.get("kty") == "RSA" or each.get("crv") == "P-384"]
        if any("d" in each for each in usable):
            raise InvalidClient("The JWK set holds a private key: keep it, register the public one.")
        if any(len(each["n"]) * 6 < RSA_BITS for each in usable if each["kty"] == "RSA"):  # base64url
            raise InvalidClient(f"An RSA key has at least {RSA_BITS} bits.")
        if not usable:
            raise InvalidClient("The JWK set holds no RSA key and no EC key on P-384.")
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
        if isinstance(error, InvalidClient):
            raise
        raise InvalidClient("The JWK set cannot be read.") from None


def _check_institution(client: Client) -> None:
    institutional = client.kind is Kind.BACKEND or client.may_assert or client.may_launch
    if institutional and not client.organization:
        raise InvalidClient("A backend client and an EMR belong to an Organization: name it.")
    if client.organization is not None and not ID.fullmatch(client.organization):
        raise InvalidClient("The organization is the id of an Organization.")
    if client.kind is Kind.BACKEND and not is_reference(client.system_user or "", USER_TYPES[Role.SYSTEM]):
        raise InvalidClient("A backend client needs a system user, such as Device/emr-1.")
    if client.may_assert and client.kind not in (Kind.BACKEND, Kind.ASYMMETRIC):
        raise InvalidClient("An EMR that speaks for its doctors signs with its own key: it is asymmetric or backend.")
    if not client.purposes:
        raise InvalidClient("The client needs at least one purpose of use.")
    for purpose in client.purposes:
        if not known_purpose(purpose):
            raise InvalidClient(f"{purpose} is not a code of v3 PurposeOfUse, such as TREAT.")


def known_purpose(code: str) -> bool:
    """Return whether a text is a code of v3 PurposeOfUse."""
    return len(purposes_covering(code)) > 1
