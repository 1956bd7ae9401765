"""POST [base]/[type] — FHIR R4 RESTful API, "create"."""

from __future__ import annotations

from typing import Any

from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.changes import creation, store, written_answer


async def create(use: Services, call: Call, type: str, resource: Any) -> Answer:
    """Store a new resource under an id of the server's; an id in the body is ignored, as R4 demands."""
    draft = await creation(use, call, type, resource)
    (version,) = await store(use, call, "create", [draft])
    return written_answer(call, version, 201)
