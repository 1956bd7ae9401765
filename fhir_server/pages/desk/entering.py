"""GET [origin]/auth/desk: whoever is signed in takes their session along to the desk.

The cookie of sign-in is sent to its own pages alone (auth/accounts/browser.py). The desk has one of its own for the same
session, sent to the desk alone; when the session ends, by sign-out or by its time, both are worth nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.auth.accounts.browser import cookie_of
from fhir_server.auth.accounts.reception import Reception

DESK, ENTER, SIGN_IN = "/desk", "/auth/desk", "/auth/sign-in"


def cookie_name(secure: bool) -> str:
    """Return the name of the desk's cookie; the prefix keeps what came over http from being taken for it."""
    return "__Secure-fhir-desk" if secure else "fhir-desk"


def desk_cookie(reception: Reception, request: Request) -> str | None:
    """Return the cookie that a browser has sent to the desk."""
    return request.cookies.get(cookie_name(reception.secure)) or None


def entering(reception: Reception) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler."""

    async def enter(request: Request) -> Response:
        signed = await reception.signing_in.signed(cookie_of(request, reception.origin))
        if signed is None or signed.wanting:
            return to(SIGN_IN)
        response = to(DESK)
        name, secure = cookie_name(reception.secure), reception.secure
        response.set_cookie(name, signed.cookie, path=DESK, secure=secure, httponly=True, samesite="lax")
        return response

    return enter


def to(location: str) -> Response:
    """Return the way on (RFC 9700, 4.12: 303)."""
    return RedirectResponse(location, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
