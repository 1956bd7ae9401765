"""A request as it comes: its path, headers and body; nothing of what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope

from fhir_server.errors import InvalidRequest, TooLarge
from fhir_server.http.media import Presentation
from fhir_server.interactions.cursor import Pairs

Parts = tuple[str, ...]


@dataclass(slots=True)
class Incoming:
    """One request to the FHIR base.

    parts: the segments of the path below the base. headers: by names in small letters; one sent in several lines is
    joined (RFC 9110, 5.3). pairs: the parameters of the query, and of a form, once they are read. how: how to answer,
    once it is known.
    """

    method: str
    parts: Parts
    headers: dict[str, str]
    query: bytes
    receive: Receive
    pairs: Pairs | None = None
    how: Presentation | None = None

    async def body(self, *, most: int) -> bytes:
        """Return the body. Raises TooLarge beyond most bytes, InvalidRequest if it ends early."""
        announced = self.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            raise _too_large(most)
        chunks, size, more = list[bytes](), 0, True
        while more:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("The body ended early.")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > most:
                raise _too_large(most)
            more = message.get("more_body", False)
        return b"".join(chunks)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most} bytes.")


def incoming(scope: Scope, receive: Receive) -> Incoming:
    """Return the request of an ASGI scope whose route has the parameter "path"."""
    path = scope["path_params"].get("path")
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    parts = tuple(path.split("/")) if path else ()
    return Incoming(scope["method"], parts, headers, scope["query_string"], receive)
