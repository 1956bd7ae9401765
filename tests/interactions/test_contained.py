"""_contained and _containedType over HTTP (FHIR R4 Search, "Contained Resources")."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.interactions.asking import Json, observation, pages
from tests.live import Live


def request(id: str, *contained: Json, **more: Any) -> Json:
    return {
        "resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p"}, "medicationReference": {"reference": "#m"},
        **({"contained": list(contained)} if contained else {}), **more,
    }  # fmt: skip


def medication(id: str, code: str) -> Json:
    return {
        "resourceType": "Medication",
        "id": id,
        "code": {"coding": [{"system": "urn:s", "code": code}], "text": code},
    }


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(
        {"resourceType": "Patient", "id": "p"},
        medication("own", "aspirin"),
        medication("other", "insulin"),
        request("r1", medication("m", "aspirin")),
        request("r2", medication("m", "insulin"), medication("n", "aspirin"), {"resourceType": "Practitioner", "id": "x"}),
        request("r3", medication("m", "aspirin"), medication("n", "aspirin")),
        observation("o", "Patient/p", contained=[{"resourceType": "Device", "id": "d", "type": {"text": "x"}}],
                    device={"reference": "#d"}),
    )  # fmt: skip


def found(server: Live, bundle: Json) -> list[str]:
    assert all(entry["search"]["mode"] == "match" for entry in bundle.get("entry", ()))
    return [entry["fullUrl"].removeprefix(f"{server.base}/") for entry in bundle.get("entry", ())]


CONTAINERS = ["MedicationRequest/r1", "MedicationRequest/r2", "MedicationRequest/r3"]
HELD = ["MedicationRequest/r1#m", "MedicationRequest/r2#n", "MedicationRequest/r3#m", "MedicationRequest/r3#n"]
ROWS = [
    ("Medication?code=aspirin", ["Medication/own"]),
    ("Medication?code=aspirin&_contained=false", ["Medication/own"]),
    ("Medication?code=aspirin&_contained=true", CONTAINERS),
    ("Medication?code=aspirin&_contained=true&_containedType=container", CONTAINERS),
    ("Medication?code=aspirin&_contained=true&_containedType=contained", HELD),
    ("Medication?code=aspirin&_contained=both", ["Medication/own", *CONTAINERS]),
    ("Medication?code=aspirin&_contained=both&_containedType=contained", ["Medication/own", *HELD]),
    ("Medication?code:text=ins&_contained=true", ["MedicationRequest/r2"]),
    ("Medication?code:not=aspirin&_contained=true&_containedType=contained", ["MedicationRequest/r2#m"]),
    ("Medication?_id=n&_contained=true&_containedType=contained", ["MedicationRequest/r2#n", "MedicationRequest/r3#n"]),
    ("Medication?code:missing=true&_contained=true", []),
    ("Medication?_lastUpdated=gt2020&code=insulin&_contained=true", ["MedicationRequest/r2"]),
    ("Practitioner?_contained=true", ["MedicationRequest/r2"]),
    ("Device?_contained=true&_containedType=contained", ["Observation/o#d"]),
    ("MedicationRequest?_contained=true", []),
    ("Medication?_has:MedicationRequest:medication:status=active&_contained=true", []),
]


@pytest.mark.parametrize(("path", "expected"), ROWS, ids=[path for path, _ in ROWS])
def test_what_is_found(server: Live, doctor: httpx.Client, path: str, expected: list[str]) -> None:
    answer = doctor.get(path)
    assert answer.status_code == 200, answer.text
    assert found(server, answer.json()) == expected
    assert answer.json()["total"] == len(expected)
    count = doctor.get(f"{path}&_summary=count").json()
    assert (count["total"], "entry" in count) == (len(expected), False)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages(server: Live, doctor: httpx.Client, size: int) -> None:
    first = doctor.get(f"Medication?code=aspirin&_contained=both&_containedType=contained&_count={size}").json()
    read = list(pages(doctor, first))
    assert [each for page in read for each in found(server, page)] == ["Medication/own", *HELD]


def test_the_contained_resource_itself_is_returned(doctor: httpx.Client) -> None:
    [entry] = doctor.get("Medication?code=insulin&_contained=true&_containedType=contained").json()["entry"]
    assert entry["resource"] == medication("m", "insulin")


def test_a_container_is_found_by_whom_may_find_it(server: Live) -> None:
    with server.client("practitioner", "Practitioner/dr1", scope="user/Medication.rs") as narrow:
        assert found(server, narrow.get("Medication?code=aspirin&_contained=both").json()) == ["Medication/own"]
    with server.client("practitioner", "Practitioner/dr9", "org9") as stranger:
        assert found(server, stranger.get("Medication?code=aspirin&_contained=true").json()) == []


@pytest.mark.parametrize(
    "path",
    [
        "Medication?_contained=yes",
        "Medication?_contained=true&_containedType=all",
        "Medication?_contained=true&_sort=code",
        "Medication?_contained=true&_containedType=contained&_include=Medication:manufacturer",
        "?_type=Medication&_contained=true",
        "Patient/p/MedicationRequest?_contained=true",
    ],
)
def test_what_is_refused(doctor: httpx.Client, path: str) -> None:
    assert doctor.get(path).status_code == 400
