"""A hospital's people at their browsers: accounts made through the product, forms filled in over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx
import pyotp

from fhir_server.app import assemble, keyring_of
from fhir_server.auth.accounts.account import PURPOSES, Account
from fhir_server.auth.accounts.passwords import Passwords
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import Client, Kind
from tests.live import Live
from tests.smart.forms import Form, forms, send

T = TypeVar("T")
Json = dict[str, Any]

BACK = "https://app.example.org/back"
PASSWORD = "七个葫芦娃 seven gourds"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SCOPES = tuple(
    "launch launch/patient launch/encounter openid fhirUser offline_access online_access patient/*.rs user/*.rs".split()
)
VERIFIER = "a-verifier-that-is-as-long-as-RFC-7636-wants-it"
_HASHES: dict[str, str] = {}


def hashed(password: str) -> str:
    """Return the hash of a password, worked out once."""
    if password not in _HASHES:
        _HASHES[password] = asyncio.run(Passwords().hashed(password))
    return _HASHES[password]


@dataclass
class House:
    """A running server, and its parts as a command of the operator would open them."""

    server: Live
    uri: str
    client: Client = field(default_factory=lambda: app("chart"))
    browsers: list[Browser] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.server.settings.origin

    def run(self, work: Callable[[Reception, Authority], Awaitable[T]]) -> T:
        """Return what work returns with the parts."""

        async def within() -> T:
            settings = self.server.settings
            keyring = keyring_of(settings)
            parts = assemble(settings, keyring, uri=self.uri, clock=self.server.clock)
            try:
                await parts.ready()
                authority = parts.authority(settings, keyring)
                return await work(parts.reception(settings, keyring, authority), authority)
            finally:
                await parts.client.close()

        return asyncio.run(within())

    def register(self, *clients: Client) -> None:
        async def add(desk: Reception, authority: Authority) -> None:
            for client in clients:
                await authority.clients.add(client)

        self.run(add)

    def account(self, role: Role, user: str, organization: str = "org1", **said: Any) -> Account:
        """Make an account. enrolled: whether it has a second factor; subject: (issuer, sub) of a provider."""
        enrolled, subject = said.pop("enrolled", role in (Role.PRACTITIONER, Role.AUDITOR)), said.pop("subject", None)
        made = Account(
            id="",
            login=said.pop("login", f"u-{secrets.token_hex(4)}"),
            name=said.pop("name", "王医生"),
            role=role,
            user=user,
            organization=organization,
            purposes=said.pop("purposes", PURPOSES[role]),
            **said,
        )

        password = None if subject else hashed(PASSWORD)

        async def add(desk: Reception, authority: Authority) -> Account:
            account = await desk.users.add(made, password=password, subject=subject)
            if enrolled:
                await desk.users.enrol(account.id, SECRET, step=0)
            return account

        return self.run(add)

    def doctor(self, user: str | None = None, organization: str = "org1", **said: Any) -> Account:
        return self.account(Role.PRACTITIONER, user or f"Practitioner/{secrets.token_hex(4)}", organization, **said)

    def browser(self, account: Account | None = None) -> Browser:
        self.browsers.append(Browser(self, account))
        return self.browsers[-1]

    def close(self) -> None:
        """Close the browsers."""
        while self.browsers:
            self.browsers.pop().http.close()

    def request(self, **changed: Any) -> dict[str, str]:
        """Return an authorization request of the app; what is None is left out."""
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        usual = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": BACK,
            "scope": "openid user/*.rs",
            "state": "st4te",
            "aud": self.server.base,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def tokens(self, code: str) -> Json:
        """Return what a code is worth."""
        answer = httpx.post(
            f"{self.origin}/auth/token",
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": BACK,
                "client_id": self.client.id,
                "code_verifier": VERIFIER,
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


class Browser:
    """Somebody at a browser: it keeps cookies, shows one page, and follows redirects as far as this server."""

    def __init__(self, house: House, account: Account | None) -> None:
        self.house = house
        self.account = account
        self.http = httpx.Client(timeout=60, follow_redirects=False)
        self.page: httpx.Response

    def ask(self, **changed: Any) -> Browser:
        """Come from the app with its request."""
        return self.open("/auth/authorize", **self.house.request(**changed))

    def open(self, path: str, **query: str) -> Browser:
        headers = {"Accept-Language": "zh-CN,zh;q=0.9"}
        return self._at(self.http.get(f"{self.house.origin}{path}", params=query, headers=headers))

    def press(self, step: str, **filled: str) -> Browser:
        """Fill in the form that has this button, and press it."""
        form, button = self.form(step)
        return self._at(send(self.http, form, filled, button))

    def form(self, step: str) -> tuple[Form, Any]:
        for form in forms(self.page):
            for each in form.named("step"):
                if each.value == step:
                    return form, each
        raise AssertionError(f"there is no {step} on this page: {self.page.status_code} {self.page.text}")

    def has(self, step: str) -> bool:
        return any(each.value == step for form in forms(self.page) for each in form.named("step"))

    def sign_in(self, password: str = PASSWORD) -> Browser:
        """Sign in, with the second factor where it is asked for."""
        assert self.account
        self.press("sign-in", login=self.account.login, password=password)
        return self.press("code", code=self.code()) if self.has("code") else self

    def code(self, secret: str = SECRET, *, ahead: int = 0) -> str:
        """Return what an authenticator app shows, by the server's clock."""
        return pyotp.TOTP(secret).at(int(self.house.server.clock().timestamp()) + 30 * ahead)

    @property
    def back(self) -> dict[str, str]:
        """What the app gets at its redirect URI."""
        assert self.page.is_redirect, f"{self.page.status_code} {self.page.text}"
        location = self.page.headers["location"]
        assert location.split("?")[0] == BACK, location
        return dict(parse_qsl(urlsplit(location).query))

    @property
    def text(self) -> str:
        return self.page.text

    def _at(self, answer: httpx.Response) -> Browser:
        while answer.is_redirect:
            target = answer.url.join(answer.headers["location"])
            if str(target).startswith(self.house.origin + "/"):
                answer = self.http.get(target)
            else:
                break
        self.page = answer
        return self


def app(id: str, **more: Any) -> Client:
    """Return a client that can be registered."""
    usual = Client(id, f"应用 {id}", Kind.PUBLIC, (BACK,), scopes=SCOPES, post_logout_redirect_uris=(f"{BACK}?out=1",))
    return replace(usual, **more)
