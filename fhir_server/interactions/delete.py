"""DELETE [base]/[type]/[id] — FHIR R4 RESTful API, "delete"."""

from __future__ import annotations

from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.changes import deletion, store


async def delete(use: Services, call: Call, type: str, id: str) -> Answer:
    """Delete a resource; its versions stay in the history. What is deleted already stays deleted."""
    removal = await deletion(use, call, type, id)
    await store(use, call, "delete", [], [removal])
    return Answer(204, headers={"ETag": f'W/"{removal.old["v"] + 1}"'} if removal.old else {})
