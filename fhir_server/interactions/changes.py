"""What create, update, delete and transactions have in common: who may write what, and how it is stored.

Source: FHIR R4 RESTful API, "create", "update", "delete"; consent.md D16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.audit.event import Happening
from fhir_server.auth.gate import RequestGate
from fhir_server.auth.policy import CONTEXTS, DIRECTORY
from fhir_server.auth.requester import INSTITUTIONAL, Role
from fhir_server.auth.scopes import Reach
from fhir_server.errors import (
    Absent,
    Conflict,
    Forbidden,
    InvalidRequest,
    PreconditionFailed,
)
from fhir_server.interactions.call import (
    Answer,
    Call,
    Return,
    Services,
    gate_for,
    outcome,
    serves,
    touched,
    version_headers,
)
from fhir_server.resident_id import is_resident_id
from fhir_server.store.consents import BY_PATIENT
from fhir_server.store.ids import new_id
from fhir_server.store.resources import Document, Ungated
from fhir_server.store.writing import Draft, Removal, Written, reborn
from fhir_server.validation.structure import check

# Written by the server alone.
OURS = frozenset({"AuditEvent"})
TRIES = 5


async def creation(use: Services, call: Call, type: str, resource: Any, *, id: str | None = None) -> Draft:
    """Return the draft of a new resource.

    Raises Forbidden if the requester may not write it, InvalidResource or InvalidRequest if it is not one.
    """
    _may_write(use, call, type)
    gate_for(use, call, type, "c")
    _checked(use, type, resource)
    return await _owned(use, call, Draft(resource, id or new_id(), call.requester.organization))


async def update(use: Services, call: Call, type: str, id: str, resource: Any) -> Draft:
    """Return the draft of a resource's next version, or of its first under a client's own id.

    Raises Absent where the requester may not see what is there or may not choose an id; Conflict if the id is taken.
    """
    _may_write(use, call, type)
    gate = gate_for(use, call, type, "u")
    _checked(use, type, resource)
    if resource.get("id") != id:
        raise InvalidRequest("The id of the resource is not the id in the URL.", expression=f"{type}.id")
    old = await _target(use, call, type, id, gate)
    if call.if_match is not None and call.if_match != str(old["v"] if old else None):
        raise PreconditionFailed("If-Match names another version than the current one: read the resource again.")
    if old is not None:
        draft = Draft(resource, id, old["org"], old["v"] + 1, old, old.get("by"))
        return await _owned(use, call, draft)
    return await _owned(use, call, await _under_own_id(use, call, type, id, resource))


async def deletion(use: Services, call: Call, type: str, id: str) -> Removal:
    """Return what a delete removes. Raises Absent if there is nothing that the requester may see."""
    _may_write(use, call, type)
    gate = gate_for(use, call, type, "d")
    old = await _target(use, call, type, id, gate)
    if old is None:
        versions = await use.resources.versions(type, id, gate)
        if not versions or not versions[0].get("deleted"):
            raise Absent
    if call.if_match is not None and call.if_match != str(old["v"] if old else None):
        raise PreconditionFailed("If-Match names another version than the current one: read the resource again.")
    return Removal(type, id, old)


async def store(
    use: Services, call: Call, interaction: str, drafts: Sequence[Draft], removals: Sequence[Removal] = ()
) -> list[Written]:
    """Store drafts and deletions together with their AuditEvent; return the versions when they are durable.

    Raises Conflict if another write came first; then nothing is stored.
    """
    for left in range(TRIES - 1, -1, -1):
        try:
            return await _stored(use, call, interaction, drafts, removals)
        except Conflict:
            # A Patient may have become known as another person meanwhile: made anew, the unit says so.
            if not left:
                raise
    raise AssertionError("unreachable")


async def _stored(
    use: Services, call: Call, interaction: str, drafts: Sequence[Draft], removals: Sequence[Removal]
) -> list[Written]:
    at = use.now()
    unit, written, tombstones = await use.writer.store(drafts, removals, at=at)
    gone = zip((each.type for each in removals if each.old is not None), tombstones, strict=True)
    documents = [*((each.type, each.document) for each in written), *gone]
    happening = Happening(
        interaction,
        status=201 if interaction == "create" else 200,
        touched=tuple(touched(type, each) for type, each in documents),
    )
    await use.audit.add(happening, call.requester, unit, at=at)
    await use.committer.commit(unit)
    return written


def written_answer(call: Call, version: Written, status: int) -> Answer:
    """Return the answer to a create or update."""
    headers = {
        **version_headers({"v": version.version, "at": version.at}),
        "Location": f"{call.base}/{version.type}/{version.id}/_history/{version.version}",
    }
    match call.returns:
        case Return.MINIMAL:
            return Answer(status, headers=headers)
        case Return.OUTCOME:
            said = {"severity": "information", "code": "informational", "diagnostics": "Stored."}
            return Answer(status, outcome(said), headers)
        case _:
            return Answer(status, version.body, headers)


def _may_write(use: Services, call: Call, type: str) -> None:
    """Raise Forbidden unless the requester's role may write, or delete, resources of this type at all."""
    serves(use, type)
    role = call.requester.role
    if type in OURS:
        raise Forbidden(f"{type} resources are written by the server alone.")
    if role is Role.PATIENT and type != "Consent":
        raise Forbidden("A patient's token may write that patient's Consents and nothing else.")
    if role not in INSTITUTIONAL and role is not Role.PATIENT:
        raise Forbidden(f"A {role} token may not write.")


