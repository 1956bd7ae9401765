"""GET and POST [origin]/my/sign-in, POST [origin]/my/sign-out: patients and guardians sign in and out of their pages.

Whoever has signed in at their institution's provider takes that session along: GET [origin]/auth/my.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.auth.accounts.browser import cookie_of
from fhir_server.auth.accounts.reception import Errors, Reception
from fhir_server.auth.accounts.signing_in import Failed
from fhir_server.auth.accounts.steps import Step
from fhir_server.auth.server.authority import Authority
from fhir_server.pages.my.acting import ROLES
from fhir_server.pages.my.visiting import Visit, failed, sent_to, to, visit_of
from fhir_server.pages.my.words import WORDS
from fhir_server.pages.rendering import page
from fhir_server.pages.words import LANGUAGES

HOME, SIGN_IN, SIGN_OUT = "/my/authorizations", "/my/sign-in", "/my/sign-out"
ALONG, ELSEWHERE = "/auth/my", "/auth/sign-in?next=my"
LONGEST_LOGIN = 200


async def taken(desk: Reception, visit: Visit, values: dict[str, str]) -> tuple[Visit, Errors]:
    """Return the visit after a form of sign-in or of a second factor, and what is wrong with it."""
    step = values.get("step")
    if step == "sign-in":
        login, password = values.get("login", "")[:LONGEST_LOGIN], values.get("password", "")
        found = await desk.signing_in.password(login, password, visit.source)
        if isinstance(found, Failed):
            return visit, failed(visit.lang, found, "login", "sign_in_wrong")
        return visit.of(found), ()
    if step == "code" and visit.signed and visit.signed.wanting is Step.CODE:
        found = await desk.signing_in.code(visit.signed, values.get("code", ""))
        if isinstance(found, Failed):
            return visit, failed(visit.lang, found, "code", "code_wrong")
        return visit.of(found), ()
    return visit, ()


async def leave(desk: Reception, authority: Authority, visit: Visit) -> None:
    """End the session of a visit, and what apps were allowed for as long as it lasted."""
    if visit.signed:
        await desk.signing_in.leave(visit.signed)
        await authority.end_all("sign-out", session=visit.signed.session.id)


class Entering:
    """Sign-in and sign-out."""

    def __init__(self, desk: Reception, authority: Authority) -> None:
        self._desk = desk
        self._authority = authority

    async def get(self, request: Request) -> Response:
        visit = await visit_of(self._desk, request)
        return visit.answered(to(HOME) if visit.is_in else await self.shown(visit))

    async def post(self, request: Request) -> Response:
        """Take a form; whoever is in then goes on to their authorizations."""
        visit = await visit_of(self._desk, request)
        form, ours = await sent_to(self._desk, request, visit)
        if not ours:
            expired: Errors = ((None, LANGUAGES[visit.lang]("form_expired")),)
            return visit.answered(await self.shown(visit, expired))
        if form.values.get("step") == "cancel":
            return await self._leave(visit)
        visit, errors = await taken(self._desk, visit, dict(form.values))
        if errors:
            return visit.answered(await self.shown(visit, errors))
        return visit.answered(to(HOME if visit.is_in else SIGN_IN))

    async def along(self, request: Request) -> Response:
        """Take along the session of the way to apps, if it is a patient's or a guardian's; else lead to where it begins."""
        visit, cookie = await visit_of(self._desk, request), cookie_of(request, self._desk.origin)
        signed = await self._desk.signing_in.signed(cookie)
        if signed is None or signed.wanting:
            return to(ELSEWHERE)
        return visit.of(signed).answered(to(HOME))

    async def leave(self, request: Request) -> Response:
        """End the session, if the form is one of ours."""
        visit = await visit_of(self._desk, request)
        _, ours = await sent_to(self._desk, request, visit)
        if not ours:
            return to(HOME)
        return await self._leave(visit)

    async def shown(self, visit: Visit, errors: Errors = ()) -> Response:
        """Return the page of what is still wanting before somebody is in."""
        signed, status = visit.signed, 400 if errors else 200
        form = visit.form(self._desk, SIGN_IN)
        common: dict[str, Any] = {
            "errors": errors,
            "form": form,
            "app": None,
            "again": f"{SIGN_IN}?",
            "m": WORDS[visit.lang],
        }
        if signed and signed.account.role not in ROLES:
            leaving = visit.form(self._desk, SIGN_OUT)
            return page("my_wrong_role", visit.lang, status=403, **{**common, "form": leaving})
        if signed and signed.wanting:
            return page("code", visit.lang, status=status, **common)
        along = ALONG if self._desk.providers.offered else None
        return page("my_sign_in", visit.lang, status=status, login="", along=along, **common)

    async def _leave(self, visit: Visit) -> Response:
        await leave(self._desk, self._authority, visit)
        return visit.left(to(SIGN_IN))
