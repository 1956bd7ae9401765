"""What create, update, patch, delete and transactions have in common: who may write what, as drafts of it.

Source: FHIR R4 RESTful API, "create", "update", "patch", "delete"; consent.md D16.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from fhir_server.auth.gate import RequestGate
from fhir_server.auth.policy import CONTEXTS, DIRECTORY
from fhir_server.auth.requester import INSTITUTIONAL, Role
from fhir_server.auth.scopes import Reach
from fhir_server.errors import (
    Absent,
    Conflict,
    Forbidden,
    InvalidRequest,
    InvalidResource,
    PreconditionFailed,
)
from fhir_server.interactions.call import Call, Services, gate_for, serves, within_scopes
from fhir_server.redaction.marks import is_redacted
from fhir_server.redaction.showing import is_partial
from fhir_server.resident_id import is_resident_id
from fhir_server.store.consents import BY_PATIENT
from fhir_server.store.drafts import Draft, Removal, reborn
from fhir_server.store.ids import new_id
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document, Ungated
from fhir_server.validation.structure import check

# Written by the server alone.
OURS = frozenset({"AuditEvent"})
SUBSETTED = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED")


async def creation(
    use: Services, call: Call, type: str, resource: Any, *, id: str | None = None, redacted: bool = False
) -> Draft:
    """Return the draft of a new resource. redacted: it may say that it was redacted.

    Raises Forbidden if the requester may not write it, InvalidResource or InvalidRequest if it is not one.
    """
    may_write(use, call, type)
    within_scopes(call, type, "c")
    checked(use, type, resource, redacted=redacted)
    return await _owned(use, call, Draft(resource, id or new_id(), call.requester.organization))


async def update(use: Services, call: Call, type: str, id: str, resource: Any) -> Draft:
    """Return the draft of a resource's next version, or of its first under a client's own id.

    Raises Absent where the requester may not see what is there or may not choose an id; Conflict if the id is taken.
    """
    may_write(use, call, type)
    gate = gate_for(use, call, type, "u")
    checked(use, type, resource, id)
    old = await _target(use, call, type, id, gate)
    _as_expected(call, old)
    if old is not None:
        return await _owned(use, call, _next(old, resource))
    return await _owned(use, call, await _under_own_id(use, call, type, id, resource))


async def amendment(use: Services, call: Call, type: str, id: str, made: Callable[[Document], Awaitable[Any]]) -> Draft:
    """Return the draft of the next version of a resource that must be there.

    made: from the current document to the resource as it shall be. Raises Absent if there is nothing that the
    requester may see.
    """
    may_write(use, call, type)
    old = await _target(use, call, type, id, gate_for(use, call, type, "u"))
    if old is None:
        raise Absent
    _as_expected(call, old)
    resource = await made(old)
    checked(use, type, resource, id)
    return await _owned(use, call, _next(old, resource))


async def deletion(use: Services, call: Call, type: str, id: str) -> Removal:
    """Return what a delete removes. Raises Absent if there is nothing that the requester may see."""
    may_write(use, call, type)
    gate = gate_for(use, call, type, "d")
    old = await _target(use, call, type, id, gate)
    if old is None:
        versions = await use.resources.versions(type, id, gate)
        if not versions or not versions[0].get("deleted"):
            raise Absent
    _as_expected(call, old)
    return Removal(type, id, old)


def may_write(use: Services, call: Call, type: str) -> None:
    """Raise Forbidden unless the requester's role may write, or delete, resources of this type at all."""
    serves(use, type)
    role = call.requester.role
    if type in OURS:
        raise Forbidden(f"{type} resources are written by the server alone.")
    if role is Role.PATIENT and type != "Consent":
        raise Forbidden("A patient's token may write that patient's Consents and nothing else.")
    if role not in INSTITUTIONAL and role is not Role.PATIENT:
        raise Forbidden(f"A {role} token may not write.")


