"""Which web pages' scripts may call this server, and what they may read of its answers.

Discovery is open to every page; everything else to those of registered apps and of the setting cors_origins. Credentials
of the browser are never allowed: apps send their token themselves. The sign-in pages are for no script at all.
Source: WHATWG Fetch, "CORS protocol"; SMART App Launch 2.2, "Considerations for Cross-Origin Resource Sharing".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = frozenset(
    {
        "/fhir/metadata",
        "/fhir/.well-known/smart-configuration",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/auth/jwks",
    }
)
CALLED = frozenset({"/auth/token", "/auth/revoke", "/auth/introspect"})
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = (
    "Accept, Authorization, Cache-Control, Content-Type, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, Prefer,"
    " X-Requested-With"
)
EXPOSED = "Content-Location, ETag, Last-Modified, Location, WWW-Authenticate"
SECONDS = "600"  # that a browser may keep the answer of a preflight

Origins = Callable[[], Awaitable[frozenset[str]]]


class Cors:
    """An ASGI application around another one. origins: reads those of the registered apps."""

    def __init__(self, app: ASGIApp, origins: Origins, *, always: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._origins = origins
        self._always = frozenset(each.rstrip("/").lower() for each in always)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or have the request answered and say who may read the answer."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not concerns(path):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = "*" if path in OPEN else origin if await self._may(origin) else None
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(allowed)(scope, receive, send)
            return
        await self._app(scope, receive, _varying(send, allowed))

    async def _may(self, origin: str) -> bool:
        return origin.lower() in self._always or origin.lower() in await self._origins()


def concerns(path: str) -> bool:
    """Return whether scripts of other origins may have to do with a path."""
    return path in OPEN or path in CALLED or path == "/fhir" or path.startswith("/fhir/")


def _preflight(allowed: str | None) -> Response:
    """Return the answer of a preflight; without leave it says nothing, which a browser takes for no."""
    said = {"Vary": "Origin"}
    if allowed:
        said |= {
            "Access-Control-Allow-Origin": allowed,
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": SECONDS,
        }
    return Response(status_code=204, headers=said)


def _varying(send: Send, allowed: str | None) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.add_vary_header("Origin")
            if allowed:
                headers["Access-Control-Allow-Origin"] = allowed
                headers["Access-Control-Expose-Headers"] = EXPOSED
        await send(message)

    return sending
