"""Composition/[id]/$document: a Composition and what it refers to, as a document Bundle.

What the requester may not see is left out as if it did not exist. Source: FHIR R4 OperationDefinition
"Composition-document"; Documents, "Document Bundle".
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhir_server.errors import InvalidRequest, NotAllowed
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions import changes
from fhir_server.interactions.bundles import Raw
from fhir_server.interactions.call import Answer, Call, Return, Services, gate_for
from fhir_server.interactions.read import present
from fhir_server.interactions.searching.opening import Opened, opened_rows
from fhir_server.interactions.storing import store, written_answer
from fhir_server.operations.answers import recorded
from fhir_server.operations.definition import Invocation
from fhir_server.operations.supporting import References, patients_shown, supporting
from fhir_server.store.instants import instant

NAMESPACE = uuid.UUID("5a0c2f5e-5f0b-4f0e-9a53-4f2b7d9b6c11")
TYPE = "Composition"


async def document(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the document. Raises Absent or Gone as a read of the Composition does."""
    persist = bool(asked.one("persist"))
    if persist and asked.method != "POST":
        raise NotAllowed("persist=true changes what is stored: invoke $document by POST.", methods=["POST"])
    if persist:
        changes.may_write(use, call, "Bundle")
        gate_for(use, call, "Bundle", "c")
    gate = gate_for(use, call, TYPE, "r")
    row = await present(use, TYPE, _named(call, asked), gate)
    (composition,) = await opened_rows(use, gate, [(TYPE, row)])
    direct = set(References(use.settings.public_base)(composition.body))
    kin = await patients_shown(use, gate, composition)

    def wanted(found: Opened, patients: frozenset[str]) -> bool:
        named = (found.type, found.document["_id"]) in direct
        return found.type != "AuditEvent" and (named or not patients or not kin.isdisjoint(patients))

    shown = [composition, *await supporting(use, gate, [composition], wanted=wanted)]
    await recorded(use, call, asked, gate, shown)
    bundle = dump(_bundle(call, shown, at=use.now()))
    return await _stored(use, call, bundle) if persist else Answer(200, bundle)


async def _stored(use: Services, call: Call, bundle: bytes) -> Answer:
    """Store a document, with the labels of all that it holds, and return it as it is stored."""
    made = parse(bundle)
    labels: list[Any] = []
    for entry in made["entry"]:
        labels += [each for each in entry["resource"]["meta"].get("security", ()) if each not in labels]
    resource = {**made, "meta": {"security": labels}} if labels else made
    draft = await changes.creation(use, call, "Bundle", resource, redacted=True)
    (written,) = await store(use, call, "create", [draft])
    return written_answer(replace(call, returns=Return.REPRESENTATION), written, 200)


def _named(call: Call, asked: Invocation) -> str:
    """Return the id of the Composition, from the URL or the parameter, which excludes the other."""
    given = asked.one("id")
    if asked.id is not None and given is not None:
        raise InvalidRequest("The parameter id is for Composition/$document alone.")
    named = asked.id or given
    if named is None:
        raise InvalidRequest("The parameter id is required here.")
    return str(named).removeprefix(f"{call.base}/").removeprefix(f"{TYPE}/")


def _bundle(call: Call, shown: Sequence[Opened], *, at: int) -> dict[str, Any]:
    # The same for the same content at the same time: nothing that is left out takes part in it.
    content = " ".join(f"{each.reference}/{each.document['v']}" for each in shown)
    identifier = uuid.uuid5(NAMESPACE, f"{call.base} {at} {content}")
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{identifier}"},
        "type": "document",
        "timestamp": instant(at),
        "entry": [{"fullUrl": f"{call.base}/{each.reference}", "resource": Raw(each.body)} for each in shown],
    }
