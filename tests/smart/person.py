"""Somebody at a browser without scripts: signs in, picks a patient, approves or denies."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import httpx
import pyotp

from tests.smart.forms import Field, Form, forms, send

MOST_PAGES = 12


@dataclass
class Person:
    """Login, password and the secret of the second factor (base32), and a browser of their own with its cookies."""

    login: str
    password: str
    secret: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, follow_redirects=False))

    @property
    def code(self) -> str:
        """The code that an authenticator app shows now (RFC 6238)."""
        return pyotp.TOTP(self.secret).at(int(time.time()))

    def approve(self, answer: httpx.Response, *, choose: str = "p1") -> httpx.Response:
        """Return the answer that leads back to the app. choose: id of the patient who is picked, with the visit of
        that number."""
        return self._walk(answer, "allow", choose)

    def deny(self, answer: httpx.Response) -> httpx.Response:
        """Return the answer that leads back to the app when the approval is refused."""
        return self._walk(answer, "deny", "p1")

    def _walk(self, answer: httpx.Response, last: str, choose: str) -> httpx.Response:
        own = answer.url.host, answer.url.port
        for _ in range(MOST_PAGES):
            if answer.is_redirect:
                target = answer.url.join(answer.headers["location"])
                if (target.host, target.port) != own:
                    return answer
                answer = self.http.get(target)
            else:
                answer = self._step(answer, last, choose)
        raise AssertionError(f"no end after {MOST_PAGES} pages: {answer.text}")

    def _step(self, page: httpx.Response, last: str, choose: str) -> httpx.Response:
        """Fill in the form that a page is about: of several, that for which there is an answer already."""
        assert page.status_code == 200, f"{page.status_code} {page.text}"
        filled = {
            "sign-in": {"login": self.login, "password": self.password},
            "code": {"code": self.code},
            "patient": {"patient": choose},
            "search": {"q": f"MRN-{choose[1:]}"},
            "encounter": {"encounter": f"e{choose[1:]}"},
            "purpose": {},
            last: {},
        }
        for step, values in filled.items():
            if found := _with_button(page, step):
                return send(self.http, found[0], values, found[1])
        raise AssertionError(f"a page without a way on: {page.text}")


def _with_button(page: httpx.Response, step: str) -> tuple[Form, Field] | None:
    for form in forms(page):
        for each in form.fields:
            if each.name == "step" and each.kind == "submit" and each.value == step:
                return form, each
    return None
