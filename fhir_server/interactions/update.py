"""PUT [base]/[type]/[id] and [base]/[type]?… — FHIR R4 RESTful API, "update" and "Conditional update"."""

from __future__ import annotations

from typing import Any

from fhir_server.errors import Absent, Conflict, InvalidRequest, PreconditionFailed
from fhir_server.interactions import changes, conditional
from fhir_server.interactions.call import Answer, Call, Services, within_scopes
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.storing import again, store, written_answer
from fhir_server.store.drafts import Draft
from fhir_server.store.resources import Document


async def update(use: Services, call: Call, type: str, id: str | None, resource: Any, pairs: Pairs = ()) -> Answer:
    """Store the next version of a resource, or the first under a client's own id.

    id: None for a conditional update, whose condition the pairs are.
    """
    if id is None:
        condition = conditional.condition(type, pairs)
        return await again(lambda: _update_match(use, call, type, resource, condition))
    draft = await changes.update(use, call, type, id, resource)
    (version,) = await store(use, call, "update", [draft])
    return written_answer(call, version, 200 if draft.old else 201)


async def _update_match(
    use: Services, call: Call, type: str, resource: Any, condition: conditional.Condition
) -> Answer:
    changes.may_write(use, call, type)
    within_scopes(call, type, "u")
    guard = await conditional.guard(use, call, condition)
    match = await conditional.only(use, call, condition)
    if match is None:
        draft = await made(use, call, type, resource)
        (version,) = await store(use, call, "update", [draft], guards=[guard], query=condition.query, tries=1)
        return written_answer(call, version, 200 if draft.old else 201)
    draft = await replaced(use, call, type, str(match["_id"]), resource)
    (version,) = await store(use, call, "update", [draft], query=condition.query, tries=1)
    return written_answer(call, version, 200)


async def made(use: Services, call: Call, type: str, resource: Any, *, id: str | None = None) -> Draft:
    """Return the draft of a conditional update whose condition matches nothing.

    With an id in the body it is an update that creates, without one a create. id: the one to create under.
    Raises Conflict if there is a resource of the body's id that the condition does not match (R4 leaves this open, R5
    says so).
    """
    if isinstance(resource, dict) and "id" in resource:
        draft = await changes.update(use, call, type, str(resource["id"]), resource)
        if draft.old is not None:
            raise Conflict("The condition matches nothing, and there is a resource of this id already.")
        return draft
    if call.if_match is not None:
        raise PreconditionFailed("If-Match names a version, and the condition matches nothing.")
    return await changes.creation(use, call, type, resource, id=id)


async def replaced(use: Services, call: Call, type: str, id: str, resource: Any) -> Draft:
    """Return the draft of a conditional update of what its condition matches."""
    if isinstance(resource, dict) and resource.get("id", id) != id:
        raise InvalidRequest("The condition matches another resource than the one of this id.", expression=f"{type}.id")

    async def whole(old: Document) -> Any:
        return {**resource, "id": id} if isinstance(resource, dict) else resource

    try:
        return await changes.amendment(use, call, type, id, whole)
    except Absent:
        raise await conditional.lost(use, call, type, id) from None
