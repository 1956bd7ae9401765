"""Records and Consents that were stored before anybody knew whose they are follow their Patient to the person."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.resident_id import check_character
from tests.answers import absent
from tests.consent_engine.build import actor, consent, deny
from tests.live import Live

Json = dict[str, Any]


def resident() -> Json:
    digits = f"110105194912{secrets.randbelow(28) + 1:02d}{secrets.randbelow(1000):03d}"
    return {"system": "urn:oid:2.16.156.10011.1.3", "value": digits + check_character(digits)}


def patient(id: str, *identifiers: Json) -> Json:
    return {"resourceType": "Patient", "id": id, **({"identifier": list(identifiers)} if identifiers else {})}


def observation(id: str, subject: str) -> Json:
    reference = {"reference": f"Patient/{subject}"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}, "subject": reference}


def appointment(id: str, *patients: str) -> Json:
    taking = [{"actor": {"reference": f"Patient/{each}"}, "status": "accepted"} for each in patients]
    return {"resourceType": "Appointment", "id": id, "status": "proposed", "participant": taking}


@pytest.fixture
def key() -> str:
    return secrets.token_hex(4)


def denied(server: Live, patient: str, organization: str = "org2") -> None:
    """Have the patient, by a Patient of another institution, forbid org1 everything."""
    body = consent(deny(actor=[actor("Organization/org1")]))
    with server.client("patient", f"Patient/{patient}", organization) as own:
        made = {**body, "category": [{"text": "x"}], "patient": {"reference": f"Patient/{patient}"}}
        answer = own.post("Consent", json=made)
        assert answer.status_code == 201, answer.text


def test_a_record_stored_before_its_patient_follows_it_to_the_person(server: Live, key: str) -> None:
    number = resident()
    server.put(patient(f"b{key}", number), organization="org2")
    denied(server, f"b{key}")
    server.put(observation(f"o{key}", f"a{key}"))
    server.put({**observation(f"o{key}", f"a{key}"), "status": "amended"})
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert not absent(doctor, f"Observation/o{key}")
        server.put(patient(f"a{key}", number))
        for path in ("", "/_history", "/_history/1", "/_history/2"):
            assert absent(doctor, f"Observation/o{key}{path}")
    with server.client("patient", f"Patient/b{key}", "org2") as own:
        assert own.get(f"Observation/o{key}").json()["status"] == "amended"
        assert own.get(f"Observation/o{key}/_history/1").json()["status"] == "final"
        assert own.get("Observation", params={"patient": f"Patient/a{key}"}).json()["total"] == 1


def test_a_consent_given_before_the_person_was_known_binds_the_person(server: Live, key: str) -> None:
    number = resident()
    server.put(patient(f"a{key}", number), observation(f"o{key}", f"a{key}"))
    server.put(patient(f"b{key}"), organization="org2")
    denied(server, f"b{key}")
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert not absent(doctor, f"Observation/o{key}")
        server.put(patient(f"b{key}", number), organization="org2")
        assert absent(doctor, f"Observation/o{key}")


@pytest.mark.parametrize("attempt", range(6))
def test_a_record_of_two_patients_follows_either_of_them(server: Live, key: str, attempt: int) -> None:
    number = resident()
    server.put(patient(f"b{key}", number), organization="org2")
    denied(server, f"b{key}")
    server.put(appointment(f"x{key}", f"a{key}", f"c{key}"), patient(f"c{key}", resident()))
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert not absent(doctor, f"Appointment/x{key}")
        server.put(patient(f"a{key}", number))
        assert absent(doctor, f"Appointment/x{key}")


def test_a_number_that_is_corrected_moves_the_records_to_the_right_person(server: Live, key: str) -> None:
    wrong, right = resident(), resident()
    server.put(patient(f"b{key}", wrong), organization="org2")
    denied(server, f"b{key}")
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        server.put(patient(f"a{key}", right), observation(f"o{key}", f"a{key}"))
        assert not absent(doctor, f"Observation/o{key}")
        server.put(patient(f"b{key}", right), organization="org2")
        assert absent(doctor, f"Observation/o{key}")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_transaction_may_tell_the_person_and_change_a_record_at_once(server: Live, key: str, method: str) -> None:
    server.put(patient(f"a{key}"), observation(f"o{key}", f"a{key}"))
    change: Json = {"request": {"method": method, "url": f"Observation/o{key}"}}
    if method == "PUT":
        change["resource"] = {**observation(f"o{key}", f"a{key}"), "status": "amended"}
    told = {"resource": patient(f"a{key}", resident()), "request": {"method": "PUT", "url": f"Patient/a{key}"}}
    with server.system() as emr:
        answer = emr.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [told, change]})
        assert answer.status_code == 200, answer.text
    with server.client("patient", f"Patient/a{key}") as own:
        assert len(own.get(f"Observation/o{key}/_history").json()["entry"]) == 2


def test_records_that_come_while_the_person_becomes_known_belong_to_the_person(
    server: Live, mongo_uri: str, key: str
) -> None:
    server.put(observation(f"o{key}-first", f"a{key}"))
    with server.system() as emr, ThreadPoolExecutor(12) as pool:

        def store(n: int) -> None:
            if n == 20:
                server.put(patient(f"a{key}", resident()))
            else:
                emr.put(f"Observation/o{key}-{n}", json=observation(f"o{key}-{n}", f"a{key}"))

        list(pool.map(store, range(60)))
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        database = client[server.settings.database]
        person = database["Patient"].find_one({"_id": f"a{key}"}) or {}
        stray = database["Observation"].count_documents({"pr": f"a{key}", "pat": {"$ne": person["me"]}})
    assert stray == 0