def checked(use: Services, type: str, resource: Any, id: str | None = None, *, redacted: bool = False) -> None:
    """Raise InvalidResource or InvalidRequest unless this is a whole resource of the type, and of the id if one is named."""
    check(resource, served=use.registry.types)
    if resource["resourceType"] != type:
        raise InvalidRequest(f"The body is a {resource['resourceType']}, the URL says {type}.")
    if id is not None and resource.get("id") != id:
        raise InvalidRequest("The id of the resource is not the id in the URL.", expression=f"{type}.id")
    tags = resource.get("meta", {}).get("tag", ())
    if any((tag.get("system"), tag.get("code")) == SUBSETTED for tag in tags):
        # R4 Search, "Summary": the tag is there so that a part of a resource cannot take the place of the whole.
        said = "The tag SUBSETTED says that this is only a part of a resource: read the whole one and change that."
        raise InvalidResource([("business-rule", f"{type}.meta.tag", said)])
    if not redacted and is_redacted(resource):
        said = (
            "The label REDACTED says that this is what is shown to one reader: it cannot take the place of the whole."
        )
        raise InvalidResource([("business-rule", f"{type}.meta.security", said)])


def _next(old: Document, resource: Mapping[str, Any]) -> Draft:
    return Draft(resource, str(old["_id"]), old["org"], old["v"] + 1, old, old.get("by"))


def _as_expected(call: Call, old: Document | None) -> None:
    """Raise PreconditionFailed if the client expects another version than there is (RFC 9110, 13.1.1 and 13.1.2)."""
    if call.if_match is not None and call.if_match != str(old["v"] if old else None):
        raise PreconditionFailed("If-Match names another version than the current one: read the resource again.")
    if old is not None and not call.if_none_match.isdisjoint({"*", str(old["v"])}):
        raise PreconditionFailed("If-None-Match names what there is: read the resource again.")


async def _owned(use: Services, call: Call, draft: Draft) -> Draft:
    """Return the draft with who vouches for it, if the requester may write it. Raises Forbidden."""
    requester = call.requester
    if requester.role is Role.PATIENT:
        if not await _theirs(use, call, draft):
            raise Forbidden("A patient's token may write that patient's Consents and nothing else.")
        return replace(draft, by=BY_PATIENT)
    reach = requester.scopes.reach(draft.type, "u" if draft.old else "c", CONTEXTS[requester.role])
    if reach is Reach.PATIENT and draft.type not in DIRECTORY and not await _theirs(use, call, draft):
        raise Forbidden("The token's scopes allow writing only for the patient in context.")
    # What an institution changes, it vouches for from now on: it cannot speak in the patient's name.
    return replace(draft, by=None) if draft.by else draft


async def _theirs(use: Services, call: Call, draft: Draft) -> bool:
    """Return whether a draft is a record of the persons whom the token names, and of nobody else."""
    patients = {call.requester.patient, call.requester.subject} - {None}
    (member,) = await use.writer.memberships([{**draft.resource, "id": draft.id}])
    allowed = await use.gatekeeper.persons.keys(each.removeprefix("Patient/") for each in patients if each)
    theirs = bool(member.persons) and set(member.persons) <= set(allowed.values())
    if theirs and not set(member.patients) <= allowed.keys():
        # Another Patient of the same person counts where the requester sees it; else the answer would tell of the link.
        gate = gate_for(use, call, "Patient", "r")
        theirs = len(await use.resources.many("Patient", member.patients, gate)) == len(member.patients)
    return theirs


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
    if requester.role in INSTITUTIONAL:
        permitted = await gate.acting("correct").among(persons_of(seen))
        if not permitted.admits(type, seen):
            raise Forbidden("The patient's consent does not allow changes to this record.")
    if await is_partial(use, gate, type, seen):
        raise Forbidden(
            "Only a part of this record is shown to you, so you cannot change or delete it: "
            "whoever is shown all of it can."
        )
    return seen


async def _under_own_id(use: Services, call: Call, type: str, id: str, resource: Mapping[str, Any]) -> Draft:
    """Return the draft of a resource under an id that the client chose.

    Only an institution's systems may choose ids (ADR 0007): everybody else is told the same of an id that is taken
    by something they may not see as of one that is free.
    """
    requester = call.requester
    if requester.role is not Role.SYSTEM or not use.settings.update_as_create:
        raise Absent
    within_scopes(call, type, "c")
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
