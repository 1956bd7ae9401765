"""The routes of the booking's prompt, and what its store needs."""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from starlette.routing import Route

from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.wiring import guarded
from fhir_server.auth.bearer import Bearer
from fhir_server.auth.server.authority import Authority
from fhir_server.pages.prompt.endpoint import PATH, PromptEndpoint
from fhir_server.pages.prompt.page import ANSWER, PromptPage
from fhir_server.pages.prompt.prompts import PROMPTS, Prompts

Database = AsyncDatabase[dict[str, Any]]


async def ensure(database: Database) -> None:
    """Make the index by which MongoDB drops what has ended."""
    await database[PROMPTS].create_index([("until", 1)], name="until", expireAfterSeconds=0)


def routes(database: Database, desk: Reception, authority: Authority, bearer: Bearer) -> list[Route]:
    """Return the routes at [origin]/consent-prompt."""
    prompts = Prompts(database, desk.vault, desk.clock)
    page = PromptPage(desk, authority, prompts)
    return [
        Route(PATH, guarded(page.get), methods=["GET"]),
        Route(PATH, PromptEndpoint(desk, authority, bearer, prompts).post, methods=["POST"]),
        Route(ANSWER, guarded(page.post), methods=["POST"]),
    ]
