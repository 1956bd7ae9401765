"""PUT [base]/[type]/[id] — FHIR R4 RESTful API, "update"."""

from __future__ import annotations

from typing import Any

from fhir_server.interactions import changes
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.changes import store, written_answer


async def update(use: Services, call: Call, type: str, id: str, resource: Any) -> Answer:
    """Store the next version of a resource, or the first under a client's own id."""
    draft = await changes.update(use, call, type, id, resource)
    (version,) = await store(use, call, "update", [draft])
    return written_answer(call, version, 200 if draft.old else 201)
