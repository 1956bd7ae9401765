"""The HTTP side of the authorization server: what is sent by machines. What users see is in authorize.py."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fhir_server.auth.bearer import Bearer
from fhir_server.auth.server import discovery, ending, introspection, token
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.form import Form, read_form
from fhir_server.auth.server.problems import NOT_STORED, OAuthProblem

Json = dict[str, Any]
Answering = Callable[[Form, str | None], Awaitable[Json]]

log = logging.getLogger(__name__)
KEPT = {"Cache-Control": "public, max-age=300"}


def smart_configuration(use: Authority) -> Route:
    """Return the route within the FHIR base by which apps find the others."""
    return _told("/fhir/.well-known/smart-configuration", discovery.smart_configuration(use.origin))


def routes(use: Authority, bearer: Bearer) -> list[Route]:
    """Return the routes beside the FHIR base. bearer: verifies this server's tokens."""

    async def tokens(form: Form, authorization: str | None) -> Json:
        return await token.answer(use, form, authorization)

    async def introspect(form: Form, authorization: str | None) -> Json:
        caller = await introspection.caller(use, bearer, form, authorization)
        return await introspection.introspected(use, bearer, caller, form.needed("token"))

    async def revoke(form: Form, authorization: str | None) -> Json:
        caller = await use.authentication.caller(form, authorization)
        await ending.revoke(use, bearer, caller, form.needed("token"))
        return {}

    async def jwks(request: Request) -> Response:
        return JSONResponse(await use.keys.published(), headers=KEPT)

    return [
        _posted("/auth/token", tokens),
        _posted("/auth/introspect", introspect),
        _posted("/auth/revoke", revoke),
        Route("/auth/jwks", jwks, methods=["GET"]),
        _told("/.well-known/openid-configuration", discovery.openid_configuration(use.origin)),
        _told("/.well-known/oauth-authorization-server", discovery.authorization_server(use.origin)),
    ]


def _posted(path: str, answering: Answering) -> Route:
    async def handle(request: Request) -> Response:
        try:
            form = await read_form(request)
            said = await answering(form, request.headers.get("authorization"))
            return JSONResponse(said, headers=NOT_STORED)
        except OAuthProblem as problem:
            return JSONResponse(problem.body, problem.status, headers=problem.headers)
        except Exception as error:  # whatever it is, the caller learns nothing of it
            log.error("%s failed: %s", path, type(error).__name__)
            said = {"error": "server_error", "error_description": "This server failed: try again later."}
            return JSONResponse(said, 500, headers=NOT_STORED)

    return Route(path, handle, methods=["POST"])


def _told(path: str, document: Json) -> Route:
    async def handle(request: Request) -> Response:
        return JSONResponse(document, headers=KEPT)

    return Route(path, handle, methods=["GET"])
