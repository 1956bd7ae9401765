"""What the institution that keeps a Consent is told when the Consent does not do what it says (consent.md, D1 and D2).

It is a Communication to the Organization, one for each version of a Consent and kind of fault: when a Consent is stored
that contradicts itself or is not understood, and when a request first meets one whose giver may no longer speak for the
patient. It names the Consent and the places at fault, and nothing of what is in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consent_engine.enforcement import Enforcement, Status
from consent_engine.words import REASONS, STATUSES
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services
from fhir_server.redaction.enforced import enforced
from fhir_server.store.commit import Unit
from fhir_server.store.instants import instant, moment
from fhir_server.store.resources import Document, Ungated
from fhir_server.store.writing import Draft, Written

NAMESPACE = uuid.UUID("5b1d3c52-9d0c-4f0e-8f4e-6a4c5f0f7d13")
CATEGORY = "http://terminology.hl7.org/CodeSystem/communication-category"
FAULTS = frozenset({Status.CONTRADICTORY, Status.UNSUPPORTED})
# What a Consent may rest on, which may be stored together with it.
FACTS = frozenset({"CareTeam", "Group", "Patient", "RelatedPerson"})


async def tell_of_written(use: Services, written: Sequence[Written], unit: Unit, *, at: int) -> None:
    """Add to a unit that those who keep its Consents are told of the ones at fault. at: microseconds since 1970 UTC."""
    consents = [each.document for each in written if each.type == "Consent"]
    if consents:
        beside = {f"{each.type}/{each.id}": parse(each.body) for each in written if each.type in FACTS}
        await _tell(use, consents, FAULTS, unit, beside, at=at)


async def tell_of_lapsed(use: Services, consents: Iterable[tuple[str, str]], unit: Unit, *, at: int) -> None:
    """Add to a unit that those who keep these Consents are told that whoever gave them may no longer speak for the patient.

    consents: id and version of each. Whoever was told, and has perhaps deleted the message, is not told again.
    """
    ids = {_id(*each, Status.LAPSED): each[0] for each in consents}
    new = [id for told, id in ids.items() if await use.past.newest("Communication", told, at) is None]
    found = await use.resources.many("Consent", new, Ungated("who keeps a Consent that has lapsed")) if new else {}
    await _tell(use, list(found.values()), frozenset({Status.LAPSED}), unit, {}, at=at)


async def _tell(
    use: Services,
    consents: Sequence[Document],
    of: frozenset[Status],
    unit: Unit,
    beside: Mapping[str, Mapping[str, Any]],
    *,
    at: int,
) -> None:
    read = await use.past.read(consents, at, beside)
    for document, consent in zip(consents, read, strict=True):
        found = enforced(consent, moment(at)) if consent else None
        if found and found.status in of:
            await _add(use, document, found, unit, at=at)


async def _add(use: Services, consent: Document, found: Enforcement, unit: Unit, *, at: int) -> None:
    id = _id(consent["_id"], consent["v"], found.status)
    draft = Draft(communication(consent, found, at=at), id, consent["org"])
    stored, *_ = await use.writer.store([draft], at=at)
    for document in stored.inserts["Communication"]:
        unit.touch("Communication", {"_id": id}, {"$setOnInsert": document})


def _id(consent: str, version: str | int, status: Status) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{consent}|{version}|{status}"))


def communication(consent: Document, found: Enforcement, *, at: int) -> dict[str, Any]:
    """Return what the institution that keeps a Consent is told of it."""
    keeper = {"reference": f"Organization/{consent['org']}"}
    named = f"Consent/{consent['_id']}/_history/{consent['v']}"
    reasons = "；".join(
        f"{'.'.join(part for part in (each.path or 'Consent', each.element) if part)}：{REASONS[each.reason].zh}"
        for each in found.reasons
    )
    return {
        "resourceType": "Communication",
        "status": "preparation",
        "category": [{"coding": [{"system": CATEGORY, "code": "notification"}], "text": "同意书执行情况通知"}],
        "about": [{"reference": named}],
        "recipient": [keeper],
        "sent": instant(at),
        "payload": [{"contentString": f"{named} {STATUSES[found.status].zh}。{reasons}。请与患者核对并更正或终止。"}],
    }
