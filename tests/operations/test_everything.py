"""FHIR R4 OperationDefinition "Patient-everything" and "Encounter-everything"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_server.resident_id import check_character
from tests.live import Live
from tests.noninterference.world import RESIDENT_ID

Json = dict[str, Any]
NUMBER = "11000019800101001" + check_character("11000019800101001")


def of(id: str) -> Json:
    return {"subject": {"reference": f"Patient/{id}"}}


def observation(id: str, of_patient: str, **elements: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        **of(of_patient),
        **elements,
    }


def patient(id: str, **elements: Any) -> Json:
    return {"resourceType": "Patient", "id": id, **elements}


RESOURCES: list[Json] = [
    patient("p", managingOrganization={"reference": "Organization/o"}),
    patient("q"),
    {"resourceType": "Organization", "id": "o", "name": "A", "partOf": {"reference": "Organization/whole"}},
    {"resourceType": "Organization", "id": "whole", "name": "B"},
    {"resourceType": "Organization", "id": "unrelated", "name": "C"},
    {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "张"}]},
    {"resourceType": "Medication", "id": "m", "code": {"text": "aspirin"}},
    {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        **of("p"),
        "period": {"start": "2026-01-10", "end": "2026-01-12"},
    },
    observation("o1", "p", effectiveDateTime="2026-01-11", encounter={"reference": "Encounter/e"}),
    observation("o2", "p", effectiveDateTime="2026-02-11", performer=[{"reference": "Practitioner/dr"}]),
    observation("o3", "p", focus=[{"reference": "Patient/q"}]),
    observation("other", "q"),
    {
        "resourceType": "MedicationRequest",
        "id": "mr",
        "status": "active",
        "intent": "order",
        **of("p"),
        "medicationReference": {"reference": "Medication/m"},
        "authoredOn": "2026-01-11",
        "encounter": {"reference": "Encounter/e"},
    },
    {
        "resourceType": "DocumentReference",
        "id": "dref",
        "status": "current",
        **of("p"),
        "content": [{"attachment": {"url": "Binary/b"}}],
    },
    {
        "resourceType": "Binary",
        "id": "b",
        "contentType": "text/plain",
        "data": "eA==",
        "securityContext": {"reference": "Patient/p"},
    },
]


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    server.put(*RESOURCES)
    with server.system() as client:
        yield client


def shown(bundle: Json, mode: str | None = None) -> list[str]:
    """Return the references of a bundle's entries, in order."""
    entries = [each for each in bundle.get("entry", ()) if mode in (None, each["search"]["mode"])]
    return [f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in entries]


def everything(client: httpx.Client, path: str, **params: str) -> Json:
    answer = client.get(f"{path}/$everything", params=params)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert (found["resourceType"], found["type"]) == ("Bundle", "searchset")
    return found


MATCHES = [
    "Patient/p",
    "Binary/b",
    "DocumentReference/dref",
    "Encounter/e",
    "MedicationRequest/mr",
    "Observation/o1",
    "Observation/o2",
    "Observation/o3",
]
SUPPORTING = ["Medication/m", "Organization/o", "Organization/whole", "Practitioner/dr"]


def test_everything_of_a_patient_is_their_compartment_and_what_that_refers_to(server: Live, emr: httpx.Client) -> None:
    found = everything(emr, "Patient/p")
    assert shown(found, "match") == MATCHES
    assert shown(found, "include") == SUPPORTING
    assert found["total"] == len(MATCHES)
    assert [each["fullUrl"] for each in found["entry"]] == [f"{server.base}/{each}" for each in shown(found)]
    assert found["entry"][0]["resource"] == emr.get("Patient/p").json()


NARROWED = [
    ({"_type": "Observation"}, ["Observation/o1", "Observation/o2", "Observation/o3"], []),
    ({"_type": "Patient,Organization"}, ["Patient/p"], ["Organization/o", "Organization/whole"]),
    # What has no clinical time is of every time.
    (
        {"start": "2026-02-01"},
        ["Patient/p", "Binary/b", "DocumentReference/dref", "Observation/o2", "Observation/o3"],
        ["Organization/o", "Organization/whole", "Practitioner/dr"],
    ),
    ({"end": "2026-01-10", "_type": "Encounter,Observation"}, ["Encounter/e", "Observation/o3"], []),
    (
        {"start": "2026-01-12", "end": "2026-01", "_type": "Encounter,Observation"},
        ["Encounter/e", "Observation/o3"],
        [],
    ),
    ({"_since": "2100-01-01T00:00:00Z"}, [], []),
    ({"_since": "2020-01-01T00:00:00Z", "_type": "Encounter"}, ["Encounter/e"], []),
]


@pytest.mark.parametrize(("params", "matches", "included"), NARROWED)
def test_times_and_types_narrow_it(
    emr: httpx.Client, params: dict[str, str], matches: list[str], included: list[str]
) -> None:
    found = everything(emr, "Patient/p", **params)
    assert (shown(found, "match"), shown(found, "include")) == (matches, included)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100])
def test_pages_join_to_the_whole(emr: httpx.Client, count: int) -> None:
    bundle, found = everything(emr, "Patient/p", _count=str(count)), []
    while True:
        found += shown(bundle, "match")
        links = {each["relation"]: each["url"] for each in bundle["link"]}
        if "next" not in links:
            break
        assert len(shown(bundle, "match")) == count
        bundle = emr.get(links["next"]).json()
    assert found == MATCHES


def test_a_page_brings_what_its_own_records_refer_to(emr: httpx.Client) -> None:
    found = everything(emr, "Patient/p", _count="1")
    assert shown(found) == ["Patient/p", "Organization/o", "Organization/whole"]
    assert "total" not in found


