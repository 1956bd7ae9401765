"""Where a request comes from: the address that an AuditEvent names as its client's.

It is noted for all that is done for the request, however deep, and for nothing else. Behind a proxy it is what the proxy
says (X-Forwarded-For), if uvicorn trusts it.
"""

from __future__ import annotations

from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

_ADDRESS: ContextVar[str] = ContextVar("address", default="")


class Addressed:
    """An ASGI application around another one, which notes where each request comes from."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the address, and have the request answered."""
        note_address(scope)
        await self._app(scope, receive, send)


def note_address(scope: Scope) -> None:
    """Note where a request comes from, in the context of the task that answers it."""
    if client := scope.get("client"):
        _ADDRESS.set(client[0])


def address() -> str:
    """Return where the present request comes from; "" if it comes from nowhere, as what a command does."""
    return _ADDRESS.get()
