"""What the institution that keeps a Consent is told when the Consent does not do what it says (consent.md, D1 and D2).

It is a Communication to the Organization, one for each version of a Consent and kind of fault: when a Consent is stored
that contradicts itself or is not understood, and when a request first meets one whose giver may no longer speak for the
patient. It names the Consent and the places at fault, and nothing of what is in it. What a Consent rests on and another
institution keeps counts as not known, whether it was ever written or not: else whoever keeps a Consent could name anything
in it and be told whether it is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from consent_engine.consent import rests_on
from consent_engine.enforcement import Enforcement, Status
from consent_engine.words import REASONS, STATUSES
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services
from fhir_server.redaction.enforced import enforced
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft, Written
from fhir_server.store.instants import instant, moment
from fhir_server.store.past_consents import Known
from fhir_server.store.resources import Document, Ungated

NAMESPACE = uuid.UUID("5b1d3c52-9d0c-4f0e-8f4e-6a4c5f0f7d13")
CATEGORY = "http://terminology.hl7.org/CodeSystem/communication-category"
FAULTS = frozenset({Status.CONTRADICTORY, Status.UNSUPPORTED})


async def tell_of_written(use: Services, written: Sequence[Written], unit: Unit, *, at: int) -> None:
    """Add to a unit that those who keep its Consents are told of the ones at fault. at: microseconds since 1970 UTC."""
    consents = [each for each in written if each.type == "Consent"]
    if consents:
        needed = frozenset().union(*(rests_on(parse(each.body)) for each in consents))
        beside = [each for each in written if f"{each.type}/{each.id}" in needed]
        await _tell(use, [each.document for each in consents], FAULTS, unit, beside, at=at)


async def tell_of_lapsed(use: Services, consents: Iterable[tuple[str, str]], unit: Unit, *, at: int) -> None:
    """Add to a unit that those who keep these Consents are told that whoever gave them may no longer speak for the patient.

    consents: id and version of each. Whoever was told, and has perhaps deleted the message, is not told again.
    """
    ids = {_id(*each, Status.LAPSED): each[0] for each in consents}
    new = [id for told, id in ids.items() if await use.past.newest("Communication", told, at) is None]
    found = await use.resources.many("Consent", new, Ungated("who keeps a Consent that has lapsed")) if new else {}
    await _tell(use, list(found.values()), frozenset({Status.LAPSED}), unit, (), at=at)


def kept_by(organization: str) -> Known:
    """Return what an institution knows of by itself: the records that it keeps."""
    return lambda type, document: bool(document["org"] == organization)


async def _tell(
    use: Services,
    consents: Sequence[Document],
    of: frozenset[Status],
    unit: Unit,
    beside: Sequence[Written],
    *,
    at: int,
) -> None:
    for keeper in sorted({each["org"] for each in consents}):
        theirs = [each for each in consents if each["org"] == keeper]
        stored = {f"{each.type}/{each.id}": parse(each.body) for each in beside if each.document["org"] == keeper}
        read = await use.past.read(theirs, at, kept_by(keeper), stored)
        for document, consent in zip(theirs, read, strict=True):
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
