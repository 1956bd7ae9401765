"""All resources of the demo, by institution, and the Consent that the demo adds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from fhir_server.demo.clinical import record
from fhir_server.demo.coding import LOINC, Json, concept, hl7, reference
from fhir_server.demo.documents import letter, summary
from fhir_server.demo.institutions import INSTITUTIONS, staff
from fhir_server.demo.people import patient, registered, related

HOSPITAL_A, HOSPITAL_B = (institution.id for institution in INSTITUTIONS)
# The same person at either hospital: diabetes and hypertension, and a depression whose records are labelled R and PSY.
DEMO_PATIENT_A, DEMO_PATIENT_B = "pat-a-001", "pat-b-001"
CHILD = "pat-a-012"


def resources(institution: str) -> Iterator[Json]:
    """Yield every resource of an institution, what is referred to first; the same on every call.

    institution: HOSPITAL_A or HOSPITAL_B. Raises KeyError for another.
    """
    at = {one.id: one for one in INSTITUTIONS}[institution]
    yield from staff(at)
    for one in registered(at):
        yield patient(one)
        parts = list(record(one))
        yield from parts
        if one.id == DEMO_PATIENT_A:
            yield summary(one, parts)
        if one.id == DEMO_PATIENT_B:
            yield letter(one)
        if one.id == CHILD:
            yield related(one)


def consent(
    patient: str = DEMO_PATIENT_A,
    *,
    start: datetime,
    end: datetime,
    to: str = HOSPITAL_B,
    held_by: str = HOSPITAL_A,
    id: str = "consent-demo",
) -> Json:
    """Return a Consent in which a patient lets an institution use their records for treatment.

    patient: id of the Patient. start, end: the time it holds, with time zones; `end` is included.
    to: the Organization that may access. held_by: the Organization that the patient gave it to.
    """
    since, until = start.isoformat(timespec="seconds"), end.isoformat(timespec="seconds")
    return {
        "resourceType": "Consent",
        "id": id,
        "status": "active",
        "scope": concept(hl7("consentscope", "patient-privacy", "Privacy Consent"), text="患者隐私授权"),
        "category": [concept({"system": LOINC, "code": "59284-0"}, text="患者知情同意书")],
        "patient": reference("Patient", patient),
        "dateTime": since,
        "performer": [reference("Patient", patient)],
        "organization": [reference("Organization", held_by)],
        "policyRule": concept(hl7("v3-ActCode", "OPTIN", "opt-in")),
        "provision": {
            "type": "permit",
            "period": {"start": since, "end": until},
            "actor": [
                {
                    "role": concept(hl7("v3-ParticipationType", "IRCP", "information recipient"), text="信息接收方"),
                    "reference": reference("Organization", to),
                }
            ],
            "action": [concept(hl7("consentaction", "access", "Access"), text="查阅")],
            "purpose": [hl7("v3-ActReason", "TREAT", "treatment")],
        },
    }
