"""An element that there is not cannot be withheld: what is permitted without it is not shown at all (consent.md, D3)."""

from __future__ import annotations

import secrets

import pytest

from consent_engine.enforcement import Status
from fhir_server.redaction.enforced import enforced
from tests.consent_engine.build import T0, consent, obligation, permit, read
from tests.live import Live
from tests.redaction.world import obliged, observation, patient

UNKNOWN = ["Patient.phone", "Patient.name.nickname", "Patient.birthDate.year", "Patient.contact.telecom.number"]
KNOWN = ["Patient.telecom", "Patient.name.given", "Patient.contact.telecom.value", "Patient.deceasedBoolean"]


@pytest.mark.parametrize(("element", "status"), [*((each, 404) for each in UNKNOWN), *((each, 200) for each in KNOWN)])
def test_a_record_of_which_an_unknown_element_is_to_be_withheld_is_hidden(
    server: Live, element: str, status: int
) -> None:
    id = f"u{secrets.token_hex(4)}"
    server.put(patient(id), observation(id, id), obliged(id, id, element))
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert doctor.get(f"Patient/{id}").status_code == status
        assert doctor.get("Patient", params={"_id": id}).json()["total"] == int(status == 200)
        assert doctor.get(f"Observation/{id}").status_code == 200
        assert doctor.put(f"Patient/{id}", json={"resourceType": "Patient", "id": id}).status_code != 200
    with server.client("auditor", "Practitioner/auditor") as log:
        asked = {"user": "Practitioner/dr1"}
        found = log.get(f"Patient/{id}/$explain-access", params=asked).json()["parameter"]
        (access,) = (each["part"] for each in found if each["name"] == "access")
        (effect,) = (each["valueCode"] for each in access if each["name"] == "effect")
        assert effect == ("permit" if status == 200 else "deny")
    with server.client("practitioner", "Practitioner/dr2") as other:
        assert other.get(f"Patient/{id}").status_code == 200


def test_who_keeps_such_a_consent_is_told() -> None:
    oblige = {"extension": [obligation("REDACT", "Patient.phone")]}
    for provision, status in ((permit(**oblige), Status.UNSUPPORTED), (permit(), Status.ENFORCED)):
        assert enforced(read(consent(provision)), T0).status is status
