"""FHIR R4 RESTful API: patch by JSON Patch and by FHIRPath Patch, conditional and in Bundles."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.live import JSON, Live

Json = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
PATIENT = {"resourceType": "Patient", "name": [{"family": "A", "given": ["x", "y"]}], "gender": "male"}


def stored(client: httpx.Client, **more: Any) -> str:
    answer = client.post("Patient", json={**PATIENT, **more})
    assert answer.status_code == 201, answer.text
    return f"Patient/{answer.json()['id']}"


def patch(client: httpx.Client, url: str, *operations: Json, **headers: str) -> httpx.Response:
    return client.patch(url, json=list(operations), headers={"Content-Type": JSON_PATCH, **headers})


def replace(path: str, value: Any) -> Json:
    return {"op": "replace", "path": path, "value": value}


def fhirpath(*operations: Json) -> Json:
    given = [
        {"name": "operation", "part": [{"name": key, **value} for key, value in each.items()]} for each in operations
    ]
    return {"resourceType": "Parameters", "parameter": given}


FEMALE = fhirpath(
    {"type": {"valueCode": "replace"}, "path": {"valueString": "Patient.gender"}, "value": {"valueCode": "female"}}
)


def test_a_json_patch_makes_the_next_version(server: Live, emr: httpx.Client) -> None:
    place = stored(emr)
    answer = patch(emr, place, {"op": "test", "path": "/gender", "value": "male"}, replace("/gender", "female"))
    assert (answer.status_code, answer.headers["ETag"], answer.json()["gender"]) == (200, 'W/"2"', "female")
    assert answer.headers["Location"] == f"{server.base}/{place}/_history/2"
    assert emr.get(place).json() == answer.json()
    assert emr.get(f"{place}/_history/1").json()["gender"] == "male"


def test_a_fhirpath_patch_makes_the_next_version(emr: httpx.Client) -> None:
    place = stored(emr)
    answer = emr.patch(place, json=FEMALE, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.headers["ETag"], answer.json()["gender"]) == (200, 'W/"2"', "female")


def test_a_patch_that_changes_nothing_makes_no_version(emr: httpx.Client) -> None:
    place = stored(emr)
    assert patch(emr, place, replace("/gender", "male")).headers["ETag"] == 'W/"1"'
    assert patch(emr, place).headers["ETag"] == 'W/"1"'


# (what, operation, status, what the outcome says where it is)
REFUSED: list[tuple[str, Any, int, str | None]] = [
    ("not an operation", {"op": "none"}, 400, None),
    ("a test that fails", {"op": "test", "path": "/gender", "value": "female"}, 422, None),
    ("a path that leads nowhere", {"op": "remove", "path": "/birthDate"}, 422, None),
    ("no valid resource", replace("/gender", "blue"), 422, "Patient.gender"),
    ("an element left empty", {"op": "add", "path": "/telecom", "value": []}, 422, "Patient.telecom"),
    ("another id", replace("/id", "other"), 400, "Patient.id"),
    ("no id", {"op": "remove", "path": "/id"}, 400, "Patient.id"),
    ("another type", replace("/resourceType", "Person"), 400, None),
    ("no resource", replace("", [1]), 422, None),
    ("nothing", {"op": "remove", "path": ""}, 422, None),
]


@pytest.mark.parametrize(
    ("operation", "status", "where"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_patch_that_fails_changes_nothing(emr: httpx.Client, operation: Json, status: int, where: str | None) -> None:
    place = stored(emr)
    answer = patch(emr, place, replace("/name/0/family", "B"), operation)
    assert answer.status_code == status, answer.text
    (first, *_) = answer.json()["issue"]
    assert first.get("expression") == ([where] if where else None)
    assert emr.get(place).headers["ETag"] == 'W/"1"'


def test_the_server_keeps_version_and_date(emr: httpx.Client) -> None:
    place = stored(emr)
    answer = patch(emr, place, replace("/meta/versionId", "9"), replace("/gender", "female"))
    assert answer.json()["meta"]["versionId"] == "2"


@pytest.mark.parametrize(("version", "status"), [("1", 200), ("2", 412)])
def test_if_match(emr: httpx.Client, version: str, status: int) -> None:
    headers = {"If-Match": f'W/"{version}"'}
    assert patch(emr, stored(emr), replace("/gender", "female"), **headers).status_code == status


def test_404_for_what_is_not_there(emr: httpx.Client) -> None:
    assert patch(emr, "Patient/never-there", replace("/gender", "female")).status_code == 404
    place = stored(emr)
    emr.delete(place)
    assert patch(emr, place, replace("/gender", "female")).status_code == 404


def test_a_patch_needs_the_right_to_read(server: Live, emr: httpx.Client) -> None:
    # Else its tests would tell what is there.
    place = stored(emr)
    with server.client("system", "Device/emr-org1", scope="system/Patient.cud") as writer:
        assert patch(writer, place, {"op": "test", "path": "/gender", "value": "male"}).status_code == 403


def test_a_patch_is_recorded_as_a_reading_and_a_change(server: Live, emr: httpx.Client) -> None:
    place = stored(emr)
    patch(emr, place, replace("/gender", "female"))
    with server.client("auditor", "Practitioner/auditor", scope="user/AuditEvent.rs") as auditor:
        found = auditor.get("AuditEvent", params={"entity": place}).json()["entry"]
    codes = [each["resource"]["subtype"][0]["code"] for each in found]
    assert sorted(codes) == ["create", "patch", "read"]


def test_parallel_patches_of_different_elements_all_take_effect(server: Live, emr: httpx.Client) -> None:
    place = stored(emr)

    def send(n: int) -> int:
        with server.system() as client:
            return patch(client, place, {"op": "add", "path": "/telecom/-", "value": {"value": str(n)}}).status_code

    patch(emr, place, {"op": "add", "path": "/telecom", "value": [{"value": "first"}]})
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(send, range(4)))
    done = statuses.count(200)
    assert set(statuses) <= {200, 409}
    assert len(emr.get(place).json()["telecom"]) == 1 + done


# Conditional patch


@pytest.mark.parametrize(("matches", "status"), [(0, 404), (1, 200), (2, 412)])
def test_a_conditional_patch_needs_exactly_one_match(emr: httpx.Client, matches: int, status: int) -> None:
    number = f"conditional-{matches}"
    places = [stored(emr, identifier=[{"value": number}]) for _ in range(matches)]
    answer = patch(emr, f"Patient?identifier={number}", replace("/gender", "female"))
    assert answer.status_code == status, answer.text
    genders = [emr.get(each).json()["gender"] for each in places]
    assert genders == ["female" if status == 200 else "male"] * matches


# In Bundles


def binary(*operations: Json, type: str = JSON_PATCH) -> Json:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": type, "data": data}


def entry(url: str, resource: Json, **request: str) -> Json:
    return {"request": {"method": "PATCH", "url": url, **request}, "resource": resource}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_may_patch(emr: httpx.Client, kind: str) -> None:
    number = f"bundled-{kind}"
    places = [stored(emr), stored(emr), stored(emr, identifier=[{"value": number}])]
    entries = [
        entry(places[0], binary(replace("/gender", "female")), ifMatch='W/"1"'),
        entry(places[1], FEMALE),
        entry(f"Patient?identifier={number}", FEMALE),
    ]
    answer = emr.post("", json={"resourceType": "Bundle", "type": kind, "entry": entries})
    assert answer.status_code == 200, answer.text
    assert [each["response"]["status"] for each in answer.json()["entry"]] == ["200"] * 3
    assert [each["resource"]["gender"] for each in answer.json()["entry"]] == ["female"] * 3
    assert [emr.get(each).headers["ETag"] for each in places] == ['W/"2"'] * 3


def test_references_in_a_patch_mean_the_entries_of_its_transaction(emr: httpx.Client) -> None:
    place, full_url = stored(emr), "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e9"
    link = {"op": "add", "path": "/link", "value": [{"other": {"reference": full_url}, "type": "seealso"}]}
    made = {"fullUrl": full_url, "request": {"method": "POST", "url": "Patient"}, "resource": PATIENT}
    answer = emr.post(
        "", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry(place, binary(link)), made]}
    )
    assert answer.status_code == 200, answer.text
    patched, created = (each["resource"] for each in answer.json()["entry"])
    assert patched["link"][0]["other"]["reference"] == f"Patient/{created['id']}"


UNREADABLE = [
    ({"resourceType": "Binary", "contentType": JSON_PATCH, "data": "%"}, "400"),
    ({"resourceType": "Binary", "contentType": JSON_PATCH, "data": "e30="}, "400"),  # an object
    ({"resourceType": "Binary", "contentType": JSON_PATCH}, "400"),
    (binary(type="application/json"), "415"),
    (PATIENT, "400"),
]


@pytest.mark.parametrize(("resource", "status"), UNREADABLE)
def test_an_entry_whose_patch_cannot_be_read_is_refused(emr: httpx.Client, resource: Json, status: str) -> None:
    made = [entry(stored(emr), resource)]
    answer = emr.post("", json={"resourceType": "Bundle", "type": "batch", "entry": made})
    assert answer.json()["entry"][0]["response"]["status"] == status
    answer = emr.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": made})
    assert str(answer.status_code) == status
    assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[0].resource")
