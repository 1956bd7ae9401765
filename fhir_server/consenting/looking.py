"""Looking up how a patient's authorization towards the requester's institution stands (standing.py says what counts)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from consent_engine.proxies import rests_on_proxies
from fhir_server.consenting.rows import Row, Rows
from fhir_server.consenting.standing import Given, Standing, standing
from fhir_server.errors import Absent
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call, Services, disclosed, gate_for
from fhir_server.interactions.notice import record
from fhir_server.store.consents import BY_PATIENT
from fhir_server.store.facts import Facts
from fhir_server.store.instants import moment
from fhir_server.store.keys import Unreadable
from fhir_server.store.resources import Document, Ungated

Json = dict[str, Any]


async def looked_up(use: Services, call: Call, rows: Rows, patient: str, purpose: str | None) -> Standing:
    """Return the standing, recorded. Raises Absent if the requester may not see the Patient."""
    gate = gate_for(use, call, "Patient", "r")
    seen = await use.resources.read("Patient", patient, gate)
    if seen is None:
        raise Absent
    at, own = use.now(), call.requester.organization
    given = await _given(use, rows, patient, own, at)
    facts = await Facts(use.resources).now(each for one in given for each in rests_on_proxies(one.resource))
    found = standing(
        given,
        own,
        purpose=purpose,
        at=moment(at),
        zone=use.zone,
        facts={reference: fact.resource for reference, fact in facts.items()},
    )
    await record(
        use, call, disclosed("operation", "Patient", [seen], gate, query=f"Patient/{patient}/$authorization-status")
    )
    return found


async def _given(use: Services, rows: Rows, patient: str, own: str, at: int) -> list[Given]:
    """Return the Consents of the patient, as a person, that count."""
    (person,) = (await use.gatekeeper.persons.keys([patient])).values()
    theirs = {"$or": [{"pat": person}, {"pats": person}]}
    why = Ungated("the status of an authorization towards the institution that asks")
    documents = await use.resources.find("Consent", theirs, why, sort=[("_id", 1)], limit=0)
    trusted = use.settings.trusted_consent_authorities
    counted = [
        each for each in documents if each["org"] == own or each["org"] in trusted or each.get("by") == BY_PATIENT
    ]
    known = await rows.rows(each["_id"] for each in counted)
    found = [await _one(use, known.get(each["_id"]), each, own, trusted, at) for each in counted]
    return [each for each in found if each is not None]


async def _one(
    use: Services, row: Row | None, document: Document, own: str, trusted: Collection[str], at: int
) -> Given | None:
    """Return a Consent that counts; None if it is not the word of anybody who counts, or was purged."""
    ours = row is not None and row.version == document["v"]
    everywhere = document.get("by") == BY_PATIENT or document["org"] in trusted
    if not (ours or everywhere):
        return None
    try:
        (body,) = await use.resources.opened("Consent", [document])
    except Unreadable:
        return None
    waits = ours and row is not None and row.pending and at < row.until
    return Given(parse(body), document["at"], document["org"] == own, waits, everywhere)
