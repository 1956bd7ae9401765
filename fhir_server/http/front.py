"""The ASGI application as it is served: requests to the FHIR base go straight to their endpoint.

What stands around the other routes (search for a route, pages of errors, answers to scripts of other origins) has nothing to
do with a request from no web page to the FHIR base, which is nearly every request.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_server.audit.where import note_address

BASE = "/fhir/"
BESIDE = "/fhir/."  # the documents of discovery have routes of their own


class Front(Starlette):
    """All routes of the server. fhir: the endpoint that the route /fhir/{path:path} leads to as well."""

    def __init__(self, fhir: ASGIApp, **around: Any) -> None:
        super().__init__(**around)
        self._fhir = fhir

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not straight(scope):
            await super().__call__(scope, receive, send)
            return
        note_address(scope)
        scope["path_params"] = {"path": scope["path"].removeprefix(BASE)}
        await self._fhir(scope, receive, send)


def straight(scope: Scope) -> bool:
    """Return whether nothing but the FHIR endpoint has to do with a request."""
    if scope["type"] != "http" or scope.get("root_path"):
        return False
    path = scope["path"]
    if not path.startswith(BASE) or path.startswith(BESIDE) or "\n" in path:
        return False
    return all([name != b"origin" for name, _ in scope["headers"]])
