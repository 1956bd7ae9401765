"""Break-glass: default policy 4 and consent.md D17."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live import Live

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"text": "张三"}]}
OTHER = {"resourceType": "Patient", "id": "p2", "name": [{"text": "李四"}]}
RECORD = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/p1"},
}
REASON = "昏迷患者抢救"


@pytest.fixture(scope="module")
def filled(server: Live) -> Live:
    server.put(PATIENT, OTHER, RECORD)
    return server


def emergency(server: Live, **claims: Any) -> Any:
    given = {"purpose": "ETREAT", "patient": "Patient/p1", "reason": REASON, **claims}
    said = {name: value for name, value in given.items() if value is not None}
    return server.client("practitioner", "Practitioner/dr2", "org2", **said)


def test_an_emergency_with_a_reason_opens_the_records_of_the_patient_in_context(filled: Live) -> None:
    with emergency(filled) as doctor:
        assert doctor.get("Observation/o1").status_code == 200
        assert doctor.get("Observation", params={"patient": "Patient/p1"}).json()["total"] == 1
        assert doctor.get("Patient/p2").status_code == 404


@pytest.mark.parametrize("missing", [{"reason": None}, {"patient": None}, {"purpose": "TREAT"}, {"purpose": "HRESCH"}])
def test_without_a_reason_a_patient_or_the_purpose_nothing_opens(filled: Live, missing: dict[str, Any]) -> None:
    with emergency(filled, **missing) as doctor:
        assert doctor.get("Observation/o1").status_code == 404
        assert doctor.get("Observation").json()["total"] == 0


def test_only_practitioners_break_the_glass(filled: Live) -> None:
    claims = {"purpose": "ETREAT", "patient": "Patient/p1", "reason": REASON, "scope": "system/*.cruds"}
    with filled.client("system", "Device/d2", "org2", **claims) as system:
        assert system.get("Observation/o1").status_code == 404


def test_the_patient_is_notified_once_for_a_token(filled: Live) -> None:
    with emergency(filled) as doctor:
        for _ in range(3):
            assert doctor.get("Observation/o1").status_code == 200
    with filled.client("patient", "Patient/p1") as patient:
        notices = patient.get("Communication", params={"recipient": "Patient/p1", "_sort": "-sent"}).json()["entry"]
    payloads = [each["resource"]["payload"][0]["contentString"] for each in notices]
    assert all(REASON in text and "Organization/org2" in text for text in payloads)
    with emergency(filled) as doctor:
        doctor.get("Observation/o1")
    with filled.client("patient", "Patient/p1") as patient:
        assert patient.get("Communication").json()["total"] == len(payloads) + 1


def test_the_access_is_audited_as_an_emergency(filled: Live) -> None:
    with emergency(filled) as doctor:
        doctor.get("Observation/o1")
    with filled.client("auditor", "Practitioner/auditor") as auditor:
        query = {"entity": "Observation/o1/_history/1", "_sort": "-date", "_count": "1"}
        event = auditor.get("AuditEvent", params=query).json()["entry"][0]["resource"]
    assert event["outcomeDesc"].endswith("break-glass")
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "ETREAT"
    assert event["agent"][0]["purposeOfUse"][0]["text"] == REASON


def test_what_the_patient_has_denied_stays_closed(filled: Live) -> None:
    denial = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p1"},
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]},
    }
    with filled.client("patient", "Patient/p1") as patient:
        answer = patient.post("Consent", json=denial)
        assert answer.status_code == 201, answer.text
        with emergency(filled) as doctor:
            assert doctor.get("Observation/o1").status_code == 404
        revoked = {**answer.json(), "status": "inactive"}
        assert patient.put(f"Consent/{revoked['id']}", json=revoked).status_code == 200
    with emergency(filled) as doctor:
        assert doctor.get("Observation/o1").status_code == 200
