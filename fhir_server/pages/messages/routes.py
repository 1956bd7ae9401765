"""GET [origin]/pages/messages: what the stand-in of messages has delivered in the last day; for operators who are signed in.

Each look is recorded before the page leaves. The cookie of sign-in is sent to its own pages alone; [origin]/auth/messages
gives this page one of its own for the same session, as the audit desk has.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fhir_server.audit.event import Happening, Touched
from fhir_server.auth.accounts.browser import cookie_of
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.wiring import guarded
from fhir_server.consenting.ways.transport import StandIn
from fhir_server.pages.messages.words import speech
from fhir_server.pages.rendering import page
from fhir_server.pages.words import language
from fhir_server.store.instants import moment

PAGE, ENTER, SIGN_IN = "/pages/messages", "/auth/messages", "/auth/sign-in"


def routes(desk: Reception, stand_in: StandIn) -> list[Route]:
    """Return the routes of the page."""
    pages = Messages(desk, stand_in)
    return [
        Route(ENTER, guarded(pages.enter), methods=["GET"]),
        Route(PAGE, guarded(pages.get), methods=["GET"]),
    ]


class Messages:
    """The page, and the way to it."""

    def __init__(self, desk: Reception, stand_in: StandIn) -> None:
        self._desk = desk
        self._stand_in = stand_in

    @property
    def _cookie(self) -> str:
        return "__Secure-fhir-messages" if self._desk.secure else "fhir-messages"

    async def enter(self, request: Request) -> Response:
        """Take the session of whoever is signed in along to the page."""
        signed = await self._desk.signing_in.signed(cookie_of(request, self._desk.origin))
        if signed is None or signed.wanting:
            return _to(SIGN_IN)
        response, secure = _to(PAGE), self._desk.secure
        response.set_cookie(self._cookie, signed.cookie, path=PAGE, secure=secure, httponly=True, samesite="lax")
        return response

    async def get(self, request: Request) -> Response:
        """Return the page."""
        lang = language(request.query_params.get("lang"), request.headers.get("accept-language"))
        signed = await self._desk.signing_in.signed(request.cookies.get(self._cookie) or None)
        if signed is None or signed.wanting:
            return _to(ENTER)
        use, account, words = self._desk.use, signed.account, speech(lang)
        if account.user not in use.settings.operators:
            return page("message", lang, status=403, title="error_title", text=words("operators"), back=None)
        found = await self._stand_in.delivered()
        touched = tuple(Touched(f"Patient/{each}", None, (each,)) for each in sorted({one.patient for one in found}))
        happening = Happening("search-type", touched=touched, query="pages/messages", count=len(found))
        await use.audit.record(happening, account.requester(), at=use.now())
        rows = [(each, moment(each.at).astimezone(use.zone).strftime("%Y-%m-%d %H:%M:%S")) for each in found]
        return page("messages", lang, m=words, rows=rows, again=f"{PAGE}?", here=PAGE, signed_in=account.name)


def _to(location: str) -> Response:
    return RedirectResponse(location, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
