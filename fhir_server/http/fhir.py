"""The FHIR endpoint: one handler reads the request, has it carried out, and writes the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, NoReturn

from starlette.types import Receive, Scope, Send

from fhir_server.audit.event import Happening, Outcome
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.requester import Requester
from fhir_server.errors import (
    Absent,
    InvalidRequest,
    NotAcceptable,
    NotAllowed,
    Unauthenticated,
    UnsupportedParameter,
)
from fhir_server.fhir_json import parse
from fhir_server.http import binary, headers, media
from fhir_server.http.body import query_pairs, with_body
from fhir_server.http.incoming import Incoming, Parts, incoming
from fhir_server.http.media import Format, Presentation, presentation
from fhir_server.http.metadata import Metadata
from fhir_server.http.representation import represented
from fhir_server.http.told import Told
from fhir_server.interactions import routes
from fhir_server.interactions.call import Answer, Call, Services, refusal
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.perform import failure, perform
from fhir_server.interactions.transactions.bundle import bundle


class Understood(NamedTuple):
    """A request of which everything is read."""

    call: Call
    asked: routes.Request
    body: Any


class FhirEndpoint:
    """Serves everything below the FHIR base, as an ASGI application."""

    def __init__(self, use: Services, bearer: Bearer, *, base: str, version: str) -> None:
        self._use = use
        self._bearer = bearer
        self._base = base
        self._metadata = Metadata(use, base=base, version=version)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._response(incoming(scope, receive))
        await response(scope, receive, send)

    async def _response(self, request: Incoming) -> Told:
        try:
            if _is_metadata(request):
                return await self._capabilities(request)
            return await _written(request, await self._answer(request))
        except NotAcceptable as problem:
            return _told(request, {"Content-Type": _content_type(Format.JSON)}, refusal(problem))
        except Exception as error:  # where perform() does not reach: a token, a form of the answer
            return _told(request, {"Content-Type": _content_type(Format.JSON)}, failure(error, "an answer"))

    async def _capabilities(self, request: Incoming) -> Told:
        how = _presentation(request, _pairs(request))
        body = await self._metadata.shown(how)
        return _told(request, {"Content-Type": _content_type(how.format)}, Answer(200, body))

    async def _answer(self, request: Incoming) -> Answer:
        try:
            requester = await self._verified(request)
        except Unauthenticated as problem:
            await self._record_stranger(request)
            return refusal(problem)
        return await self._known(request, requester)

    async def _verified(self, request: Incoming) -> Requester:
        token = headers.bearer(request.headers.get("authorization"))
        return await self._bearer.requester(token, now=time.time())

    async def _known(self, request: Incoming, requester: Requester) -> Answer:
        """Return the answer to somebody who is known."""
        place = routes.interaction_of(request.method, request.parts, ())
        try:
            call, asked, body = await self._read(request, requester, place)
        except Exception as problem:  # what cannot even be read is a refusal as well, and recorded like one
            unread = place or routes.Request("batch", request.method, None, None)
            return await perform(self._use, Call(requester, self._base), unread, partial(_raise, problem))
        if asked.interaction == "batch":
            return await perform(self._use, call, asked, lambda use: bundle(use, call, body))
        return await perform(self._use, call, asked, lambda use: asked.run(use, call, body))

    async def _read(self, request: Incoming, requester: Requester, place: routes.Request | None) -> Understood:
        """Return a request once all of it is read. place: what is asked for as far as method and path say."""
        request.pairs = query_pairs(request.query)
        if not binary.is_content(request.method, request.parts):
            request.how = _presentation(request, request.pairs)
        if place is None:
            if allowed := _methods(request.parts):
                raise NotAllowed(f"Here only {', '.join(allowed)} can be used.", methods=allowed)
            raise Absent("There is nothing at this URL.")
        pairs = media.without_form(request.pairs)
        asked = replace(place, pairs=pairs) if pairs else place
        if asked.pairs and (asked.interaction in ("create", "batch") or _writes_one(asked)):
            raise UnsupportedParameter("This interaction takes no parameters beside _format and _pretty.")
        call = self._call(request, requester, asked)
        asked, body = await with_body(request, asked, most=self._use.settings.max_body_bytes)
        if asked.method == "POST" and asked.pairs:  # a form may say as well how to answer
            request.pairs = (*request.pairs, *asked.pairs)
            request.how = _presentation(request, request.pairs)
            asked = replace(asked, pairs=media.without_form(asked.pairs))
        return Understood(call, asked, body)

    def _call(self, request: Incoming, requester: Requester, asked: routes.Request) -> Call:
        given = request.headers
        if headers.SAYING.isdisjoint(given):
            return Call(requester, self._base)
        lenient, returns = headers.preferences(given.get("prefer"))
        return Call(
            requester,
            self._base,
            lenient=lenient,
            returns=returns,
            if_match=headers.if_match(given.get("if-match")),
            if_none_match=headers.if_none_match(given.get("if-none-match")),
            if_modified_since=headers.if_modified_since(given.get("if-modified-since")),
            if_none_exist=headers.if_none_exist(given.get("if-none-exist")) if asked.interaction == "create" else None,
            remark=headers.remark(given, requester.purpose),
        )

    async def _record_stranger(self, request: Incoming) -> None:
        interaction = "read" if request.method == "GET" else "batch"
        happening = Happening(interaction, Outcome.REFUSED, 401, note="login")
        await self._use.audit.record(happening, None, at=self._use.now())


async def _raise(problem: Exception, use: Services) -> NoReturn:
    raise problem


async def _written(request: Incoming, answer: Answer) -> Told:
    """Return an answer as the client takes it. Raises NotAcceptable if there is no such form."""
    if not answer.body:
        return _told(request, {}, answer)
    if answer.status == 200 and binary.is_content(request.method, request.parts):
        content = binary.content_of(parse(answer.body), request.headers.get("accept"), _pairs(request))
        if content is not None:
            return _told(request, {"Content-Type": content[0], **binary.HEADERS}, replace(answer, body=content[1]))
    try:
        how = request.how or _presentation(request, _pairs(request))
    except NotAcceptable:
        if answer.status < 400:
            raise
        how = Presentation()  # a refusal is told in any case
    body = await represented(answer.body, how)
    return _told(request, {"Content-Type": _content_type(how.format)}, replace(answer, body=body))


def _told(request: Incoming, about: Mapping[str, str], answer: Answer) -> Told:
    """Return the response of an answer whose body is as it leaves; about: headers that tell of the body."""
    body = b"" if request.method == "HEAD" else answer.body
    return Told(answer.status, {**answer.headers, **about, "Cache-Control": "no-store"}, body, len(answer.body))


def _is_metadata(request: Incoming) -> bool:
    return request.parts == ("metadata",) and request.method in ("GET", "HEAD")


def _writes_one(asked: routes.Request) -> bool:
    return asked.id is not None and asked.interaction in ("update", "patch", "delete")


def _methods(parts: Parts) -> list[str]:
    """Return the methods that can be used on a path, HEAD among them where GET is."""
    return [each for method in routes.methods_of(parts) for each in (("GET", "HEAD") if method == "GET" else (method,))]


def _presentation(request: Incoming, pairs: Pairs) -> Presentation:
    return presentation(request.headers.get("accept"), request.headers.get("content-type"), pairs)


def _pairs(request: Incoming) -> Pairs:
    """Return the parameters of a request, those of a form as well once it was read; none if they cannot be read."""
    if request.pairs is not None:
        return request.pairs
    try:
        return query_pairs(request.query)
    except InvalidRequest:
        return ()


def _content_type(format: Format) -> str:
    return f"{format.value}; charset=utf-8"