def _checked(use: Services, type: str, resource: Any) -> None:
    check(resource, served=use.registry.types)
    if resource["resourceType"] != type:
        raise InvalidRequest(f"The body is a {resource['resourceType']}, the URL says {type}.")


async def _owned(use: Services, call: Call, draft: Draft) -> Draft:
    """Return the draft with who vouches for it, if the requester may write it. Raises Forbidden."""
    requester = call.requester
    (member,) = await use.writer.memberships([{**draft.resource, "id": draft.id}])
    patients = {requester.patient, requester.subject} - {None}
    allowed = await use.gatekeeper.persons.keys(each.removeprefix("Patient/") for each in patients if each)
    theirs = bool(member.persons) and set(member.persons) <= set(allowed.values())
    if theirs and not set(member.patients) <= allowed.keys():
        # Another Patient of the same person counts where the requester sees it; else the answer would tell of the link.
        gate = gate_for(use, call, "Patient", "r")
        theirs = len(await use.resources.many("Patient", member.patients, gate)) == len(member.patients)
    if requester.role is Role.PATIENT:
        if not theirs:
            raise Forbidden("A patient's token may write that patient's Consents and nothing else.")
        return replace(draft, by=BY_PATIENT)
    reach = requester.scopes.reach(draft.type, "u" if draft.old else "c", CONTEXTS[requester.role])
    if reach is Reach.PATIENT and draft.type not in DIRECTORY and not theirs:
        raise Forbidden("The token's scopes allow writing only for the patient in context.")
    # What an institution changes, it vouches for from now on: it cannot speak in the patient's name.
    return replace(draft, by=None)


async def _target(use: Services, call: Call, type: str, id: str, gate: RequestGate) -> Document | None:
    """Return the document that a write is aimed at, None if the requester sees none.

    Raises Forbidden if they see it and may not change it.
    """
    seen = await use.resources.read(type, id, gate)
    if seen is None:
        return None
    requester = call.requester
    if seen["org"] != requester.organization and requester.role is not Role.PATIENT:
        raise Forbidden("The record belongs to another institution: it alone may change it.")
    correcting = gate_for(use, call, type, "u", action="correct") if requester.role in INSTITUTIONAL else gate
    if await use.resources.read(type, id, correcting) is None:
        raise Forbidden("The patient's consent does not allow changes to this record.")
    return seen


async def _under_own_id(use: Services, call: Call, type: str, id: str, resource: Mapping[str, Any]) -> Draft:
    """Return the draft of a resource under an id that the client chose.

    Only an institution's systems may choose ids (ADR 0007): everybody else is told the same of an id that is taken
    by something they may not see as of one that is free.
    """
    requester = call.requester
    if requester.role is not Role.SYSTEM or not use.settings.update_as_create:
        raise Absent
    gate_for(use, call, type, "c")
    if is_resident_id(id):
        raise InvalidRequest("A logical id must not be a resident id number: choose another.", expression=f"{type}.id")
    everything = Ungated("the id that a client chose must be free")
    versions = await use.resources.versions(type, id, everything)
    if not versions:
        return Draft(resource, id, requester.organization)
    last = versions[0]
    if not last.get("deleted") or last["org"] != requester.organization:
        raise Conflict("This id cannot be used: choose another.")
    return reborn(resource, id, requester.organization, last)
