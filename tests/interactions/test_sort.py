"""_sort by any parameter and several keys, over HTTP (FHIR R4 Search, "Sorting")."""

from __future__ import annotations

import httpx
import pytest

from fhir_server.interactions.searching import finding, wanted
from tests.answers import ids
from tests.interactions.asking import Json, observation, pages
from tests.live import Live

FAMILIES = {"p1": "张", "p2": "李", "p3": "Zhao", "p4": "émile", "p5": None, "p6": "李"}
BORN = {"p1": "1980", "p2": "1990-05", "p3": "1980-01-01", "p4": None, "p5": "1970-12-31", "p6": "1990-05"}
GENDERS = {"p1": "male", "p2": "female", "p3": "female", "p4": "male", "p5": None, "p6": "female"}
VALUES = {"v1": 3.5, "v2": 11, "v3": None, "v4": -2, "v5": 11}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    for id in FAMILIES:
        patient: Json = {"resourceType": "Patient", "id": id, "birthDate": BORN[id], "gender": GENDERS[id]}
        if FAMILIES[id]:
            patient["name"] = [{"family": FAMILIES[id], "given": ["三"]}]
        server.put({name: value for name, value in patient.items() if value})
    unit = {"system": "http://unitsofmeasure.org", "code": "mmol/L"}
    for id, value in VALUES.items():
        server.put(
            observation(id, "Patient/p1", **({} if value is None else {"valueQuantity": {"value": value, **unit}}))
        )
    server.put(
        {"resourceType": "Patient", "id": "two", "name": [{"family": "Abel"}, {"family": "Zorn"}], "active": True}
    )


PATIENTS = ",".join(FAMILIES)
ROWS = [
    ("family", ["p5", "p4", "p2", "p6", "p1", "p3"]),
    ("-family", ["p3", "p1", "p6", "p2", "p4", "p5"]),
    ("name", ["p5", "p4", "p2", "p6", "p1", "p3"]),
    ("birthdate", ["p4", "p5", "p1", "p3", "p2", "p6"]),
    ("-birthdate", ["p6", "p2", "p3", "p1", "p5", "p4"]),
    ("gender,birthdate", ["p5", "p3", "p2", "p6", "p4", "p1"]),
    ("gender,-birthdate", ["p5", "p6", "p2", "p3", "p1", "p4"]),
    ("-gender,family,-_id", ["p4", "p1", "p6", "p2", "p3", "p5"]),
    ("birthdate,-_id", ["p4", "p5", "p3", "p1", "p6", "p2"]),
    ("-_id,family", ["p6", "p5", "p4", "p3", "p2", "p1"]),
]


@pytest.mark.parametrize(("sort", "expected"), ROWS, ids=[sort for sort, _ in ROWS])
def test_the_order(doctor: httpx.Client, sort: str, expected: list[str]) -> None:
    answer = doctor.get("Patient", params={"_id": PATIENTS, "_sort": sort})
    assert answer.status_code == 200, answer.text
    assert ids(answer.json()) == expected


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("sort", [sort for sort, _ in ROWS])
def test_pages_keep_the_order(doctor: httpx.Client, sort: str, size: int) -> None:
    first = doctor.get("Patient", params={"_id": PATIENTS, "_sort": sort, "_count": str(size)})
    read = list(pages(doctor, first.json()))
    assert [id for page in read for id in ids(page)] == dict(ROWS)[sort]
    assert {page["total"] for page in read} == {len(FAMILIES)}


def test_quantities_sort_by_their_numbers(doctor: httpx.Client) -> None:
    asked = {"subject": "Patient/p1", "_sort": "value-quantity"}
    assert ids(doctor.get("Observation", params=asked).json()) == ["v3", "v4", "v1", "v2", "v5"]
    asked["_sort"] = "-value-quantity,-_id"
    assert ids(doctor.get("Observation", params=asked).json()) == ["v5", "v2", "v1", "v4", "v3"]


def test_of_several_values_the_lowest_counts_upwards_and_the_highest_downwards(doctor: httpx.Client) -> None:
    asked = {"_id": "p3,two"}
    assert ids(doctor.get("Patient", params={**asked, "_sort": "family"}).json()) == ["two", "p3"]
    assert ids(doctor.get("Patient", params={**asked, "_sort": "-family"}).json()) == ["two", "p3"]


@pytest.mark.parametrize("sort", ["colour", "family,family", "family,", "-", "code-value-quantity", "near", "_text"])
def test_what_cannot_be_sorted_by_is_refused(doctor: httpx.Client, sort: str) -> None:
    assert doctor.get("Observation", params={"_sort": sort}).status_code == 400


def test_positions_have_no_order(doctor: httpx.Client) -> None:
    assert doctor.get("Location", params={"_sort": "near"}).status_code == 400


def test_a_next_link_tells_nothing_of_the_values(doctor: httpx.Client) -> None:
    first = doctor.get("Patient", params={"_id": PATIENTS, "_sort": "family", "_count": "2"}).json()
    following = next(each["url"] for each in first["link"] if each["relation"] == "next")
    assert "mile" not in following
    assert "family" not in following


def test_what_takes_too_many_bodies_is_refused_with_advice(
    doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_OPENED", 4)
    monkeypatch.setattr(wanted, "MOST_OPENED", 4)
    refused = doctor.get("Patient", params={"_id": PATIENTS, "_sort": "birthdate,family"})
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "too-costly")
    assert "To sort by family" in refused.json()["issue"][0]["diagnostics"]
    assert doctor.get("Patient", params={"_id": "p1,p2,p3,p4", "_sort": "family"}).status_code == 200
