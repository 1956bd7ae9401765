"""What goes into the unit of a step beside the Consent: Provenance, AuditEvent, notice, and what follows from the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.audit.event import Happening
from fhir_server.audit.happenings import Step as Logged
from fhir_server.audit.happenings import consent_step, consent_step_refused
from fhir_server.auth.requester import Role
from fhir_server.consenting.asked import NotVerified, Proof, State
from fhir_server.consenting.following import Version, follow
from fhir_server.consenting.holding import Held
from fhir_server.consenting.steps import Step
from fhir_server.consenting.versions import notice, provenance
from fhir_server.consenting.words import NOTICES, STEPS
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call, Services, touched
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft, Written
from fhir_server.store.ids import new_id

# How the log calls a step (audit/happenings.py): the question, each time that it is put, and what came of it.
TOLD: Mapping[Step | None, Logged] = {
    None: Logged.REQUESTED,
    Step.SEND: Logged.REQUESTED,
    Step.VERIFY: Logged.VERIFIED,
    Step.CONFIRM: Logged.ACTIVE,
    Step.DECLINE: Logged.DECLINED,
    Step.EXPIRE: Logged.EXPIRED,
    Step.REVOKE: Logged.REVOKED,
}


@dataclass(frozen=True, slots=True)
class Happened:
    """A step as it happens. call: None if the server takes it by itself. step: None for the first version. at: µs."""

    use: Services
    call: Call | None
    step: Step | None
    unit: Unit
    at: int
    proof: Proof | None = None


def following(held: Held, resource: Mapping[str, Any], by: str | None = None) -> Draft:
    """Return the draft of the version that follows. by: "patient" if it is the patient's word."""
    document = held.document
    return Draft(resource, document["_id"], document["org"], document["v"] + 1, document, by)


async def version(happened: Happened, draft: Draft, patient: str) -> Written:
    """Add a version of a Consent to the unit, with its Provenance and its AuditEvent. patient: id of whose it is."""
    at, call = happened.at, happened.call
    place = f"Consent/{draft.id}/_history/{draft.version}"
    user, organization = (call.requester.user, call.requester.organization) if call else (None, draft.custodian)
    if call and happened.proof and call.requester.role is Role.PATIENT:
        user = happened.proof.by
    told = provenance(place, patient, happened.step, user, organization, at=at, proof=happened.proof)
    made = await _stored(happened, draft, Draft(told, new_id(), draft.custodian))
    note = f"authorization: {STEPS[happened.step].en}"
    await _recorded(happened, consent_step(TOLD[happened.step], touched("Consent", made.document), note=note))
    return made


async def refused(use: Services, call: Call, held: Held, unit: Unit, *, at: int) -> None:
    """Add to the unit of a try that a proof did not hold."""
    note = "authorization: not verified"
    happening = consent_step_refused(Logged.VERIFIED, touched("Consent", held.document), NotVerified.status, note=note)
    await _recorded(Happened(use, call, Step.VERIFY, unit, at), happening)


async def told(happened: Happened, held: Held, written: Written, state: State) -> None:
    """Add to the unit what tells who asked of a state that was reached, and what follows from the version."""
    request, custodian = held.request, written.document["org"]
    if request and state in NOTICES:
        said = notice(request, written.reference, state, at=happened.at)
        await _stored(happened, Draft(said, new_id(), custodian))
    before, after = Version(held.resource, held.document), Version(parse(written.body), written.document)
    await follow(happened.use, before, after, happened.unit, at=happened.at)


async def _stored(happened: Happened, *drafts: Draft) -> Written:
    made, (first, *_), _ = await happened.use.writer.store(drafts, at=happened.at)
    happened.unit.join(made)
    return first


async def _recorded(happened: Happened, happening: Happening) -> None:
    call = happened.call
    kept = call.remarked(happening) if call else happening
    await happened.use.audit.add(kept, call.requester if call else None, happened.unit, at=happened.at)
