"""PATCH [base]/[type]/[id] and [base]/[type]?… — FHIR R4 RESTful API, "patch" and "Conditional patch"."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fhir_server.errors import Absent, InvalidRequest, UnsupportedMedia
from fhir_server.fhir_json import parse
from fhir_server.interactions import changes, conditional
from fhir_server.interactions.call import Answer, Call, Services, disclosed, gate_for, within_scopes
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.notice import record
from fhir_server.interactions.storing import again, store, written_answer
from fhir_server.patching.patch import patched
from fhir_server.redaction.showing import shown
from fhir_server.store.drafts import Draft
from fhir_server.store.resources import Document

JSON_PATCH = "application/json-patch+json"


async def patch(use: Services, call: Call, type: str, id: str | None, body: Any, pairs: Pairs = ()) -> Answer:
    """Store the next version of a resource, made from the current one by a JSON Patch or a FHIRPath Patch.

    id: None for a conditional patch, whose condition the pairs are.
    """
    if id is None:
        condition = conditional.condition(type, pairs)
        return await again(lambda: _patch_match(use, call, type, body, condition))
    return await again(lambda: _patch(use, call, type, id, body))


async def _patch(use: Services, call: Call, type: str, id: str, body: Any) -> Answer:
    draft = await amended(use, call, type, id, body)
    (version,) = await store(use, call, "patch", [draft], tries=1)
    return written_answer(call, version, 200)


async def _patch_match(use: Services, call: Call, type: str, body: Any, condition: conditional.Condition) -> Answer:
    """R4: none: 404; one: it is patched; several: 412."""
    changes.may_write(use, call, type)
    within_scopes(call, type, "u")
    match = await conditional.only(use, call, condition)
    if match is None:
        raise Absent
    draft = await matched(use, call, type, str(match["_id"]), body)
    (version,) = await store(use, call, "patch", [draft], query=condition.query, tries=1)
    return written_answer(call, version, 200)


async def matched(use: Services, call: Call, type: str, id: str, body: Any) -> Draft:
    """Return the draft of a conditional patch of what its condition matches."""
    try:
        return await amended(use, call, type, id, body)
    except Absent:
        raise await conditional.lost(use, call, type, id) from None


async def amended(use: Services, call: Call, type: str, id: str, body: Any) -> Draft:
    """Return the draft of the next version of a resource, made from the current one.

    A patch can test what it changes, and what comes out is shown: so it needs the right to read as well, and the
    reading is recorded. Raises Absent if there is nothing that the requester may read and change.
    """
    gate = gate_for(use, call, type, "r")

    async def made(old: Document) -> Any:
        if await use.resources.read(type, id, gate) is None:
            raise Absent
        (stored,) = await shown(use, gate, type, [old])
        await record(use, call, disclosed("read", type, [old], gate))
        return patched(parse(stored), body, use.registry)

    return await changes.amendment(use, call, type, id, made)


def patch_in(resource: Any) -> Any:
    """Return the patch in an entry of a Bundle: a Parameters resource, or a Binary that holds a JSON Patch.

    Source: FHIR R4 RESTful API, "patch", on patches in batches and transactions.
    """
    if not isinstance(resource, dict) or resource.get("resourceType") != "Binary":
        return resource
    if str(resource.get("contentType")).partition(";")[0].strip().lower() != JSON_PATCH:
        raise UnsupportedMedia(f"A Binary that is a patch is of the type {JSON_PATCH}.")
    try:
        return parse(base64.b64decode(str(resource.get("data", "")), validate=True))
    except binascii.Error as error:
        raise InvalidRequest("The data of the Binary is not base64.", expression="Binary.data") from error
