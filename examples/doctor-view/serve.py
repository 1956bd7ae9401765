"""Serves the doctor's view on this machine, with headers that let it do no more than it has to.

    python examples/doctor-view/serve.py --server http://127.0.0.1:8080/fhir

A hospital hosts the folder `site` with its own web server, with the same headers and a config.json of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SITE = Path(__file__).resolve().parent / "site"
CLIENT = "doctor-view"


def policy(servers: Sequence[str]) -> str:
    """Return the Content-Security-Policy: what is here, the FHIR servers, nothing else; no text ever becomes markup.

    servers: FHIR base URLs. Source: W3C Content Security Policy Level 3; Trusted Types.
    """
    origins = sorted({"{0.scheme}://{0.netloc}".format(urlsplit(each)) for each in servers})
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            " ".join(("connect-src 'self'", *origins)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


class Headers:
    """An ASGI application around another one, which adds headers to every answer."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, sending)


def application(servers: Sequence[str], client: str = CLIENT) -> Starlette:
    """Return the web site. servers: FHIR base URLs that may launch it, the first for those who come without an EMR."""

    async def config(request: Request) -> JSONResponse:
        return JSONResponse({"clientId": client, "servers": list(servers)})

    headers = {
        "Content-Security-Policy": policy(servers),
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    routes = [Route("/config.json", config), Mount("/", StaticFiles(directory=SITE, html=True))]
    return Starlette(routes=routes, middleware=[Middleware(Headers, headers=headers), Middleware(GZipMiddleware)])


def main() -> None:
    words = argparse.ArgumentParser(description="Serve the doctor's view on 127.0.0.1.")
    words.add_argument("--port", type=int, default=8090)
    words.add_argument("--server", action="append", help="FHIR base URL; repeat for several")
    words.add_argument("--client", default=CLIENT, help="client_id under which the app is registered")
    given = words.parse_args()
    site = application(given.server or ["http://127.0.0.1:8080/fhir"], given.client)
    print(f"http://127.0.0.1:{given.port}/", flush=True)
    uvicorn.run(site, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
