"""Whose word a Consent is, and who may write what (consent.md D16; the trust rule of fhir_server/store/consents.py)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_server.resident_id import check_character
from tests.answers import absent, ids
from tests.consent_engine.build import actor, consent, deny, permit
from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]
ORGB = "Organization/B"


@pytest.fixture(scope="module")
def trusting(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that trusts one authority, Z; on it rule 1 of the default policy holds."""
    folder = tmp_path_factory.mktemp("trusting")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, trusted_consent_authorities="Z") as server:
        yield server


@pytest.fixture
def patient(trusting: Live) -> str:
    """The id of a Patient of institution A, with one Observation of the same id."""
    id = f"p-{secrets.token_hex(4)}"
    trusting.put(
        {"resourceType": "Patient", "id": id, "name": [{"family": "张"}]}, observation(id, id), organization="A"
    )
    return id


def observation(id: str, patient: str) -> Json:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}, "subject": subject}


def naming_b(patient: str, provision: Json | None = None) -> Json:
    """A Consent of the patient that permits institution B."""
    made = consent(provision or permit(actor=[actor(ORGB)]))
    return {**made, "category": [{"text": "x"}], "patient": {"reference": f"Patient/{patient}"}}


def doctor_of_b(server: Live) -> httpx.Client:
    return server.client("practitioner", "Practitioner/drB", "B")


def opens(server: Live, patient: str) -> bool:
    """Return whether a clinician of B sees the record of A."""
    with doctor_of_b(server) as client:
        open = not absent(client, f"Observation/{patient}")
        found = client.get("Observation", params={"_id": patient}).json()
        assert ids(found) == ([patient] if open else [])
        return open


def stored(client: httpx.Client, resource: Json) -> Json:
    answer = client.post("Consent", json=resource)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


WORDS = [("system", "B", False), ("practitioner", "B", False), ("system", "A", True), ("practitioner", "A", True),
         ("system", "Z", True), ("patient", "A", True), ("patient", "B", True)]  # fmt: skip


@pytest.mark.parametrize(("role", "organization", "open"), WORDS)
def test_a_permit_opens_the_records_of_those_who_stand_for_it(
    trusting: Live, patient: str, role: str, organization: str, open: bool
) -> None:
    users = {
        "system": f"Device/{organization}",
        "practitioner": f"Practitioner/{organization}",
        "patient": f"Patient/{patient}",
    }
    scope = {"system": "system/*.cruds", "practitioner": "user/*.cruds", "patient": "patient/*.cruds"}[role]
    assert not opens(trusting, patient)
    with trusting.client(role, users[role], organization, scope=scope) as client:
        stored(client, naming_b(patient))
    assert opens(trusting, patient) is open


def test_an_institution_that_changes_a_patients_consent_makes_it_its_own_word(trusting: Live, patient: str) -> None:
    with trusting.client("patient", f"Patient/{patient}", "B") as own:
        given = stored(own, naming_b(patient))
    assert opens(trusting, patient)
    with trusting.system("B") as emr:
        answer = emr.put(f"Consent/{given['id']}", json=given)
        assert answer.status_code in (200, 403), answer.text
    assert opens(trusting, patient) is (answer.status_code == 403)


def test_a_deny_binds_whoever_stored_it(trusting: Live, patient: str) -> None:
    with trusting.client("practitioner", "Practitioner/a", "A") as colleague:
        assert not absent(colleague, f"Observation/{patient}")
        with trusting.system("C") as emr:
            stored(emr, naming_b(patient, deny(actor=[actor("Organization/A")])))
        assert absent(colleague, f"Observation/{patient}")


def test_a_related_person_and_an_auditor_write_nothing(trusting: Live, patient: str) -> None:
    place = {"resourceType": "Location", "name": "ward"}
    trusting.put({**place, "id": "ward"}, organization="A")
    for role, user in (("related-person", "RelatedPerson/r"), ("auditor", "Practitioner/auditor")):
        with trusting.client(role, user, "A") as client:
            for answer in (
                client.post("Consent", json=naming_b(patient)),
                client.post("Location", json=place),
                client.put("Location/ward", json={**place, "id": "ward"}),
                client.delete("Location/ward"),
            ):
                assert answer.status_code == 403, (role, answer.request.method, answer.text)
    with trusting.system("A") as emr:
        assert emr.get("Location/ward").headers["ETag"] == 'W/"1"'


def test_a_patient_writes_nothing_but_their_own_consents(trusting: Live, patient: str) -> None:
    other = f"p-{secrets.token_hex(4)}"
    trusting.put({"resourceType": "Patient", "id": other}, organization="A")
    with trusting.client("patient", f"Patient/{patient}", "A") as own:
        mine = {"resourceType": "Patient", "id": patient}
        tried = {
            "another patient's Consent": own.post("Consent", json=naming_b(other)),
            "a Consent of nobody": own.post("Consent", json={**naming_b(patient), "patient": {"display": "me"}}),
            "an Observation": own.post("Observation", json=observation("new", patient)),
            "an update of an Observation": own.put(f"Observation/{patient}", json=observation(patient, patient)),
            "an update of the Patient": own.put(f"Patient/{patient}", json=mine),
            "a Consent moved to another": own.put("Consent/none", json={**naming_b(other), "id": "none"}),
        }
        assert {
            what: answer.status_code for what, answer in tried.items() if answer.status_code not in (403, 404)
        } == {}
        given = stored(own, naming_b(patient))
        moved = own.put(f"Consent/{given['id']}", json={**given, "patient": {"reference": f"Patient/{other}"}})
        assert moved.status_code == 403
        assert own.delete(f"Consent/{given['id']}").status_code == 204


@pytest.mark.parametrize("type", ["Observation", "Patient"])
def test_a_patient_deletes_no_record_of_an_institution(trusting: Live, patient: str, type: str) -> None:
    with trusting.client("patient", f"Patient/{patient}", "A") as own:
        assert own.delete(f"{type}/{patient}").status_code == 403
        entry = {"request": {"method": "DELETE", "url": f"{type}/{patient}"}}
        for kind in ("batch", "transaction"):
            own.post("", json={"resourceType": "Bundle", "type": kind, "entry": [entry]})
    with trusting.system("A") as emr:
        assert emr.get(f"{type}/{patient}").status_code == 200


def test_a_consent_of_a_person_governs_all_patients_of_the_person(trusting: Live) -> None:
    digits = "11010519491231004"
    number = {"system": "urn:oid:2.16.156.10011.1.3", "value": digits + check_character(digits)}
    for org in ("A", "D"):
        one = f"gov-{org}"
        trusting.put(
            {"resourceType": "Patient", "id": one, "identifier": [number]}, observation(one, one), organization=org
        )
    with trusting.client("patient", "Patient/gov-D", "D") as own:
        stored(own, naming_b("gov-D"))
    assert opens(trusting, "gov-A")
    assert opens(trusting, "gov-D")
