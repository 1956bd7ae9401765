"""How the parts of sign-in and approval are joined, once for each process, and their routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_server.auth.accounts.attempts import ATTEMPTS, KEPT_SECONDS, Attempts
from fhir_server.auth.accounts.browser import error
from fhir_server.auth.accounts.federation import Federation
from fhir_server.auth.accounts.flows import FLOWS, Flows
from fhir_server.auth.accounts.providers import Providers
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.sessions import SESSIONS, Sessions
from fhir_server.auth.accounts.signing_in import SigningIn
from fhir_server.auth.accounts.signing_out import SignOut
from fhir_server.auth.accounts.users import Users
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.authorize import Authorize
from fhir_server.auth.server.launch import LaunchEndpoint
from fhir_server.auth.server.launches import LAUNCHES, Launches
from fhir_server.auth.server.vault import ACCOUNTS, Vault
from fhir_server.crypto.keyring import Keyring
from fhir_server.interactions.call import Services
from fhir_server.interactions.perform import failure
from fhir_server.pages.rendering import STYLE, style
from fhir_server.pages.words import language
from fhir_server.settings import Settings

Database = AsyncDatabase[dict[str, Any]]

_ENDING = IndexModel([("until", ASCENDING)], name="until", expireAfterSeconds=0)
INDEXES = {
    ACCOUNTS: [
        IndexModel([("login", ASCENDING)], name="login", unique=True),
        IndexModel([("subject", ASCENDING)], name="subject", unique=True, sparse=True),
    ],
    SESSIONS: [_ENDING, IndexModel([("account", ASCENDING)], name="account")],
    FLOWS: [_ENDING],
    LAUNCHES: [_ENDING],
    ATTEMPTS: [IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=KEPT_SECONDS)],
}


async def ensure(database: Database) -> None:
    """Make the collections of accounts and what passes, with their indexes."""
    for name, indexes in INDEXES.items():
        await database[name].create_indexes(indexes)


def opened(settings: Settings, keyring: Keyring, database: Database, use: Services, authority: Authority) -> Reception:
    """Return the parts of sign-in of an installation. use: the services under any state of the definitions."""
    vault, clock = Vault(keyring), use.clock
    users = Users(authority.register, vault)
    sessions = Sessions(database, vault, clock, minutes=settings.session_minutes)
    return Reception(
        use=use,
        users=users,
        sessions=sessions,
        flows=Flows(database, vault, clock),
        signing_in=SigningIn(users, sessions, Attempts(database, vault, clock), use.audit, clock),
        launches=Launches(database, vault, clock),
        providers=Providers(settings.identity_providers, redirect_uri=f"{settings.origin}/auth/callback", clock=clock),
        authorizations=authority.authorizations,
        vault=vault,
        origin=settings.origin,
        clock=clock,
    )


def routes(desk: Reception, authority: Authority, bearer: Bearer) -> list[Route]:
    """Return the routes of the pages, and of the endpoint at which EMRs make launch contexts."""
    authorize, federation, leaving = Authorize(desk), Federation(desk, authority), SignOut(desk, authority)

    async def styled(request: Request) -> Response:
        return style()

    return [
        Route("/auth/authorize", guarded(authorize.get), methods=["GET"]),
        Route("/auth/authorize", guarded(authorize.post), methods=["POST"]),
        Route("/auth/sign-in", guarded(authorize.home), methods=["GET"]),
        Route("/auth/sign-out", guarded(leaving.get), methods=["GET"]),
        Route("/auth/sign-out", guarded(leaving.post), methods=["POST"]),
        Route("/auth/provider", guarded(federation.leave), methods=["GET"]),
        Route("/auth/callback", guarded(federation.back), methods=["GET"]),
        Route("/auth/launch", LaunchEndpoint(desk, authority, bearer).post, methods=["POST"]),
        Route(f"/auth/static/{STYLE}", styled, methods=["GET"]),
    ]


def guarded(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that answers what nobody foresaw with a page; it is logged by its kind, without its text."""

    async def answered(request: Request) -> Response:
        try:
            return await handle(request)
        except Exception as problem:
            status = failure(problem, request.url.path).status
            return error("error_server", language(None, request.headers.get("accept-language")), status=status)

    return answered
