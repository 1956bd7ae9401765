"""The routes of the audit desk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.wiring import guarded
from fhir_server.pages.desk import checking, events, exporting, reviewing
from fhir_server.pages.desk.auditor import Auditor, auditor_of
from fhir_server.pages.desk.checks import Checks
from fhir_server.pages.desk.entering import DESK, ENTER, entering
from fhir_server.pages.rendering import style

Handle = Callable[[Auditor, Request], Awaitable[Response]]
STYLE = "desk.css"
ROWS: tuple[tuple[str, str, Handle], ...] = (
    ("GET", "", events.search),
    ("POST", "", events.take),
    ("POST", "/export", exporting.export),
    ("GET", "/events/{id}", events.event),
    ("GET", "/events/{id}/replay", events.replay),
    ("GET", "/emergencies", reviewing.queue),
    ("GET", "/emergencies/{id}", reviewing.one),
    ("POST", "/emergencies/{id}", reviewing.review),
)


def routes(reception: Reception, checks: Checks) -> list[Route]:
    """Return the routes, each for auditors alone."""

    def handling(handle: Handle) -> Callable[[Request], Awaitable[Response]]:
        async def handled(request: Request) -> Response:
            auditor = await auditor_of(reception, request)
            return auditor if isinstance(auditor, Response) else await handle(auditor, request)

        return guarded(handled)

    rows = (*ROWS, ("GET", "/chain", checking.shown(checks)), ("POST", "/chain", checking.started(checks)))
    pages = [Route(f"{DESK}{path}", handling(handle), methods=[method]) for method, path, handle in rows]
    beside = [
        Route(ENTER, guarded(entering(reception)), methods=["GET"]),
        Route(f"{DESK}/static/{STYLE}", styled, methods=["GET"]),
    ]
    return [*pages, *beside]


async def styled(request: Request) -> Response:
    """Return the style sheet."""
    return style(STYLE)
