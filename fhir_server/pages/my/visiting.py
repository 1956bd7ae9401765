"""A browser at the pages of patients: its session, its language, its forms.

The cookie is another than that of the way to apps (auth/accounts/browser.py), which is sent there alone: it is for all
pages of patients. The prefix __Host- keeps other sites of the same domain from setting it (RFC 6265bis, 4.1.3.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.auth.accounts.browser import form_of, new_cookie, source_of
from fhir_server.auth.accounts.reception import Errors, Reception
from fhir_server.auth.accounts.sessions import form_fits, form_token
from fhir_server.auth.accounts.signing_in import Failed
from fhir_server.auth.accounts.steps import Signed
from fhir_server.auth.accounts.taking import Form as Sent
from fhir_server.pages.my.acting import ROLES, Acting
from fhir_server.pages.words import LANGUAGES, language

LANG = "fhir-lang"


class Form(NamedTuple):
    """What every form of a page carries. flow: which matter it is about, beside the page itself."""

    token: str
    action: str
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser. signed: whose session is good; their second factor may be wanting. source: its address."""

    cookie: str
    signed: Signed | None
    lang: str
    source: str
    secure: bool

    @property
    def is_in(self) -> bool:
        """Whether a patient or a guardian is signed in."""
        return self.signed is not None and self.signed.wanting is None and self.signed.account.role in ROLES

    @property
    def name(self) -> str | None:
        return self.signed.account.name if self.signed and self.is_in else None

    def of(self, signed: Signed) -> Visit:
        """Return the visit of somebody who has just signed in."""
        return replace(self, cookie=signed.cookie, signed=signed)

    def anew(self) -> Visit:
        """Return the visit of a browser in which nobody is signed in any more."""
        return replace(self, cookie=new_cookie(), signed=None)

    def speaking(self, lang: str) -> Visit:
        return replace(self, lang=lang)

    def acting(self, desk: Reception) -> Acting:
        """Return what acts for whoever is signed in. Raises PermissionError if nobody is."""
        if self.signed is None or not self.is_in:
            raise PermissionError("No patient or guardian is signed in.")
        return Acting(desk.use, self.signed.account)

    def form(self, desk: Reception, action: str, flow: str = "") -> Form:
        return Form(form_token(desk.vault, self.cookie), action, flow)

    def answered(self, response: Response) -> Response:
        """Return a response with what the browser is to remember: for its session, not for scripts, not for other sites."""
        said = {"path": "/", "secure": self.secure, "httponly": True}
        response.set_cookie(name_of(self.secure), self.cookie, samesite="lax", **said)  # type: ignore[arg-type]
        response.set_cookie(LANG, self.lang, samesite="lax", **said)  # type: ignore[arg-type]
        return response

    def left(self, response: Response) -> Response:
        """Return a response that makes the browser forget who was signed in."""
        response.delete_cookie(name_of(self.secure), path="/", secure=self.secure, httponly=True, samesite="lax")
        return response


def name_of(secure: bool) -> str:
    return "__Host-fhir-my" if secure else "fhir-my"


async def visit_of(desk: Reception, request: Request) -> Visit:
    """Return a browser's request, with a new cookie where it has none."""
    cookie = request.cookies.get(name_of(desk.secure)) or new_cookie()
    asked = request.query_params.get("lang") or request.cookies.get(LANG)
    lang = language(asked, request.headers.get("accept-language"))
    return Visit(cookie, await desk.signing_in.signed(cookie), lang, source_of(request), desk.secure)


async def sent_to(desk: Reception, request: Request, visit: Visit) -> tuple[Sent, bool]:
    """Return the form that a browser has sent, and whether a page of ours has, to this browser as it is now."""
    form, _ = await form_of(request)
    came_with = request.cookies.get(name_of(desk.secure))
    return form, came_with == visit.cookie and form_fits(desk.vault, came_with, form.values.get("form"))


def to(location: str) -> Response:
    """Return the way on after a form (RFC 9700, 4.12: 303)."""
    return RedirectResponse(location, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def failed(lang: str, failed: Failed, field: str, key: str) -> Errors:
    """Return what is wrong with an attempt to sign in."""
    words = LANGUAGES[lang]
    return ((field, words("waiting", seconds=failed.wait) if failed.wait else words(key)),)