def test_a_page_link_serves_its_own_requester_and_place(server: Live, emr: httpx.Client) -> None:
    links = {each["relation"]: each["url"] for each in everything(emr, "Patient/p", _count="1")["link"]}
    cursor = links["next"].partition("?")[2]
    assert emr.get(f"Patient/q/$everything?{cursor}").status_code == 400
    assert emr.get(f"Patient/p/$everything?{cursor}&_count=1").status_code == 400
    with server.client("practitioner", "Practitioner/dr") as other:
        assert other.get(f"Patient/p/$everything?{cursor}").status_code == 400


def test_parameters_can_come_in_a_body(emr: httpx.Client) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "_type", "valueCode": "Observation"},
            {"name": "_type", "valueCode": "Encounter"},
            {"name": "_count", "valueInteger": 2},
            {"name": "start", "valueDate": "2026-01-11"},
        ],
    }
    answer = emr.post("Patient/p/$everything", json=body)
    assert shown(answer.json()) == ["Encounter/e", "Observation/o1"]
    links = {each["relation"]: each["url"] for each in answer.json()["link"]}
    assert links["self"].endswith("/Patient/p/$everything")
    assert shown(emr.get(links["next"]).json(), "match") == ["Observation/o2", "Observation/o3"]
    assert shown(emr.post("Patient/p/$everything").json(), "match") == MATCHES


def test_everything_of_an_encounter_is_its_compartment_and_what_that_refers_to(emr: httpx.Client) -> None:
    found = everything(emr, "Encounter/e")
    assert shown(found, "match") == ["Encounter/e", "MedicationRequest/mr", "Observation/o1"]
    assert shown(found, "include") == ["Medication/m", "Organization/o", "Organization/whole", "Patient/p"]
    assert shown(everything(emr, "Encounter/e", _type="Observation")) == ["Observation/o1"]


def test_the_patient_of_the_token_needs_no_id(server: Live, emr: httpx.Client) -> None:
    with server.client("patient", "Patient/p", purpose="PATRQT") as person:
        assert shown(everything(person, "Patient"), "match") == MATCHES
        assert person.get("Patient/q/$everything").status_code == 404
    launched = {"scope": "patient/*.rs", "patient": "Patient/p"}
    with server.client("practitioner", "Practitioner/dr", **launched) as doctor:
        assert shown(everything(doctor, "Patient"), "match") == MATCHES
    assert emr.get("Patient/$everything").status_code == 400


def test_the_records_of_the_person_at_another_institution_come_as_far_as_permitted(
    server: Live, emr: httpx.Client
) -> None:
    known = {"identifier": [{"system": RESIDENT_ID, "value": NUMBER}]}
    server.put(patient("here", **known), observation("at-here", "here"))
    server.put(patient("there", **known), observation("at-there", "there"), organization="org2")
    assert shown(everything(emr, "Patient/here"), "match") == ["Patient/here", "Observation/at-here"]
    with server.client("patient", "Patient/here", purpose="PATRQT") as person:
        found = shown(everything(person, "Patient"), "match")
    assert found == ["Patient/here", "Patient/there", "Observation/at-here", "Observation/at-there"]


def test_scopes_say_which_types_come(server: Live, emr: httpx.Client) -> None:
    with server.client("practitioner", "Practitioner/dr", scope="user/Patient.r user/Observation.r") as doctor:
        found = everything(doctor, "Patient/p")
        assert shown(found) == ["Patient/p", "Observation/o1", "Observation/o2", "Observation/o3"]
    with server.client("practitioner", "Practitioner/dr", scope="user/Observation.rs") as doctor:
        assert doctor.get("Patient/p/$everything").status_code == 403


def test_what_is_hidden_is_as_what_is_absent(server: Live, emr: httpx.Client) -> None:
    with server.system("org2") as other:
        hidden, absent = (other.get(f"Patient/{id}/$everything") for id in ("p", "none"))
    assert (hidden.status_code, hidden.content) == (404, absent.content)
    server.put(patient("gone"))
    emr.delete("Patient/gone")
    assert emr.get("Patient/gone/$everything").status_code == 410


REFUSED = [
    ("Patient/p/$everything?_type=Nonsense", 400),
    ("Patient/p/$everything?_count=0", 400),
    ("Patient/p/$everything?_count=x", 400),
    ("Patient/p/$everything?start=yesterday", 400),
    ("Patient/p/$everything?start=2026&start=2027", 400),
    ("Patient/p/$everything?name=x", 400),
    ("Patient/p/$everything?_cursor=AAAA", 400),
    ("Encounter/e/$everything?start=2026", 400),
    ("Observation/o1/$everything", 404),
    ("$everything", 404),
    ("Encounter/$everything", 404),
    ("Patient/p/$nothing", 404),
    ("Patient/p/_history/1/$everything", 404),
]


@pytest.mark.parametrize(("path", "status"), REFUSED)
def test_what_is_not_offered_is_refused(emr: httpx.Client, path: str, status: int) -> None:
    assert emr.get(path).status_code == status


def test_what_left_is_recorded(server: Live, emr: httpx.Client) -> None:
    everything(emr, "Patient/p", _type="Patient,Organization")
    with server.client("auditor", "Practitioner/auditor", scope="user/*.rs") as auditor:
        (found,) = auditor.get("AuditEvent?_sort=-_lastUpdated&_count=1&subtype=operation").json()["entry"]
    event = found["resource"]
    assert event["subtype"][0]["code"] == "operation"
    told = {each["what"]["reference"] for each in event["entity"] if "what" in each}
    assert {"Patient/p/_history/1", "Organization/o/_history/1", "Organization/whole/_history/1", "Patient/p"} == told
