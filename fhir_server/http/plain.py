"""What is served beside FHIR, and its OpenAPI 3.1 description: both made from one table of endpoints.

The FHIR API describes itself in FHIR's own way, at [base]/metadata, and the authorization server in RFC 8414's, below
/.well-known; nothing of them is repeated here.
Source: OpenAPI Specification 3.1.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Json = dict[str, Any]
OPENAPI = "3.1.0"


@dataclass(frozen=True, slots=True)
class Answers:
    """What one status of an endpoint means, and the JSON Schema of its body."""

    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path that is asked by GET. answers: by status."""

    path: str
    name: str
    summary: str
    answers: Mapping[int, Answers]
    run: Callable[[], Awaitable[tuple[int, Json]]]

    def route(self) -> Route:
        async def handle(request: Request) -> Response:
            status, body = await self.run()
            return JSONResponse(body, status, headers={"Cache-Control": "no-store"})

        return Route(self.path, handle, methods=["GET"], name=self.name)

    def described(self) -> Json:
        """Return the OpenAPI path item."""
        responses = {
            str(status): {
                "description": said.description,
                "content": {"application/json": {"schema": dict(said.schema)}},
            }
            for status, said in self.answers.items()
        }
        return {"get": {"operationId": self.name, "summary": self.summary, "responses": responses}}


def strings(**values: tuple[str, ...]) -> Json:
    """Return the schema of an object that holds these strings, each one of those given, or any if none is."""
    return {
        "type": "object",
        "required": list(values),
        "properties": {name: {"type": "string", **({"enum": list(of)} if of else {})} for name, of in values.items()},
        "additionalProperties": False,
    }


def health(alive: Callable[[], Awaitable[bool]]) -> Endpoint:
    """Return the endpoint that says whether the server and its database answer. alive: asks the database."""

    async def run() -> tuple[int, Json]:
        if await alive():
            return 200, {"status": "up"}
        return 503, {"status": "down", "why": "MongoDB does not answer"}

    return Endpoint(
        "/health",
        "health",
        "Whether the server can answer requests.",
        {
            200: Answers("It can.", strings(status=("up",))),
            503: Answers("It cannot.", strings(status=("down",), why=())),
        },
        run,
    )


def description(endpoints: Iterable[Endpoint], *, version: str) -> Endpoint:
    """Return the endpoint that gives the OpenAPI description of the others and of itself."""
    document: Json = {}

    async def run() -> tuple[int, Json]:
        return 200, document

    itself = Endpoint(
        "/openapi.json",
        "description",
        "This description.",
        {200: Answers("An OpenAPI document.", {"type": "object", "required": ["openapi", "info", "paths"]})},
        run,
    )
    document.update(
        openapi=OPENAPI,
        info={"title": "FHIR Facade", "summary": "What is served beside the FHIR API.", "version": version},
        paths={each.path: each.described() for each in (*endpoints, itself)},
    )
    return itself
