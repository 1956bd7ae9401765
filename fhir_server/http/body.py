"""Reading the body of a request: how much, of which media type, and as what.

Source: FHIR R4 RESTful API, "Content Types and encodings", "patch", "search", and Operations, "Executing an Operation".
"""

from __future__ import annotations

import codecs
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool

from fhir_server.errors import InvalidRequest, UnsupportedMedia
from fhir_server.fhir_json import parse
from fhir_server.http import binary, media
from fhir_server.http.incoming import Incoming
from fhir_server.http.media import Format
from fhir_server.http.representation import LONG
from fhir_server.interactions import routes
from fhir_server.interactions.cursor import Pairs
from fhir_server.xml.read import from_xml

MOST_PAIRS = 500
_FORMATS = " or ".join(each.value for each in Format)


async def with_body(request: Incoming, asked: routes.Request, *, most: int) -> tuple[routes.Request, Any]:
    """Return the interaction with the parameters of a form added, and the JSON value of the body; None without one.

    most: bytes. Raises TooLarge, UnsupportedMedia, InvalidRequest or InvalidResource.
    """
    if asked.method not in ("POST", "PUT", "PATCH"):
        return asked, None
    content_type = request.headers.get("content-type")
    form = asked.posted or (asked.interaction == "operation" and media.is_form(content_type))
    if not form:
        _check(asked, content_type, bare=request.headers.get("content-length", "") == "0")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("Send the body without a Content-Encoding.")
    raw = await request.body(most=most)
    if not form:
        return asked, await _value(request, asked, content_type, raw)
    if raw and not media.is_form(content_type):
        raise UnsupportedMedia(f"Parameters in a body are sent as {media.FORM}.")
    return replace(asked, pairs=(*asked.pairs, *query_pairs(raw))), None


def query_pairs(raw: bytes) -> Pairs:
    """Return the parameters of a query string or form, in order, decoded. Raises InvalidRequest if it is not one."""
    if not raw:
        return ()
    try:
        text = raw.decode("ascii")
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PAIRS))
    except ValueError as error:
        raise InvalidRequest("The query cannot be read: percent-encode it as UTF-8.") from error


def _check(asked: routes.Request, content_type: str | None, *, bare: bool) -> None:
    """Raise UnsupportedMedia unless a body of this type can be read here, before any of it is."""
    if media.sent(content_type) is not None or (asked.interaction == "operation" and (bare or not content_type)):
        return
    if asked.interaction == "patch":
        if media.media(content_type or "").name == media.JSON_PATCH:
            return
        problem = UnsupportedMedia(f"Send a JSON Patch as {media.JSON_PATCH}, a FHIRPath Patch as {_FORMATS}.")
        problem.headers = {"Accept-Patch": ", ".join((media.JSON_PATCH, *(each.value for each in Format)))}
        raise problem
    if not (content_type and _is_content(asked)):
        raise UnsupportedMedia(f"Send the body as {_FORMATS}.")


def _is_content(asked: routes.Request) -> bool:
    return asked.type == "Binary" and asked.interaction in ("create", "update")


async def _value(request: Incoming, asked: routes.Request, content_type: str | None, raw: bytes) -> Any:
    if asked.interaction == "operation" and not raw:
        return None
    form = media.sent(content_type)
    if form is None and _is_content(asked):
        context = request.headers.get("x-security-context")
        return binary.resource_of(str(content_type), raw, id=asked.id, context=context)
    read = from_xml if form is Format.XML else parse
    content = raw.removeprefix(codecs.BOM_UTF8)
    value = await run_in_threadpool(read, content) if len(content) > LONG else read(content)
    if asked.interaction == "patch":
        _check_patch(value, json_patch=form is None)
    return value


def _check_patch(value: Any, *, json_patch: bool) -> None:
    """Raise InvalidRequest unless the body is what its media type says: from here on, a list is a JSON Patch."""
    if json_patch and not isinstance(value, list):
        raise InvalidRequest("A JSON Patch is an array of operations.")
    if not json_patch and not (isinstance(value, dict) and value.get("resourceType") == "Parameters"):
        raise InvalidRequest("A FHIRPath Patch is a Parameters resource.")
