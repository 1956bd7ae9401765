"""$receive: a bridge stores what another institution sent for a visit, under that institution's custody.

An operation of ours, on the whole server: a Bundle of the type collection, the institution that it comes from and the visit
that it is for. The records stay those of the institution they come from: others see them only as far as a Consent of
the patient permits. They are sealed under keys of this delivery and purged after the visit (purging.py). The Bundle's
identifier is that of the delivery: sent again, after an answer was lost, it is stored once.

What could open or widen access does not come by this way: Consents, and who somebody is, belongs to or speaks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.audit.happenings import Direction, of_partner, transfer
from fhir_server.auth.requester import ID, Role, is_reference
from fhir_server.bundle_references import rewritten
from fhir_server.deliveries.delivery import PURGED, Arrival, Delivery, due
from fhir_server.errors import Conflict, Forbidden, Gone, InvalidRequest, InvalidResource, InvalidSearchValue
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions import changes
from fhir_server.interactions.call import Answer, Call, Services, gate_for, touched
from fhir_server.interactions.notice import record
from fhir_server.interactions.read import present
from fhir_server.interactions.storing import store
from fhir_server.operations.definition import Invocation
from fhir_server.operations.telling import reference, value
from fhir_server.redaction.showing import shown
from fhir_server.store.drafts import Draft
from fhir_server.store.ids import new_id
from fhir_server.store.instants import instant, microseconds, moment
from fhir_server.store.resources import Document

Json = Mapping[str, Any]
MOST_ENTRIES = 5_000
# Who somebody is, belongs to, speaks for or lets in; the log; and what can hold any of these.
NEVER = frozenset(
    {"AuditEvent", "Bundle", "CareTeam", "Consent", "Group", "Patient", "Person", "PractitionerRole", "RelatedPerson"}
)


async def receive(use: Services, call: Call, asked: Invocation) -> Answer:
    """Store a delivery; return its id, until when it is held, and where its resources are.

    Raises Forbidden unless the requester is a system that the settings name for this, Absent if it sees no such visit.
    """
    if call.requester.role is not Role.SYSTEM or call.requester.user not in use.settings.receiving_clients:
        raise Forbidden("Only a system that the setting receiving_clients names may store what others sent.")
    source, visit = _source(call, asked), str(asked.one("encounter"))
    entries, id = _entries(asked.resource), _id(use, call, asked.resource)
    gate = gate_for(use, call, "Encounter", "r")
    encounter = await present(use, "Encounter", visit.removeprefix("Encounter/"), gate)
    if encounter["org"] != call.requester.organization or len(encounter.get("pr", ())) != 1:
        raise InvalidRequest("The visit is an Encounter of your own institution, of one patient.")
    if known := await use.deliveries.get(id):
        return await _known(use, call, asked, known, encounter)
    (body,) = await shown(use, gate, "Encounter", [encounter])
    delivery = _delivery(use, call, id, source, encounter, parse(body))
    drafts = await _drafts(use, call, entries, delivery, encounter)
    arrival = Arrival(use.deliveries.row(delivery), tuple(f"{each.type}/{each.id}" for each in drafts))
    try:
        told = replace(call, remark=of_partner(f"Organization/{source}"))
        await store(use, told, Direction.IN, drafts, guards=[arrival], query=asked.place)
    except Conflict:
        if not (known := await use.deliveries.get(id)):
            raise
        return await _known(use, call, asked, known, encounter)
    return _answer(delivery, arrival.brought)


def _source(call: Call, asked: Invocation) -> str:
    """Return the id of the institution that a delivery comes from. Raises InvalidSearchValue."""
    source = str(asked.one("source")).removeprefix("Organization/")
    if not ID.fullmatch(source) or source == call.requester.organization:
        raise InvalidSearchValue("source is a reference to the Organization of another institution.")
    if not is_reference(str(asked.one("encounter")), frozenset({"Encounter"})):
        raise InvalidSearchValue("encounter is a reference to an Encounter.")
    return source


def _entries(bundle: Any) -> list[Json]:
    """Return the entries of a delivery. Raises InvalidRequest."""
    if not isinstance(bundle, dict) or (bundle.get("resourceType"), bundle.get("type")) != ("Bundle", "collection"):
        raise InvalidRequest("A Bundle of the type collection is expected here.")
    entries = bundle.get("entry")
    if not isinstance(entries, list) or not 0 < len(entries) <= MOST_ENTRIES:
        raise InvalidRequest(f"Bundle.entry holds 1 to {MOST_ENTRIES} resources.", expression="Bundle.entry")
    for number, each in enumerate(entries):
        resource = each.get("resource") if isinstance(each, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            raise InvalidRequest("The entry has no resource.", expression=f"Bundle.entry[{number}].resource")
    return entries


def _id(use: Services, call: Call, bundle: Json) -> str:
    """Return the id of a delivery: the same whenever an institution sends the same identifier. Raises InvalidRequest."""
    said = bundle.get("identifier")
    parts = [said.get(name) for name in ("system", "value")] if isinstance(said, dict) else []
    if not parts or not all(isinstance(each, str) and each for each in parts):
        raise InvalidRequest("A delivery has an identifier: system and value.", expression="Bundle.identifier")
    number = use.term("\x1f".join((":delivery", call.requester.organization, *map(str, parts))))
    return f"{number & (1 << 64) - 1:016x}"


def _delivery(use: Services, call: Call, id: str, source: str, encounter: Document, visit: Json) -> Delivery:
    """Return the delivery as it is held. Raises InvalidRequest if the visit is over for so long that it would not be."""
    now = moment(use.now())
    until = due(visit, now, zone=use.zone, days=use.settings.received_days)
    if until <= now:
        raise InvalidRequest("The visit ended too long ago: what is received for it would be purged at once.")
    (patient,) = encounter["pr"]
    return Delivery(id, call.requester.organization, source, patient, encounter["_id"], now, until)


async def _drafts(
    use: Services, call: Call, entries: Sequence[Json], delivery: Delivery, encounter: Document
) -> list[Draft]:
    """Return the drafts of a delivery. Raises InvalidResource unless each is a record of the visit's patient alone."""
    ids = [new_id() for _ in entries]
    moved = {
        each["fullUrl"]: f"{each['resource']['resourceType']}/{id}"
        for each, id in zip(entries, ids, strict=True)
        if isinstance(each.get("fullUrl"), str)
    }
    drafts = []
    for number, (entry, id) in enumerate(zip(entries, ids, strict=True)):
        type = entry["resource"]["resourceType"]
        if type in NEVER or type not in use.gatekeeper.personal:
            raise _refused(number, f"A delivery brings records of a patient, not {type} resources.")
        resource = rewritten(entry["resource"], moved, full_url=entry.get("fullUrl"))
        draft = await changes.creation(use, call, type, resource, id=id)
        drafts.append(replace(draft, custodian=delivery.source, came_with=delivery.id))
    members = await use.writer.memberships([{**each.resource, "id": each.id} for each in drafts])
    for number, member in enumerate(members):
        if member.patients != (delivery.patient,):
            raise _refused(number, "The record is not one of the visit's patient, and of nobody else.")
    return drafts


def _refused(number: int, said: str) -> InvalidResource:
    return InvalidResource([("business-rule", f"Bundle.entry[{number}].resource", said)])


async def _known(use: Services, call: Call, asked: Invocation, known: Delivery, encounter: Document) -> Answer:
    """Return the answer to a delivery that came before; what it brings now is not looked at. Raises Gone if it was purged."""
    if known.state == PURGED:
        raise Gone("This delivery was purged: send it under another identifier if it is needed for another visit.")
    brought = await use.deliveries.brought(known.id)
    sent = transfer(Direction.IN, [touched("Encounter", encounter)], f"Organization/{known.source}", note="sent again")
    await record(use, call, replace(sent, query=asked.place))
    return _answer(known, brought)


def _answer(delivery: Delivery, brought: Sequence[str]) -> Answer:
    parts = [
        value("delivery", "Id", delivery.id),
        value("until", "Instant", instant(microseconds(delivery.due))),
        *(reference("stored", each) for each in brought),
    ]
    return Answer(200, dump({"resourceType": "Parameters", "parameter": parts}))
