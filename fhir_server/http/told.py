"""A response as it leaves, as an ASGI application: a status, headers, and a body that is all there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

# RFC 9110, 8.6: nothing is said of the length of what these have not.
WITHOUT_LENGTH = frozenset({204, 304})


class Told(NamedTuple):
    """length: of the body in bytes; to HEAD, of the body that GET would give."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    length: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        said = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.status not in WITHOUT_LENGTH:
            said.append((b"content-length", b"%d" % self.length))
        await send({"type": "http.response.start", "status": self.status, "headers": said})
        await send({"type": "http.response.body", "body": self.body})
