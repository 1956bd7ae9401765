"""Searches of several types: the whole system and compartments (FHIR R4 RESTful API, "search", variant searches)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.answers import FORM, ids
from tests.interactions.asking import Json, observation, pages
from tests.interactions.test_search import permit
from tests.live import Live

RESIDENT = {"system": "urn:oid:2.16.156.10011.1.3", "value": "11010519491231002X"}


def condition(id: str, subject: str = "Patient/p1", **more: Any) -> Json:
    return {"resourceType": "Condition", "id": id, "subject": {"reference": subject}, **more}


def places(bundle: Json) -> list[str]:
    return [f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in bundle.get("entry", ())]


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(
        {"resourceType": "Patient", "id": "p1", "name": [{"family": "欧阳"}]},
        {"resourceType": "Patient", "id": "p2"},
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "A"},
         "subject": {"reference": "Patient/p1"}},
        {"resourceType": "Device", "id": "d1"},
        observation("o1", effectiveDateTime="2024-05-01", encounter={"reference": "Encounter/e1"}),
        observation("o2", effectiveDateTime="2024-03-01", device={"reference": "Device/d1"}),
        observation("o3", "Patient/p2", performer=[{"reference": "Patient/p1"}]),
        observation("o4", "Patient/p2", focus=[{"reference": "Patient/p1"}]),
        condition("c1", recordedDate="2024-04-01", encounter={"reference": "Encounter/e1"}),
        condition("c2", "Patient/p2"),
        {"resourceType": "Organization", "id": "org", "name": "Hospital"},
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("sort", [None, "_id", "-_id", "_lastUpdated", "-_lastUpdated", "_lastUpdated,-_id"])
@pytest.mark.parametrize("place", ["", "Patient/p1/*"])
def test_pages_of_several_types_are_complete_and_repeat_nothing(
    doctor: httpx.Client, place: str, sort: str | None, size: int
) -> None:
    asked = {"_type": "Observation,Condition,Patient,Encounter", **({"_sort": sort} if sort else {})}
    whole = doctor.get(place, params={**asked, "_count": "100"}).json()
    first = doctor.get(place, params={**asked, "_count": str(size)})
    assert first.status_code == 200, first.text
    read = list(pages(doctor, first.json()))
    assert [each for page in read for each in places(page)] == places(whole)
    assert len(places(whole)) == len(set(places(whole))) == whole["total"]
    assert {page["total"] for page in read} == {whole["total"]}
    assert {"Observation/o1", "Condition/c1", "Encounter/e1", "Patient/p1"} <= set(places(whole))


def test_without_keys_the_order_is_by_type_and_id_and_with_keys_their_values_come_first(doctor: httpx.Client) -> None:
    found = places(doctor.get("", params={"_type": "Patient,Condition,Observation"}).json())
    assert found == sorted(found)
    by_date = doctor.get("Patient/p1/*", params={"_type": "Observation,Encounter", "_sort": "-date"}).json()
    assert places(by_date) == ["Observation/o1", "Observation/o2", "Observation/o3", "Encounter/e1"]


def test_a_system_search_takes_what_its_types_have_in_common(doctor: httpx.Client) -> None:
    asked = {"_type": "Observation,Condition", "patient": "Patient/p2"}
    assert places(doctor.get("", params=asked).json()) == ["Condition/c2", "Observation/o3", "Observation/o4"]
    posted = doctor.post("_search", data=asked, headers=FORM).json()
    assert places(posted) == ["Condition/c2", "Observation/o3", "Observation/o4"]
    assert "p2" not in posted["link"][0]["url"].rsplit("=", 1)[0]
    mixed = {"_type": "Slot,GraphDefinition", "_sort": "start"}  # a date of Slot, a token of GraphDefinition
    for refused in ({**asked, "onset-date": "2024"}, {"patient": "p2"}, {"_type": "Nothing"}, {"_type": ""}, mixed):
        assert doctor.get("", params=refused).status_code == 400
    lenient = {"Prefer": "handling=lenient"}
    found = doctor.get("", params={**asked, "onset-date": "2024"}, headers=lenient).json()
    assert places({"entry": found["entry"][:-1]}) == ["Condition/c2", "Observation/o3", "Observation/o4"]
    assert found["entry"][-1]["search"]["mode"] == "outcome"
    assert "onset-date" not in found["link"][0]["url"]


def test_a_system_search_without_types_searches_all_that_the_token_allows(server: Live, doctor: httpx.Client) -> None:
    found = places(doctor.get("", params={"_id": "p1,o1,org,c1"}).json())
    assert found == ["Condition/c1", "Observation/o1", "Organization/org", "Patient/p1"]
    assert doctor.get("", params={"_id": "p1,o1", "_summary": "count"}).json()["total"] == 2
    with server.client("practitioner", "Practitioner/dr1", scope="user/Patient.rs user/Observation.r") as narrow:
        assert places(narrow.get("", params={"_id": "p1,o1,org,c1"}).json()) == ["Patient/p1"]
        assert narrow.get("", params={"_type": "Patient,Observation"}).status_code == 403
        assert narrow.get("Patient/p1/*").status_code == 200
        assert narrow.get("Patient/p1/Observation").status_code == 403
    with server.client("practitioner", "Practitioner/dr1", scope="user/Patient.r") as none:
        assert none.get("", params={"_id": "p1"}).status_code == none.get("Patient/p1/*").status_code == 403


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Patient/p1/Observation", ["o1", "o2", "o3"]),
        ("Patient/p1/Observation?date=2024-05", ["o1"]),
        ("Patient/p1/Condition", ["c1"]),
        ("Patient/p1/Patient", ["p1"]),
        ("Encounter/e1/Observation", ["o1"]),
        ("Encounter/e1/*", ["c1", "e1", "o1"]),
        ("Device/d1/Observation", ["o2"]),
        ("Practitioner/none/Observation", []),
        ("RelatedPerson/none/Observation", []),
        ("Patient/none/*", []),
    ],
)
def test_a_compartment_holds_what_its_definition_says(doctor: httpx.Client, path: str, found: list[str]) -> None:
    answer = doctor.get(path)
    assert (answer.status_code, sorted(ids(answer.json()))) == (200, found)


def test_a_compartment_is_searched_by_a_form_as_well(doctor: httpx.Client) -> None:
    answer = doctor.post("Patient/p1/Observation/_search", data={"_sort": "-date", "_count": "1"}, headers=FORM)
    assert [id for page in pages(doctor, answer.json()) for id in ids(page)] == ["o1", "o2", "o3"]


@pytest.mark.parametrize(
    "path",
    ["Organization/org/Observation", "Patient/p1/Organization", "Patient/p1/Nothing", "Patient/p%201/Observation"],
)
def test_there_is_no_such_compartment(doctor: httpx.Client, path: str) -> None:
    assert doctor.get(path).status_code == 404


def test_a_page_link_belongs_to_its_place(doctor: httpx.Client) -> None:
    first = doctor.get("Patient/p1/Observation", params={"_count": "1"}).json()
    cursor = next(each["url"] for each in first["link"] if each["relation"] == "next").partition("?")[2]
    assert doctor.get(f"Patient/p1/Observation?{cursor}").status_code == 200
    for elsewhere in ("Patient/p2/Observation", "Patient/p1/*", "Observation", ""):
        assert doctor.get(f"{elsewhere}?{cursor}").status_code == 400


def test_the_compartment_of_a_patient_is_that_of_the_person(server: Live, doctor: httpx.Client) -> None:
    for org in ("org1", "org2"):
        server.put({"resourceType": "Patient", "id": f"same-{org}", "identifier": [RESIDENT]}, organization=org)
        server.put(observation(f"of-{org}", f"Patient/same-{org}"), organization=org)
    assert ids(doctor.get("Patient/same-org1/Observation").json()) == ["of-org1"]
    assert ids(doctor.get("Patient/same-org2/*").json()) == []
    with server.client("patient", "Patient/same-org2") as patient:
        patient.post("Consent", json=permit("Observation", "Patient"))
    assert ids(doctor.get("Patient/same-org1/Observation").json()) == ["of-org1", "of-org2"]
    assert ids(doctor.get("Patient/same-org1/Patient").json()) == ["same-org1", "same-org2"]


def test_entries_of_a_batch_search_several_types_too(doctor: httpx.Client) -> None:
    urls = ["?_type=Patient,Observation&_id=p1,o1", "Patient/p1/Condition", "Encounter/e1/*?_type=Observation"]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    answer = doctor.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    found = [places(each["resource"]) for each in answer["entry"]]
    assert found == [["Observation/o1", "Patient/p1"], ["Condition/c1"], ["Observation/o1"]]


def test_what_left_is_recorded(server: Live, doctor: httpx.Client) -> None:
    doctor.get("", params={"_id": "p1,o1"})
    with server.client("auditor", "Practitioner/aud", scope="user/AuditEvent.rs") as auditor:
        latest = auditor.get("AuditEvent", params={"_sort": "-_lastUpdated", "_count": "1"}).json()["entry"][0][
            "resource"
        ]
    assert latest["subtype"][0]["code"] == "search-system"
    named = {each["what"]["reference"] for each in latest["entity"] if "what" in each}
    assert {"Patient/p1/_history/1", "Observation/o1/_history/1"} <= named
