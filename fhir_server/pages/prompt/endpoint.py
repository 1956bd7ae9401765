"""POST [origin]/consent-prompt: a booking says what is to be asked of a patient, and gets the URL of the page to open.

The patient has to be one whom the client may read: whoever is absent, and whoever is hidden, is answered alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhir_server.audit.event import Happening, Outcome
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.server.authority import Authority
from fhir_server.errors import Absent, Forbidden, InvalidRequest, Problem, Unauthenticated
from fhir_server.fhir_json import parse
from fhir_server.http import headers
from fhir_server.interactions.call import Call
from fhir_server.interactions.perform import failure, perform
from fhir_server.interactions.routes import Request as Asked
from fhir_server.pages.prompt.asking import Prompt, prompt_of
from fhir_server.pages.prompt.callers import PromptCaller
from fhir_server.pages.prompt.prompts import LASTING, Prompts

PATH = "/consent-prompt"
MOST_BYTES = 64 * 1024
NOT_STORED = {"Cache-Control": "no-store"}
# RFC 6750 and RFC 6749 words for what went wrong, by HTTP status.
ERRORS = {401: "invalid_token", 403: "insufficient_scope", 404: "invalid_request", 400: "invalid_request"}


class PromptEndpoint:
    """Takes what bookings ask."""

    def __init__(self, desk: Reception, authority: Authority, bearer: Bearer, prompts: Prompts) -> None:
        self._desk = desk
        self._authority = authority
        self._bearer = bearer
        self._prompts = prompts

    async def post(self, request: Request) -> Response:
        """Take a question; answer {"request": token, "url": of the page, "expires_in": seconds}."""
        try:
            return await self._answer(request)
        except Problem as problem:
            return _refused(problem.status, problem.diagnostics, problem.headers)
        except Exception as error:  # whatever it is, the caller learns nothing of it
            return _refused(failure(error, request.url.path).status, "This server failed: try again later.", {})

    async def _answer(self, request: Request) -> Response:
        desk, requester = self._desk, await self._requester(request)
        try:
            prompt = await self._asked(request, requester)
        except Problem as problem:
            await self._record(requester, problem.status, problem.issue)
            raise
        call = Call(requester, desk.use.settings.public_base, remark="consent prompt")
        read = Asked("read", "GET", "Patient", prompt.patient)
        found = await perform(desk.use, call, read, lambda use: read.run(use, call, None))
        if found.status == 401:
            raise Unauthenticated("The access token is not valid here.", error="invalid_token")
        if found.status == 403:
            raise Forbidden("The token's scopes do not allow to read Patients.")
        if found.status >= 500:
            raise RuntimeError(f"The Patient was answered {found.status}.")
        if found.status != 200:
            raise Absent("There is no such Patient.")
        token = await self._prompts.add(prompt)
        url = f"{desk.origin}{PATH}?{urlencode({'request': token})}"
        told = {"request": token, "url": url, "expires_in": int(LASTING.total_seconds())}
        return JSONResponse(told, 201, headers=NOT_STORED)

    async def _requester(self, request: Request) -> Requester:
        """Return in whose name it is asked. Raises Unauthenticated, recorded."""
        try:
            token = headers.bearer(request.headers.get("authorization"))
            requester = await self._bearer.requester(token, now=self._desk.clock().timestamp())
        except Unauthenticated:
            await self._record(None, 401, "login")
            raise
        if await self._authority.revocations.revoked(grant=requester.grant, jti=requester.token, key=requester.key):
            await self._record(requester, 401, "login")
            raise Unauthenticated("The access token is not valid here.", error="invalid_token")
        return requester

    async def _asked(self, request: Request, requester: Requester) -> Prompt:
        """Return what is to be asked of the patient. Raises Forbidden or InvalidRequest."""
        caller, said = await self._caller(requester), parse(await _body(request))
        return prompt_of(said, requester, caller, at=self._desk.clock(), zone=self._desk.use.zone)

    async def _record(self, requester: Requester | None, status: int, why: str) -> None:
        """Store the AuditEvent of a refusal before it leaves; those of nobody known are gathered (audit/gathering.py)."""
        refused = Happening("operation", Outcome.REFUSED, status, note=f"consent prompt: {why}")
        await self._desk.use.audit.record(refused, requester, at=self._desk.use.now())

    async def _caller(self, requester: Requester) -> PromptCaller:
        """Return where a client may lead patients back to. Raises Forbidden unless it is registered for this, now."""
        client = await self._authority.clients.get(requester.client) if requester.client else None
        callers = self._desk.use.settings.consent_prompt_clients
        found = next((each for each in callers if client and each.client_id == client.id), None)
        if client is None or found is None or requester.role is not Role.SYSTEM:
            raise Forbidden("The client is not one that may ask patients by this page (consent_prompt_clients).")
        if client.organization != requester.organization:
            raise Forbidden("The client belongs to another institution by now: get a new token.")
        return found


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise InvalidRequest(f"The body has at most {MOST_BYTES} bytes.")
    return bytes(body)


def _refused(status: int, description: str, more: Mapping[str, Any]) -> Response:
    said = {"error": ERRORS.get(status, "server_error"), "error_description": description}
    return JSONResponse(said, status, headers={**NOT_STORED, **more})
