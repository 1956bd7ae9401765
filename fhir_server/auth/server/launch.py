"""POST [origin]/auth/launch: an EMR says what its user has on the screen, and gets the launch id that the app is opened with.

Source: SMART App Launch 2.2, "Launch App: EHR Launch": the id is opaque, and how it is made is left to the EMR and the
server. Here it is of one use, for five minutes, for the named user of the EMR's own institution.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhir_server.audit.event import Happening
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.launches import LASTING, InvalidLaunch, launch_of
from fhir_server.errors import InvalidRequest, Unauthenticated
from fhir_server.fhir_json import parse
from fhir_server.http import headers
from fhir_server.interactions.perform import failure

MOST_BYTES = 64 * 1024
NOT_STORED = {"Cache-Control": "no-store"}


class LaunchEndpoint:
    """Makes launch contexts for EMRs that are registered for it."""

    def __init__(self, desk: Reception, authority: Authority, bearer: Bearer) -> None:
        self._desk = desk
        self._authority = authority
        self._bearer = bearer

    async def post(self, request: Request) -> Response:
        """Take a context; answer {"launch": id, "expires_in": seconds}."""
        try:
            return await self._answer(request)
        except Exception as error:  # whatever it is, the caller learns nothing of it
            return _refused(
                failure(error, request.url.path).status, "server_error", "This server failed: try again later."
            )

    async def _answer(self, request: Request) -> Response:
        try:
            token = headers.bearer(request.headers.get("authorization"))
            requester = await self._bearer.requester(token, now=self._desk.clock().timestamp())
            if await self._authority.revocations.revoked(grant=requester.grant, jti=requester.token, key=requester.key):
                raise Unauthenticated("The access token is not valid here.")
        except Unauthenticated as problem:
            return _refused(401, "invalid_token", problem.diagnostics, **problem.headers)
        if not await self._may_launch(requester):
            return _refused(403, "insufficient_scope", "The client is not registered as an EMR that may launch.")
        try:
            launch = launch_of(parse(await _body(request)), requester.organization)
        except (InvalidLaunch, InvalidRequest) as problem:
            return _refused(400, "invalid_request", str(problem))
        id = await self._desk.launches.add(launch)
        await self._desk.use.audit.record(
            Happening("launch", note=f"client {requester.client}"), requester, at=self._desk.use.now()
        )
        return JSONResponse({"launch": id, "expires_in": int(LASTING.total_seconds())}, 201, headers=NOT_STORED)

    async def _may_launch(self, requester: Requester) -> bool:
        """Return whether the token is a registered EMR's own, as it is registered now."""
        client = await self._authority.clients.get(requester.client) if requester.client else None
        if client is None or requester.role is not Role.SYSTEM:
            return False
        return client.may_launch and client.organization == requester.organization


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise InvalidLaunch(f"The body is larger than {MOST_BYTES} bytes.")
    return bytes(body)


def _refused(status: int, error: str, description: str, **more: str) -> Response:
    said = {"error": error, "error_description": description}
    return JSONResponse(said, status, headers={**NOT_STORED, **more})
