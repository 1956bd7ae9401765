"""Ways to learn of what is hidden that random examples or readers have found; each by itself, over HTTP."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
import pytest

from fhir_server.resident_id import check_character
from tests.consent_engine.build import HIV, LOINC, actor, coding, concept, consent, deny, obligation, permit
from tests.live import Live
from tests.noninterference.agreements import Json
from tests.noninterference.test_writes import observation
from tests.noninterference.world import RESIDENT_ID

numbers = count(1)


def new_number() -> str:
    """Return a valid resident id number that no other test uses."""
    first = f"11000019800101{next(numbers):03d}"
    return first + check_character(first)


def patient(id: str, number: str | None = None) -> Json:
    identifier = {"identifier": [{"system": RESIDENT_ID, "value": number}]} if number else {}
    return {"resourceType": "Patient", "id": id, **identifier}


def record(id: str, of: str, **elements: Any) -> Json:
    return {**observation(of), "id": id, **elements}


def appointment(id: str, *patients: str) -> Json:
    people = [{"status": "accepted", "actor": {"reference": f"Patient/{each}"}} for each in patients]
    return {"resourceType": "Appointment", "id": id, "status": "booked", "participant": people}


def denial(id: str, of: str, **elements: Any) -> Json:
    """Return a Consent by which a patient denies dr1 what the elements say."""
    said = deny(actor=[actor("Practitioner/dr1")], **elements)
    who = {"id": id, "patient": {"reference": f"Patient/{of}"}, "category": [concept(LOINC, "59284-0")]}
    return {**consent(said), **who, "policyRule": {"text": "-"}}


def statuses(client: httpx.Client, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


def test_earlier_versions_of_a_patient_follow_when_a_wrong_number_is_corrected(server: Live) -> None:
    number = new_number()
    server.put(patient("a1", number))
    server.put(patient("a1"))
    server.put(patient("a2", number), organization="org2")
    with server.client("patient", "Patient/a2", "org2", purpose="PATRQT") as stranger:
        assert statuses(stranger, "Patient/a1", "Patient/a1/_history/1", "Patient/a1/_history") == [404, 404, 404]


def test_earlier_versions_of_a_patient_follow_when_a_number_becomes_known(server: Live, doctor: httpx.Client) -> None:
    number = new_number()
    server.put(patient("a3"))
    server.put(patient("a3", number), patient("a4", number), denial("a5", "a4"))
    assert statuses(doctor, "Patient/a3", "Patient/a3/_history/1", "Patient/a3/_history") == [404, 404, 404]


def test_a_resource_that_is_deleted_and_stored_again_keeps_its_labels(server: Live, doctor: httpx.Client) -> None:
    server.put(patient("b1"), record("b2", "b1", meta={"security": [coding(*HIV)]}))
    server.put(denial("b3", "b1", securityLabel=[coding(*HIV)]))
    with server.system() as system:
        assert system.delete("Observation/b2").status_code == 204
    server.put(record("b2", "b1"))
    assert statuses(doctor, "Observation/b2", "Observation/b2/_history/1") == [404, 404]


def test_a_deletion_is_hidden_from_whom_its_code_was(server: Live, doctor: httpx.Client) -> None:
    server.put(patient("c1"), record("c2", "c1"))
    server.put(denial("c3", "c1", code=[concept(LOINC, "c1")]))
    assert statuses(doctor, "Observation/c2") == [404]
    with server.system() as system:
        assert system.delete("Observation/c2").status_code == 204
    assert statuses(doctor, "Observation/c2", "Observation/c2/_history") == [404, 404]
    assert doctor.delete("Observation/c2").status_code == 404


@pytest.mark.parametrize("n", range(4))
def test_a_record_of_two_patients_follows_a_patient_who_is_stored_after_it(
    server: Live, doctor: httpx.Client, n: int
) -> None:
    number = new_number()
    server.put(appointment(f"d{n}", f"d{n}a", f"d{n}b"), patient(f"d{n}a", number))
    server.put(patient(f"d{n}c", number), denial(f"d{n}d", f"d{n}c"))
    assert statuses(doctor, f"Patient/d{n}a", f"Appointment/d{n}") == [404, 404]


@pytest.mark.parametrize("denying", [0, 1])
def test_a_record_of_two_patients_follows_both_when_one_transaction_changes_both(
    server: Live, doctor: httpx.Client, denying: int
) -> None:
    ids, given = [f"e{denying}a", f"e{denying}b"], [new_number(), new_number()]
    server.put(*map(patient, ids), appointment(f"e{denying}", *ids))
    changed = [patient(id, number) for id, number in zip(ids, given, strict=True)]
    assert transaction(server, *changed).status_code == 200
    server.put(patient(f"e{denying}c", given[denying]), denial(f"e{denying}d", f"e{denying}c"))
    assert statuses(doctor, f"Patient/{ids[denying]}", f"Appointment/e{denying}") == [404, 404]


def test_a_patient_and_a_record_of_theirs_can_change_in_one_transaction(server: Live, doctor: httpx.Client) -> None:
    number = new_number()
    server.put(patient("f1"), record("f2", "f1"))
    assert transaction(server, patient("f1", number), record("f2", "f1", status="amended")).status_code == 200
    server.put(patient("f3", number), denial("f4", "f3"))
    assert statuses(doctor, "Patient/f1", "Observation/f2", "Observation/f2/_history/1") == [404, 404, 404]


def test_an_author_is_known_by_an_absolute_reference_too(server: Live, doctor: httpx.Client) -> None:
    server.put(patient("g1"))
    for id, author in (("g2", "Practitioner/dr9"), ("g3", f"{server.base}/Practitioner/dr9")):
        server.put(record(id, "g1", performer=[{"reference": author}]))
    server.put(denial("g4", "g1", data=[{"meaning": "authoredby", "reference": {"reference": "Practitioner/dr9"}}]))
    assert statuses(doctor, "Observation/g2", "Observation/g3") == [404, 404]


def test_writing_in_the_context_of_a_patient_does_not_tell_who_is_the_same_person(server: Live) -> None:
    number = new_number()
    server.put(patient("h1", number))
    server.put(patient("h2", number), patient("h3"), organization="org2")
    said = {"scope": "patient/*.cruds", "patient": "Patient/h1"}
    with server.client("practitioner", "Practitioner/dr1", "org1", **said) as launched:
        assert statuses(launched, "Patient/h1", "Patient/h2", "Patient/h3") == [200, 404, 404]
        answers = [launched.post("Observation", json=observation(id)) for id in ("h2", "h3", "never")]
    assert len({answer.status_code for answer in answers}) == 1


def test_a_bare_id_finds_records_of_whatever_has_it(server: Live, doctor: httpx.Client) -> None:
    server.put({"resourceType": "Device", "id": "i1"}, patient("i1"))
    server.put({**record("i2", "i1"), "subject": {"reference": "Device/i1"}})
    assert doctor.get("Observation?subject=Device/i1").json()["total"] == 1
    assert doctor.get("Observation?subject=i1").json()["total"] == 1


def test_a_masked_date_and_one_without_a_beginning_stand_where_the_store_has_them(
    server: Live, doctor: httpx.Client
) -> None:
    """Withheld of one patient, the dates of all are read from their records; the order is that of the index."""
    server.put(patient("j1"), patient("j2"))
    server.put(record("j3", "j1", effectivePeriod={"end": "2026-02"}), record("j4", "j1"), record("j5", "j1"))
    server.put(record("j6", "j2", effectiveDateTime="2026-01"))
    for order in ("date", "-date"):
        before = ids(doctor, f"Observation?_id=j3,j4,j5&_sort={order}")
        said = permit(actor=[actor("Practitioner/dr1")], extension=[obligation("REDACT", "Observation.effective")])
        who = {"id": "j7", "patient": {"reference": "Patient/j2"}, "category": [concept(LOINC, "59284-0")]}
        server.put({**consent(said), **who, "policyRule": {"text": "-"}})
        assert ids(doctor, f"Observation?_id=j3,j4,j5&_sort={order}") == before
        with server.system() as system:
            assert system.delete("Consent/j7").status_code == 204


def ids(client: httpx.Client, path: str) -> list[str]:
    return [each["resource"]["id"] for each in client.get(path).json()["entry"]]


def transaction(server: Live, *resources: Json) -> httpx.Response:
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in resources
    ]
    with server.system() as system:
        return system.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
