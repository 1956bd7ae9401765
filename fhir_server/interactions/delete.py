"""DELETE [base]/[type]/[id] and [base]/[type]?… — FHIR R4 RESTful API, "delete" and "Conditional delete"."""

from __future__ import annotations

from fhir_server.errors import Absent
from fhir_server.interactions import changes, conditional
from fhir_server.interactions.call import Answer, Call, Services, within_scopes
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.storing import again, store
from fhir_server.store.drafts import Removal


async def delete(use: Services, call: Call, type: str, id: str | None, pairs: Pairs = ()) -> Answer:
    """Delete a resource; its versions stay in the history. What is deleted already stays deleted.

    id: None for a conditional delete, whose condition the pairs are.
    """
    if id is None:
        condition = conditional.condition(type, pairs)
        return await again(lambda: _delete_matches(use, call, type, condition))
    removal = await changes.deletion(use, call, type, id)
    await store(use, call, "delete", [], [removal])
    return Answer(204, headers={"ETag": f'W/"{removal.old["v"] + 1}"'} if removal.old else {})


async def _delete_matches(use: Services, call: Call, type: str, condition: conditional.Condition) -> Answer:
    """Delete all that a condition matches; none is no failure: then it is so already."""
    changes.may_write(use, call, type)
    within_scopes(call, type, "d")
    most = use.settings.most_conditional_deletes
    rows = (await conditional.find(use, call, condition, most=most)).rows
    if len(rows) > most:
        raise conditional.several()
    removals = [await removed(use, call, type, str(row["_id"])) for row in rows]
    await store(use, call, "delete", [], removals, query=condition.query, tries=1)
    return Answer(204)


async def removed(use: Services, call: Call, type: str, id: str) -> Removal:
    """Return what a conditional delete removes, having matched it."""
    try:
        return await changes.deletion(use, call, type, id)
    except Absent:
        raise await conditional.lost(use, call, type, id) from None
