"""The same people at the pages of twins: signed in on both, they go the same way, and every page is compared."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from html import unescape

import httpx
import pytest

from fhir_server.app import keyring_of
from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.browser import name_of as sign_in_cookie
from fhir_server.auth.accounts.sessions import CODE, PASSWORD
from fhir_server.auth.requester import Role
from fhir_server.auth.server.clients import Client, Kind
from fhir_server.pages.desk.entering import cookie_name as desk_cookie
from fhir_server.pages.my.visiting import name_of as my_cookie
from tests.auth.server.apps import KEYS, public
from tests.noninterference.agreements import Json
from tests.noninterference.pair import Pair
from tests.smart.forms import forms

# What differs whoever asks: sealed links, forms' tokens, the ids that a server gives to what it creates.
SEALED = re.compile(r'((?:name="(?:form|flow|page)" value="|[?&;](?:after|request|page|flow)=))[A-Za-z0-9_.%=-]+')
OWN_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
OWN_HEADERS = frozenset({"date", "set-cookie", "content-length"})


def plain(text: str) -> str:
    return OWN_IDS.sub("id", SEALED.sub(r"\1", text))


def told_in(headers: httpx.Headers) -> list[str]:
    """Return what headers say. Sealed links and cookies are of another length each time."""
    return sorted(f"{name}: {plain(value)}" for name, value in headers.items() if name not in OWN_HEADERS)


class Desks:
    """What signs people in on both."""

    def __init__(self, servers: Pair) -> None:
        self.servers = servers
        keyring, settings = keyring_of(servers.a.settings), servers.a.settings
        self._stores = servers.store_a, servers.store_b
        self._authorities = [each.parts.authority(settings, keyring) for each in self._stores]
        self._receptions = [
            each.parts.reception(settings, keyring, authority)
            for each, authority in zip(self._stores, self._authorities, strict=True)
        ]

    def register(self, client: Client) -> None:
        for store, authority in zip(self._stores, self._authorities, strict=True):
            store.run(authority.clients.add(client))

    def window(self, account: Account | None = None) -> Window:
        """Return the browsers of somebody who is signed in, with a second factor, to all pages that are theirs."""
        clients = self.servers._client_a, self.servers._client_b
        browsers = [httpx.Client(base_url=each.base_url.join("/"), timeout=60) for each in clients]
        for store, desk, browser in zip(self._stores, self._receptions, browsers, strict=True):
            if account:
                known = store.run(desk.users.add(account))
                cookie, _ = store.run(desk.sessions.begin(known.id, frozenset({PASSWORD, CODE})))
                browser.cookies.set(sign_in_cookie(secure=False), cookie, path="/auth")
                browser.cookies.set(my_cookie(secure=False), cookie, path="/")
                browser.cookies.set(desk_cookie(secure=False), cookie, path="/desk")
        return Window(browsers)


@dataclass
class Window:
    """Two browsers. pages: as they stand."""

    browsers: Sequence[httpx.Client]
    pages: Sequence[httpx.Response] = ()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.browsers:
            each.close()

    @property
    def text(self) -> str:
        return self.pages[0].text

    def go(self, *paths: str) -> Window:
        """Open a page; paths: one for both, or one for each."""
        of_each = paths if len(paths) > 1 else paths * 2
        return self._same([browser.get(path) for browser, path in zip(self.browsers, of_each, strict=True)])

    def follow(self, link: Callable[[httpx.Response], str | None]) -> bool:
        """Go where a link of each page leads; return False if there is none on either."""
        found = [link(each) for each in self.pages]
        if None in found:
            assert found == [None, None]
            return False
        self.go(*(str(each) for each in found))
        return True

    def asked(self, token: str, body: Json) -> tuple[str, ...] | None:
        """Open a prompt in the name of a booking; return its token on each, None if it was refused alike."""
        bearer = {"Authorization": f"Bearer {token}"}
        answers = [each.post("/consent-prompt", json=body, headers=bearer) for each in self.browsers]
        said = [each.json() for each in answers]
        opened = [each.pop("request", None) for each in said]
        assert answers[0].status_code == answers[1].status_code < 500
        assert told_in(answers[0].headers) == told_in(answers[1].headers)
        assert {**said[0], "url": ""} == {**said[1], "url": ""}
        assert (opened[0] is None) == (opened[1] is None)
        return tuple(opened) if opened[0] else None

    def press(self, step: str, **filled: str) -> bool:
        """Press a button of the page, as far as there is one; and go where it leads."""
        if not self.send(step, **filled):
            return False
        if all(each.is_redirect and each.headers["location"].startswith("/") for each in self.pages):
            self.go(*(each.headers["location"] for each in self.pages))
        return True

    def send(self, step: str, **filled: str) -> bool:
        """Press a button of the page, as far as there is one."""
        chosen = [next((each for each in forms(page) if _has(each, step)), None) for page in self.pages]
        if None in chosen:
            assert chosen == [None, None]
            return False
        answers = []
        for browser, form in zip(self.browsers, chosen, strict=True):
            assert form
            pairs = {each.name: each.value for each in form.fields if each.kind == "hidden"}
            answers.append(browser.post(form.action, data={**pairs, **filled, "step": step}))
        self._same(answers)
        return True

    def _same(self, pages: Sequence[httpx.Response]) -> Window:
        whole, lesser = ((each.status_code, told_in(each.headers), plain(each.text)) for each in pages)
        assert whole[0] < 500
        if whole != lesser:
            told = unified_diff(*("\n".join(map(str, each)).splitlines() for each in (whole, lesser)), n=3, lineterm="")
            pytest.fail(f"{pages[0].url}\n" + "\n".join(told))
        self.pages = pages
        return self


def _has(form: object, step: str) -> bool:
    return any(each.value == step for each in form.named("step"))  # type: ignore[attr-defined]


def next_page(page: httpx.Response) -> str | None:
    """Return where the next page of a list is."""
    found = re.search(r'(?:rel="next"|class="next") href="([^"]+)"', page.text)
    return str(page.url.join(unescape(found[1]))) if found else None


def account(role: Role, user: str, organization: str) -> Account:
    purpose = "PATRQT" if role in (Role.PATIENT, Role.RELATED_PERSON) else "HOPERAT"
    return Account("", f"u-{secrets.token_hex(6)}", "某人", role, user, organization, (purpose,))


def booking() -> Client:
    """Return the client of a booking, of h1."""
    keys = {"keys": [public(KEYS["ES384"])]}
    own = {"system_user": "Device/emr-h1", "organization": "h1"}
    return Client("booking", "预约", Kind.BACKEND, jwks=keys, scopes=("system/*.cruds",), **own)  # type: ignore[arg-type]


def links(text: str, below: str) -> list[str]:
    """Return the links of a page that begin so."""
    return [each.split('"')[0] for each in text.split('href="')[1:] if each.startswith(below)]
