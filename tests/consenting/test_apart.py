"""Of two Patients of one person, a question about one is not told to somebody who asks about the other."""

from __future__ import annotations

from tests.consent_engine.build import actor, consent, permit
from tests.consenting.world import ASKS, KEEPS, asked, doctor, patient, resident_id, said
from tests.live import Live


def test_a_question_about_a_patient_who_is_hidden_is_no_answer(server: Live) -> None:
    """One doctor sees the person's Patient of another hospital by a Consent of their own; a colleague does not."""
    known = resident_id("19700101", 71)
    server.put(patient("apart-1", known), organization=ASKS)
    server.put(patient("apart-2", known), organization=KEEPS)
    given = {
        **consent(permit(actor=[actor("Practitioner/sees")])),
        "category": [{"text": "x"}],
        "policyRule": {"text": "-"},
    }
    with server.client("patient", "Patient/apart-1", ASKS, "PATRQT") as own:
        answer = own.post("Consent", json={**given, "patient": {"reference": "Patient/apart-1"}})
        assert answer.status_code == 201, answer.text
    with server.client("practitioner", "Practitioner/sees", ASKS) as sees, doctor(server) as colleague:
        assert colleague.get("Patient/apart-2").status_code == 404
        first = asked(sees, "apart-2")
        second = asked(colleague, "apart-1")
        assert first != second
        found = colleague.get(f"Consent/{second}").json()
        assert found["patient"] == {"reference": "Patient/apart-1"}
        assert said(found)["user"] == {"reference": "Practitioner/dr1"}
        assert asked(colleague, "apart-1") == second
