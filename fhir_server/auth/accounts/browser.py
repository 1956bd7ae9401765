"""Cookies, forms and error pages: what the handlers of the pages share."""

from __future__ import annotations

from ipaddress import ip_network
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.auth.accounts.sessions import new_token
from fhir_server.auth.accounts.taking import Form
from fhir_server.pages.rendering import page
from fhir_server.pages.words import LANGUAGES

PATH = "/auth"
MOST_BYTES = 64 * 1024
MOST_FIELDS = 200
MEDIA_TYPE = "application/x-www-form-urlencoded"

new_cookie = new_token


def name_of(secure: bool) -> str:
    """Return the cookie's name; the prefix keeps what came over http from being taken for it."""
    return "__Secure-fhir-sign-in" if secure else "fhir-sign-in"


def cookie_of(request: Request, origin: str) -> str | None:
    """Return the cookie that a browser has sent."""
    return request.cookies.get(name_of(origin.startswith("https:"))) or None


def with_cookie(response: Response, cookie: str, *, secure: bool) -> Response:
    """Return the response with the cookie set: for this browser's session, not for scripts, not from other sites' forms."""
    response.set_cookie(name_of(secure), cookie, path=PATH, secure=secure, httponly=True, samesite="lax")
    return response


def without_cookie(response: Response, *, secure: bool) -> Response:
    response.delete_cookie(name_of(secure), path=PATH, secure=secure, httponly=True, samesite="lax")
    return response


async def form_of(request: Request) -> tuple[Form, tuple[tuple[str, str], ...]]:
    """Return a form that was sent, and its pairs as they came; an empty one if it cannot be read."""
    pairs = await _pairs(request)
    return Form(dict(pairs), frozenset(value for name, value in pairs if name == "scope")), pairs


async def _pairs(request: Request) -> tuple[tuple[str, str], ...]:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != MEDIA_TYPE:
        return ()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return ()
    try:
        return tuple(
            parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
        )
    except ValueError:
        return ()


def source_of(request: Request) -> str:
    """Return the address that a request comes from; behind a proxy, the one that the proxy names to uvicorn.

    Of an IPv6 address the first 64 bits: the others are the guest's own choice.
    """
    host = request.client.host if request.client else ""
    return host if ":" not in host else str(ip_network(f"{host.partition('%')[0]}/64", strict=False))


def error(key: str, lang: str, *, status: int = 400, **parts: str) -> Response:
    """Return the page of a request that cannot go on."""
    text = LANGUAGES[lang](key, **parts)
    return page("message", lang, status=status, title="error_title", text=text, back=None)
