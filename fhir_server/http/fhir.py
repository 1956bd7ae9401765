"""The FHIR endpoint: one handler reads the request, has it carried out, and writes the answer."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fhir_server.audit.event import Happening, Outcome
from fhir_server.auth.bearer import Bearer
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
from fhir_server.interactions.bundle import bundle, version_of
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
        except ClientDisconnect:
            return Response(status_code=400)
        made = {key: value for key, value in answer.headers.items()}
        if answer.body:
            made["Content-Type"] = f"{headers.JSON}; charset=utf-8"
        made["Cache-Control"] = "no-store"
        body = b"" if request.method == "HEAD" else answer.body
        return Response(body, answer.status, made)

    async def _answer(self, request: Request) -> Answer:
        pairs = query_pairs(request.scope["query_string"])
        headers.check_accept(request.headers.get("accept"), dict(pairs).get("_format"))
        path = request.path_params.get("path")
        parts = tuple(path.split("/")) if path else ()
        if parts == ("metadata",) and request.method in ("GET", "HEAD"):
            return Answer(200, self._metadata)
        requester = self._bearer.verify(headers.bearer(request.headers.get("authorization")), now=time.time())
        asked = routes.interaction_of(request.method, parts, pairs)
        if asked is None:
            if allowed := routes.methods_of(parts):
                raise NotAllowed(f"Here only {', '.join(allowed)} can be used.")
            raise Absent("There is nothing at this URL.")
        lenient, returns = headers.preferences(request.headers.get("prefer"))
        call = Call(
            requester,
            self._base,
            lenient=lenient,
            returns=returns,
            if_match=headers.if_match(request.headers.get("if-match")),
            if_none_match=_version(request.headers.get("if-none-match")),
            if_modified_since=headers.if_modified_since(request.headers.get("if-modified-since")),
        )
        if "if-none-exist" in request.headers:
            raise UnsupportedParameter("Conditional creates (If-None-Exist) are not supported.")
        return await self._perform(request, call, asked, pairs)

    async def _perform(self, request: Request, call: Call, asked: routes.Request, pairs: Pairs) -> Answer:
        use = self._use

        async def run() -> Answer:
            if asked.posted:
                headers.check_content(request.headers.get("content-type"), form=True)
                form = query_pairs(await self._body(request))
                return await routes.Request(
                    asked.interaction, asked.method, asked.type, None, pairs=(*pairs, *form), posted=True
                ).run(use, call, None)
            if asked.method not in ("POST", "PUT"):
                return await asked.run(use, call, None)
            if pairs and any(name not in ("_format", "_pretty") for name, _ in pairs):
                raise UnsupportedParameter("Conditional interactions are not supported.")
            headers.check_content(request.headers.get("content-type"))
            body = parse(await self._body(request))
            return await (bundle(use, call, body) if asked.type is None else asked.run(use, call, body))

        return await perform(use, call, asked, run)

    async def _body(self, request: Request) -> bytes:
        most = self._use.settings.max_body_bytes
        if int(request.headers.get("content-length") or 0) > most:
            raise TooLarge(f"The body is larger than {most} bytes.")
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise TooLarge(f"The body is larger than {most} bytes.")
            chunks.append(chunk)
        return b"".join(chunks)

    async def _record_stranger(self, request: Request) -> None:
        happening = Happening("read" if request.method == "GET" else "batch", Outcome.REFUSED, 401, note="login")
        await self._use.audit.record(happening, None, at=self._use.now())


def query_pairs(raw: bytes) -> Pairs:
    """Return the parameters of a query string or form, in order, decoded. Raises InvalidRequest if it is not one."""
    try:
        text = raw.decode("ascii")
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PAIRS))
    except ValueError as error:
        raise InvalidRequest("The query cannot be read: percent-encode it as UTF-8.") from error


def _version(etag: str | None) -> str | None:
    return None if etag is None else version_of(etag)
