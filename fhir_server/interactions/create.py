"""POST [base]/[type] — FHIR R4 RESTful API, "create" and "Conditional create"."""

from __future__ import annotations

from typing import Any

from fhir_server.interactions import conditional
from fhir_server.interactions.call import Answer, Call, Services, within_scopes
from fhir_server.interactions.changes import creation, may_write
from fhir_server.interactions.storing import again, existing, store, written_answer

KEPT = "Nothing was stored: the condition matches a resource."


async def create(use: Services, call: Call, type: str, resource: Any) -> Answer:
    """Store a new resource under an id of the server's; an id in the body is ignored, as R4 demands.

    With If-None-Exist only if the condition matches nothing that the requester may see; what it matches is the answer.
    """
    if call.if_none_exist is not None:
        condition = conditional.condition_in(type, call.if_none_exist)
        return await again(lambda: _create_unless(use, call, type, resource, condition))
    draft = await creation(use, call, type, resource)
    (version,) = await store(use, call, "create", [draft])
    return written_answer(call, version, 201)


async def _create_unless(
    use: Services, call: Call, type: str, resource: Any, condition: conditional.Condition
) -> Answer:
    may_write(use, call, type)
    within_scopes(call, type, "c")
    guard = await conditional.guard(use, call, condition)
    match = await conditional.only(use, call, condition)
    if match is not None:
        return written_answer(call, await existing(use, call, type, match), 200, KEPT)
    draft = await creation(use, call, type, resource)
    (version,) = await store(use, call, "create", [draft], guards=[guard], query=condition.query, tries=1)
    return written_answer(call, version, 201)
