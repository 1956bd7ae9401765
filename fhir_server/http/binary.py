"""A Binary's content as itself instead of within a resource.

Source: FHIR R4 Binary, "Serving Binary Resources using the RESTful API".
"""

from __future__ import annotations

import base64
import re
from typing import Any

from fhir_server.http.media import media, native_ranges
from fhir_server.interactions.cursor import Pairs

# What a response header can say; a Binary of another contentType stays a resource.
_MEDIA_TYPE = re.compile(r"[\w.+!#$&^-]+/[\w.+!#$&^-]+( ?;[\x20-\x7e]*)?", re.ASCII)
# Content of others must not act in the name of this server in a browser.
HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}


def is_content(method: str, parts: tuple[str, ...]) -> bool:
    """Return whether a request may be answered with a Binary's content: its read or vread."""
    match parts:
        case ("Binary", _) | ("Binary", _, "_history", _):
            return method in ("GET", "HEAD") and not parts[1].startswith(("_", "$")) and not parts[-1].startswith("$")
    return False


def content_of(resource: dict[str, Any], accept: str | None, pairs: Pairs) -> tuple[str, bytes] | None:
    """Return the media type and content of a Binary, None if it is to be answered as a resource.

    pairs: any parameter asks for the resource: _format for one of its forms, _summary and _elements for parts of it.
    Raises NotAcceptable if the client takes neither.
    """
    type, data = resource.get("contentType", ""), resource.get("data")
    if pairs or data is None or not _MEDIA_TYPE.fullmatch(type):
        return None
    ranges = [each.name for each in native_ranges(accept)]
    own = media(type).name
    if {own, own.partition("/")[0] + "/*", "*/*"}.isdisjoint(ranges):
        return None
    return type, base64.b64decode(data)


def resource_of(content_type: str, content: bytes, *, id: str | None, context: str | None) -> dict[str, Any]:
    """Return the Binary of content that was sent as itself.

    context: the reference of the header X-Security-Context, which says by whose access rights it is to be kept.
    """
    return {
        "resourceType": "Binary",
        **({"id": id} if id else {}),
        "contentType": content_type,
        **({"securityContext": {"reference": context}} if context else {}),
        "data": base64.b64encode(content).decode(),
    }
