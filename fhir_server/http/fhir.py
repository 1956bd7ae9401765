"""The FHIR endpoint: one handler reads the request, has it carried out, and writes the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.audit.event import Happening, Outcome
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.requester import Requester
from fhir_server.errors import (
    Absent,
    InvalidRequest,
    NotAcceptable,
    NotAllowed,
    Problem,
    Unauthenticated,
    UnsupportedParameter,
)
from fhir_server.fhir_json import parse
from fhir_server.http import binary, headers, media
from fhir_server.http.body import query_pairs, with_body
from fhir_server.http.media import Format, Presentation, presentation
from fhir_server.http.metadata import Metadata
from fhir_server.http.representation import represented
from fhir_server.interactions import routes
from fhir_server.interactions.bundle import bundle
from fhir_server.interactions.call import Answer, Call, Services, refusal
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.perform import failure, perform

Parts = tuple[str, ...]


class FhirEndpoint:
    """Serves everything below the FHIR base."""

    def __init__(self, use: Services, bearer: Bearer, *, base: str, version: str) -> None:
        self._use = use
        self._bearer = bearer
        self._base = base
        self._metadata = Metadata(use, base=base, version=version)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        path = request.path_params.get("path")
        parts = tuple(path.split("/")) if path else ()
        try:
            if _is_metadata(request, parts):
                return await self._capabilities(request)
            return await self._response(request, parts, await self._answer(request, parts))
        except NotAcceptable as problem:
            return _told(request, {"Content-Type": _content_type(Format.JSON)}, refusal(problem))
        except Exception as error:  # where perform() does not reach: a token, a form of the answer
            return _told(request, {"Content-Type": _content_type(Format.JSON)}, failure(error, "an answer"))

    async def _capabilities(self, request: Request) -> Response:
        how = _presentation(request, _pairs(request))
        body = await self._metadata.shown(how)
        return _told(request, {"Content-Type": _content_type(how.format)}, Answer(200, body))

    async def _answer(self, request: Request, parts: Parts) -> Answer:
        try:
            return await self._known(request, parts)
        except Problem as problem:
            if isinstance(problem, Unauthenticated):
                await self._record_stranger(request)
            return refusal(problem)

    async def _known(self, request: Request, parts: Parts) -> Answer:
        """Return the answer to somebody who is known. Raises Unauthenticated."""
        requester = self._bearer.verify(headers.bearer(request.headers.get("authorization")), now=time.time())
        stranger = Call(requester, self._base)
        # What cannot even be read is a refusal as well, and recorded like one.
        asked = routes.interaction_of(request.method, parts, ()) or routes.Request("batch", request.method, None, None)
        return await perform(self._use, stranger, asked, lambda use: self._read(request, requester, parts))

    async def _read(self, request: Request, requester: Requester, parts: Parts) -> Answer:
        """Return the answer to a request once all of it is read."""
        pairs = request.state.pairs = query_pairs(request.scope["query_string"])
        if not binary.is_content(request.method, parts):
            _presentation(request, pairs)
        asked = routes.interaction_of(request.method, parts, media.without_form(pairs))
        if asked is None:
            if allowed := _methods(parts):
                raise NotAllowed(f"Here only {', '.join(allowed)} can be used.", methods=allowed)
            raise Absent("There is nothing at this URL.")
        if asked.pairs and (asked.interaction in ("create", "batch") or _writes_one(asked)):
            raise UnsupportedParameter("This interaction takes no parameters beside _format and _pretty.")
        call = self._call(request, requester, asked)
        asked, body = await with_body(request, asked, most=self._use.settings.max_body_bytes)
        if asked.method == "POST" and asked.pairs:  # a form may say as well how to answer
            request.state.pairs = (*pairs, *asked.pairs)
            _presentation(request, request.state.pairs)
            asked = replace(asked, pairs=media.without_form(asked.pairs))
        if asked.interaction == "batch":
            return await perform(self._use, call, asked, lambda use: bundle(use, call, body))
        return await perform(self._use, call, asked, lambda use: asked.run(use, call, body))

    def _call(self, request: Request, requester: Requester, asked: routes.Request) -> Call:
        given = request.headers
        lenient, returns = headers.preferences(headers.combined(given, "prefer"))
        return Call(
            requester,
            self._base,
            lenient=lenient,
            returns=returns,
            if_match=headers.if_match(given.get("if-match")),
            if_none_match=headers.if_none_match(headers.combined(given, "if-none-match")),
            if_modified_since=headers.if_modified_since(given.get("if-modified-since")),
            if_none_exist=headers.if_none_exist(given.get("if-none-exist")) if asked.interaction == "create" else None,
        )

    async def _response(self, request: Request, parts: Parts, answer: Answer) -> Response:
        """Return an answer as the client takes it. Raises NotAcceptable if there is no such form."""
        if not answer.body:
            return _told(request, {}, answer)
        pairs = _pairs(request)
        if answer.status == 200 and binary.is_content(request.method, parts):
            content = binary.content_of(parse(answer.body), headers.combined(request.headers, "accept"), pairs)
            if content is not None:
                return _told(request, {"Content-Type": content[0], **binary.HEADERS}, replace(answer, body=content[1]))
        try:
            how = _presentation(request, pairs)
        except NotAcceptable:
            if answer.status < 400:
                raise
            how = Presentation()  # a refusal is told in any case
        body = await represented(answer.body, how)
        return _told(request, {"Content-Type": _content_type(how.format)}, replace(answer, body=body))

    async def _record_stranger(self, request: Request) -> None:
        interaction = "read" if request.method == "GET" else "batch"
        happening = Happening(interaction, Outcome.REFUSED, 401, note="login")
        await self._use.audit.record(happening, None, at=self._use.now())


def _told(request: Request, about: Mapping[str, str], answer: Answer) -> Response:
    """Return the response of an answer whose body is as it leaves; about: headers that tell of the body."""
    made = {**answer.headers, **about, "Cache-Control": "no-store"}
    if request.method == "HEAD" and answer.body:
        return Response(b"", answer.status, {**made, "Content-Length": str(len(answer.body))})
    return Response(answer.body, answer.status, made)


def _is_metadata(request: Request, parts: Parts) -> bool:
    return parts == ("metadata",) and request.method in ("GET", "HEAD")


def _writes_one(asked: routes.Request) -> bool:
    return asked.id is not None and asked.interaction in ("update", "patch", "delete")


def _methods(parts: Parts) -> list[str]:
    """Return the methods that can be used on a path, HEAD among them where GET is."""
    return [each for method in routes.methods_of(parts) for each in (("GET", "HEAD") if method == "GET" else (method,))]


def _presentation(request: Request, pairs: Pairs) -> Presentation:
    return presentation(headers.combined(request.headers, "accept"), request.headers.get("content-type"), pairs)


def _pairs(request: Request) -> Pairs:
    """Return the parameters of a request, those of a form as well once it was read; none if they cannot be read."""
    if hasattr(request.state, "pairs"):
        pairs: Pairs = request.state.pairs
        return pairs
    try:
        return query_pairs(request.scope["query_string"])
    except InvalidRequest:
        return ()


def _content_type(format: Format) -> str:
    return f"{format.value}; charset=utf-8"
