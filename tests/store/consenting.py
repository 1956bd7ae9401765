"""A patient who gives and takes back Consents, and a doctor who asks for the patient's records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from tests.consent_engine.build import ACT_REASON, HIV, LOINC, N, R, actor, codings, concept, labels, permit
from tests.consent_engine.build import consent as consent_of
from tests.live import Live

Json = dict[str, Any]

# name, code, day, labels
RESULTS = (
    ("O1", "2339-0", "2026-05-01", (N,)),
    ("O2", "20447-9", "2026-04-01", (R, HIV)),
    ("O3", "2951-2", "2020-03-01", (N,)),
)


@dataclass
class Consenting:
    """The patient P1 and their three Observations, on one server; the ids carry the key."""

    live: Live
    key: str

    def id(self, name: str) -> str:
        return f"{name}-{self.key}"

    def ref(self, name: str) -> str:
        return f"{'Patient' if name == 'P1' else 'Observation'}/{self.id(name)}"

    def store(self) -> Consenting:
        """Store all records as Org1's system."""
        self.live.put(
            {"resourceType": "Patient", "id": self.id("P1")}, *map(self._result, RESULTS), organization="Org1"
        )
        return self

    def _result(self, row: tuple[str, str, str, tuple[tuple[str, str], ...]]) -> Json:
        name, code, day, security = row
        return {
            "resourceType": "Observation",
            "id": self.id(name),
            "meta": {"security": labels(*security)},
            "status": "final",
            "code": concept(LOINC, code),
            "effectiveDateTime": day,
            "subject": {"reference": self.ref("P1")},
        }

    def consent(self, **provision: Any) -> Json:
        """Return a Consent that permits Org1 the records for treatment, or one with another root provision."""
        root = provision or permit(actor=[actor("Organization/Org1")], purpose=codings(ACT_REASON, "TREAT"))
        more = {"category": [{"text": "disclosure"}], "patient": {"reference": self.ref("P1")}}
        return {**more, "dateTime": "2026-01-01", **consent_of(root)}

    def given(self, consent: Json) -> Json:
        """Store a Consent by the patient's own hand; return it as stored."""
        with self.patient() as client:
            answer = client.post("Consent", json=consent)
            assert answer.status_code == 201, answer.text
            return dict(answer.json())

    def change(self, consent: Json, **elements: Any) -> None:
        """Store the next version of a Consent by the patient's own hand."""
        with self.patient() as client:
            answer = client.put(f"Consent/{consent['id']}", json={**consent, **elements})
            assert answer.status_code == 200, answer.text

    def patient(self) -> httpx.Client:
        return self.live.client("patient", self.ref("P1"), "Org1")

    def doctor(self) -> httpx.Client:
        return self.live.client("practitioner", "Practitioner/Dr1", "Org1")
