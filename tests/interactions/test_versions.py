"""FHIR R4 RESTful API: create, read, vread, update, delete, history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.live import Live

PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "张", "given": ["三"]}], "gender": "male"}


def created(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("Patient", json={**PATIENT, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_create_answers_201_with_location_etag_and_last_modified(server: Live, emr: httpx.Client) -> None:
    answer = emr.post(
        "Patient", json={**PATIENT, "id": "mine", "meta": {"versionId": "7", "lastUpdated": "2000-01-01T00:00:00Z"}}
    )
    assert answer.status_code == 201
    body = answer.json()
    assert body["id"] != "mine"  # R4: the server ignores the id of a create
    assert body["meta"]["versionId"] == "1"
    assert answer.headers["Location"] == f"{server.base}/Patient/{body['id']}/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert parsedate_to_datetime(answer.headers["Last-Modified"])
    read = emr.get(f"Patient/{body['id']}")
    assert (read.status_code, read.content) == (200, answer.content)
    assert (read.headers["ETag"], read.headers["Last-Modified"]) == ('W/"1"', answer.headers["Last-Modified"])
    assert emr.get(answer.headers["Location"]).content == answer.content


RETURNS = [("minimal", 201, None), ("representation", 201, "Patient"), ("OperationOutcome", 201, "OperationOutcome")]


@pytest.mark.parametrize(("wanted", "status", "type"), RETURNS)
def test_prefer_says_what_a_write_returns(emr: httpx.Client, wanted: str, status: int, type: str | None) -> None:
    answer = emr.post("Patient", json=PATIENT, headers={"Prefer": f"return={wanted}"})
    assert answer.status_code == status
    assert answer.headers["Location"]
    assert (answer.json()["resourceType"] if answer.content else None) == type
    id = answer.headers["Location"].split("/Patient/")[1].split("/")[0]
    changed = {**PATIENT, "id": id, "gender": "other"}
    answer = emr.put(f"Patient/{id}", json=changed, headers={"Prefer": f"handling=lenient; return={wanted}"})
    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"2"')
    assert (answer.json()["resourceType"] if answer.content else None) == type


def test_an_update_answers_200_with_the_next_version_and_the_first_stays_readable(emr: httpx.Client) -> None:
    first = created(emr)
    place = f"Patient/{first['id']}"
    answer = emr.put(place, json={**first, "gender": "female"})
    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"2"')
    assert answer.headers["Location"].endswith(f"{place}/_history/2")
    assert emr.get(place).json()["gender"] == "female"
    assert emr.get(f"{place}/_history/1").json() == first
    assert emr.get(f"{place}/_history/2").json() == answer.json()
    assert emr.get(f"{place}/_history/3").status_code == 404


def test_a_put_to_a_free_id_creates_the_resource_under_it(emr: httpx.Client) -> None:
    answer = emr.put("Patient/chosen-1", json={**PATIENT, "id": "chosen-1"})
    assert (answer.status_code, answer.headers["ETag"]) == (201, 'W/"1"')
    assert answer.headers["Location"].endswith("/Patient/chosen-1/_history/1")


def test_only_a_system_chooses_ids(server: Live, emr: httpx.Client) -> None:
    emr.put("Patient/chosen-2", json={**PATIENT, "id": "chosen-2"})
    with server.client("practitioner", "Practitioner/dr1", "org2") as doctor:
        answers = [doctor.put(f"Patient/{id}", json={**PATIENT, "id": id}) for id in ("chosen-2", "free-id")]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize("id", ["11010519491231002X", "a b", "张", "x" * 65, "a_b"])
def test_an_id_is_an_r4_id_and_never_a_resident_id_number(emr: httpx.Client, id: str) -> None:
    answer = emr.put(f"Patient/{id}", json={**PATIENT, "id": id})
    assert answer.status_code in (400, 422)


def test_if_match_with_another_version_is_412_and_nothing_is_stored(emr: httpx.Client) -> None:
    first = created(emr)
    place = f"Patient/{first['id']}"
    for known in ('W/"2"', 'W/"0"', '"9"'):
        for answer in (
            emr.put(place, json=first, headers={"If-Match": known}),
            emr.delete(place, headers={"If-Match": known}),
        ):
            assert answer.status_code == 412
            assert answer.json()["issue"][0]["code"] == "conflict"
    assert emr.get(place).headers["ETag"] == 'W/"1"'
    assert emr.put(place, json={**first, "gender": "female"}, headers={"If-Match": 'W/"1"'}).status_code == 200
    assert emr.put("Patient/free-1", json={**PATIENT, "id": "free-1"}, headers={"If-Match": 'W/"1"'}).status_code == 412
    assert emr.delete(place, headers={"If-Match": 'W/"2"'}).status_code == 204


@pytest.mark.parametrize("value", ["*", "nonsense", 'W/"1", W/"2"', ""])
def test_an_if_match_that_names_no_version_is_400(emr: httpx.Client, value: str) -> None:
    first = created(emr)
    answer = emr.put(f"Patient/{first['id']}", json=first, headers={"If-Match": value})
    assert answer.status_code == 400
    assert emr.get(f"Patient/{first['id']}").headers["ETag"] == 'W/"1"'


def test_of_parallel_updates_that_name_one_version_one_alone_is_stored(server: Live, emr: httpx.Client) -> None:
    first = created(emr)
    place = f"Patient/{first['id']}"
    with ThreadPoolExecutor(8) as pool:
        changed = [{**first, "birthDate": f"19{n + 10}"} for n in range(16)]
        answers = list(pool.map(lambda each: emr.put(place, json=each, headers={"If-Match": 'W/"1"'}), changed))
    found = sorted(each.status_code for each in answers)
    assert found[0] == 200
    assert set(found[1:]) <= {409, 412}
    assert emr.get(place).headers["ETag"] == 'W/"2"'


def test_a_version_that_the_client_holds_is_304_without_a_body(emr: httpx.Client) -> None:
    place = f"Patient/{created(emr)['id']}"
    stored = emr.get(place)
    for known in ({"If-None-Match": stored.headers["ETag"]}, {"If-Modified-Since": stored.headers["Last-Modified"]}):
        answer = emr.get(place, headers=known)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", 'W/"1"')
    for other in (
        {"If-None-Match": 'W/"2"'},
        {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"If-Modified-Since": "x"},
    ):
        assert emr.get(place, headers=other).status_code == 200


def test_if_none_match_takes_a_list_and_a_star(emr: httpx.Client) -> None:
    place = f"Patient/{created(emr)['id']}"
    for known in ("*", 'W/"7", W/"1"', '"1"'):  # RFC 9110, 13.1.2
        assert emr.get(place, headers={"If-None-Match": known}).status_code == 304, known


def test_a_deleted_resource_is_410_and_stays_deleted_until_it_is_put_again(emr: httpx.Client) -> None:
    first = created(emr)
    place = f"Patient/{first['id']}"
    assert emr.delete(place).status_code == 204
    assert emr.get(place).status_code == 410
    assert emr.delete(place).status_code == 204
    assert emr.delete("Patient/never").status_code == 404
    answer = emr.put(place, json=first)
    assert (answer.status_code, answer.headers["ETag"]) == (201, 'W/"3"')
    assert emr.get(place).status_code == 200
    found = emr.get(f"{place}/_history").json()
    assert [each["request"]["method"] for each in found["entry"]] == ["PUT", "DELETE", "POST"]


def test_the_history_lists_every_version_newest_first(server: Live, emr: httpx.Client) -> None:
    first = created(emr)
    place = f"Patient/{first['id']}"
    second = emr.put(place, json={**first, "gender": "female"}).json()
    emr.delete(place)
    found = emr.get(f"{place}/_history").json()
    assert (found["resourceType"], found["type"], found["total"]) == ("Bundle", "history", 3)
    assert [each.get("resource") for each in found["entry"]] == [None, second, first]
    assert [each["response"]["etag"] for each in found["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert [each["request"]["method"] for each in found["entry"]] == ["DELETE", "PUT", "POST"]
    assert all(each["response"]["lastModified"] for each in found["entry"])
    assert {each["fullUrl"] for each in found["entry"]} == {f"{server.base}/{place}"}


DECIMALS = [
    "1.50",
    "1.0",
    "0.00000001",
    "100",
    "1e3",
    "1.5E-7",
    "-0.10",
    "3.14159265358979323846",
    "12345678901234567890",
]


@pytest.mark.parametrize("digits", DECIMALS)
def test_a_decimal_keeps_its_digits(emr: httpx.Client, digits: str) -> None:
    text = (
        '{"resourceType":"Observation","status":"final","code":{"text":"张"},"subject":{"reference":"Patient/p"},'
        '"valueQuantity":{"value":DIGITS,"unit":"mg"}}'
    ).replace("DIGITS", digits)
    answer = emr.post("Observation", content=text.encode())
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]
    for found in (
        answer,
        emr.get(f"Observation/{id}"),
        emr.get("Observation", params={"_id": id}),
        emr.get(f"Observation/{id}/_history"),
    ):
        assert f'"value":{digits},' in found.text


def test_another_institution_that_sees_a_record_may_not_change_it(server: Live, emr: httpx.Client) -> None:
    organization = {"resourceType": "Organization", "id": "org1", "name": "First"}
    assert emr.put("Organization/org1", json=organization).status_code == 201
    with server.system("org2") as other:
        assert other.get("Organization/org1").status_code == 200
        assert other.put("Organization/org1", json=organization).status_code == 403
        assert other.delete("Organization/org1").status_code == 403
