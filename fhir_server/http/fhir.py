"""The FHIR endpoint: one handler reads the request, has it carried out, and writes the answer."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fhir_server.audit.event import Happening, Outcome
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.requester import Requester
from fhir_server.errors import (
    Absent,
    InvalidRequest,
    NotAllowed,
    Problem,
    TooLarge,
    Unauthenticated,
    UnsupportedParameter,
)
from fhir_server.fhir_json import dump, parse
from fhir_server.http import headers
from fhir_server.interactions import routes
from fhir_server.interactions.bundle import bundle
from fhir_server.interactions.call import Answer, Call, Services, refusal
from fhir_server.interactions.capabilities import capability_statement
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.perform import perform

MOST_PAIRS = 500


class FhirEndpoint:
    """Serves everything below the FHIR base."""

    def __init__(self, use: Services, bearer: Bearer, *, base: str, version: str) -> None:
        self._use = use
        self._bearer = bearer
        self._base = base
        self._metadata = dump(
            capability_statement(
                use.registry, base=base, version=version, update_as_create=use.settings.update_as_create
            )
        )

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            answer = await self._answer(request)
        except Problem as problem:
            answer = refusal(problem)
            if isinstance(problem, Unauthenticated):
                await self._record_stranger(request)
        made = {**answer.headers, "Cache-Control": "no-store"}
        if answer.body:
            made["Content-Type"] = f"{headers.JSON}; charset=utf-8"
        if request.method == "HEAD":
            return Response(b"", answer.status, {**made, "Content-Length": str(len(answer.body))})
        return Response(answer.body, answer.status, made)

    async def _answer(self, request: Request) -> Answer:
        path = request.path_params.get("path")
        parts = tuple(path.split("/")) if path else ()
        if parts == ("metadata",) and request.method in ("GET", "HEAD"):
            headers.check_accept(request.headers.get("accept"), request.query_params.get("_format"))
            return Answer(200, self._metadata)
        requester = self._bearer.verify(headers.bearer(request.headers.get("authorization")), now=time.time())
        stranger = Call(requester, self._base)
        # What cannot even be read is a refusal as well, and recorded like one.
        asked = routes.interaction_of(request.method, parts, ()) or routes.Request("batch", request.method, None, None)
        return await perform(self._use, stranger, asked, lambda: self._read(request, requester, parts))

    async def _read(self, request: Request, requester: Requester, parts: tuple[str, ...]) -> Answer:
        """Return the answer to a request once all of it is read."""
        pairs = query_pairs(request.scope["query_string"])
        headers.check_accept(request.headers.get("accept"), dict(pairs).get("_format"))
        asked = routes.interaction_of(request.method, parts, pairs)
        if asked is None:
            if allowed := routes.methods_of(parts):
                raise NotAllowed(f"Here only {', '.join(allowed)} can be used.", methods=allowed)
            raise Absent("There is nothing at this URL.")
        if "if-none-exist" in request.headers:
            raise UnsupportedParameter("Conditional creates (If-None-Exist) are not supported.")
        lenient, returns = headers.preferences(request.headers.get("prefer"))
        call = Call(
            requester,
            self._base,
            lenient=lenient,
            returns=returns,
            if_match=headers.if_match(request.headers.get("if-match")),
            if_none_match=headers.if_none_match(request.headers.get("if-none-match")),
            if_modified_since=headers.if_modified_since(request.headers.get("if-modified-since")),
        )
        asked, body = await self._with_body(request, asked)
        if asked.type is None:
            return await perform(self._use, call, asked, lambda: bundle(self._use, call, body))
        return await perform(self._use, call, asked, lambda: asked.run(self._use, call, body))

    async def _with_body(self, request: Request, asked: routes.Request) -> tuple[routes.Request, Any]:
        """Return the request with the parameters of its form, and the parsed body of a write."""
        if asked.posted:
            headers.check_content(request.headers.get("content-type"), form=True)
            form = query_pairs(await self._body(request))
            return replace(asked, pairs=(*asked.pairs, *form)), None
        if asked.method not in ("POST", "PUT"):
            return asked, None
        if any(name not in ("_format", "_pretty") for name in request.query_params):
            raise UnsupportedParameter("Conditional interactions are not supported.")
        headers.check_content(request.headers.get("content-type"))
        return asked, parse(await self._body(request))

    async def _body(self, request: Request) -> bytes:
        most = self._use.settings.max_body_bytes
        if int(request.headers.get("content-length") or 0) > most:
            raise TooLarge(f"The body is larger than {most} bytes.")
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise TooLarge(f"The body is larger than {most} bytes.")
                chunks.append(chunk)
        except ClientDisconnect as error:
            raise InvalidRequest("The body ended early.") from error
        return b"".join(chunks)

    async def _record_stranger(self, request: Request) -> None:
        interaction = "read" if request.method == "GET" else "batch"
        happening = Happening(interaction, Outcome.REFUSED, 401, note="login")
        await self._use.audit.record(happening, None, at=self._use.now())


def query_pairs(raw: bytes) -> Pairs:
    """Return the parameters of a query string or form, in order, decoded. Raises InvalidRequest if it is not one."""
    try:
        text = raw.decode("ascii")
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PAIRS))
    except ValueError as error:
        raise InvalidRequest("The query cannot be read: percent-encode it as UTF-8.") from error
