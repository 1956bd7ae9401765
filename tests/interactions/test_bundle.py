"""FHIR R4 RESTful API: batch and transaction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.live import Live

Json = dict[str, Any]
U1, U2, U3 = (f"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e{n}" for n in (1, 2, 3))


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    with server.system() as client:
        yield client


def entry(method: str, url: str, resource: Json | None = None, full_url: str | None = None, **request: Any) -> Json:
    made: Json = {"request": {"method": method, "url": url, **request}}
    return {**({"fullUrl": full_url} if full_url else {}), **({"resource": resource} if resource else {}), **made}


def bundle(type: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def patient(family: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "name": [{"family": family}], **more}


def observation(subject: str, **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }


def test_a_transaction_replaces_the_references_between_its_entries(server: Live, emr: httpx.Client) -> None:
    composition = {
        "resourceType": "Composition", "status": "final", "type": {"text": "t"}, "date": "2026-01-01", "title": "t",
        "subject": {"reference": U1}, "author": [{"reference": "Practitioner/dr1"}],
        "section": [{"title": "a", "section": [{"title": "b", "entry": [{"reference": U2}]}]}],
    }  # fmt: skip
    answer = emr.post("", json=bundle(
        "transaction",
        entry("POST", "Composition", composition, U3),
        entry("POST", "Observation", observation(U1, hasMember=[{"reference": "Observation/bundle-put"}]), U2),
        entry("PUT", "Observation/bundle-put", observation(U1, id="bundle-put"), f"{server.base}/Observation/bundle-put"),
        entry("POST", "Patient", patient("Bundled"), U1),
    ))  # fmt: skip
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["type"] == "transaction-response"
    assert [each["response"]["status"][:3] for each in made["entry"]] == ["201"] * 4
    places = [
        each["response"]["location"].removeprefix(server.base + "/").split("/_history")[0] for each in made["entry"]
    ]
    assert [each.split("/")[0] for each in places] == ["Composition", "Observation", "Observation", "Patient"]
    for each in made["entry"]:
        assert each["response"]["etag"] == 'W/"1"'
        assert each["response"]["lastModified"]
    stored = [emr.get(each).json() for each in places]
    assert stored[0]["subject"]["reference"] == stored[1]["subject"]["reference"] == places[3]
    assert stored[2]["subject"]["reference"] == places[3]
    assert stored[0]["section"][0]["section"][0]["entry"][0]["reference"] == places[1]
    assert [each["resource"] for each in made["entry"]] == stored
    assert emr.get("Observation", params={"subject": places[3]}).json()["total"] == 2


def test_a_transaction_deletes_then_creates_then_updates_then_reads(emr: httpx.Client) -> None:
    for id in ("order-1", "order-2"):
        emr.put(f"Patient/{id}", json=patient("Order", id=id))
    answer = emr.post("", json=bundle(
        "transaction",
        entry("GET", "Patient?family=Ordered"),
        entry("PUT", "Patient/order-1", patient("Ordered", id="order-1")),
        entry("GET", "Patient/order-1"),
        entry("POST", "Patient", patient("Ordered")),
        entry("DELETE", "Patient/order-2"),
    ))  # fmt: skip
    assert answer.status_code == 200, answer.text
    found = answer.json()["entry"]
    assert [each["response"]["status"] for each in found] == ["200", "200", "200", "201", "204"]
    assert found[0]["resource"]["total"] == 2
    assert found[2]["resource"]["name"] == [{"family": "Ordered"}]
    assert emr.get("Patient/order-2").status_code == 410


BAD: list[tuple[str, Json, int, str]] = [
    ("an invalid resource", entry("POST", "Patient", patient("Bad", gender="x")), 422,
     "Bundle.entry[1].resource.gender"),
    ("an element deep inside", entry("POST", "Patient", patient("Bad", contact=[{"name": {"family": 1}}])), 422,
     "Bundle.entry[1].resource.contact[0].name.family"),
    ("another type than the url", entry("POST", "Observation", patient("Bad")), 400,
     "Bundle.entry[1].resource"),
    ("no resource", entry("POST", "Patient"), 400,
     "Bundle.entry[1].resource"),
    ("no request", {"resource": patient("Bad")}, 400, "Bundle.entry[1]"),
    ("an unknown method", entry("PATCH", "Patient/x", patient("Bad")), 405, "Bundle.entry[1].request.method"),
    ("a conditional create", entry("POST", "Patient", patient("Bad"), ifNoneExist="x=1"), 400,
     "Bundle.entry[1].request.ifNoneExist"),
    ("a conditional update", entry("PUT", "Patient?family=x", patient("Bad")), 400,
     "Bundle.entry[1].request.url"),
    ("a url that leads nowhere", entry("POST", "Patient/x/y/z", patient("Bad")), 400,
     "Bundle.entry[1].request.url"),
    ("a url that is none", entry("GET", "http://[x/Patient"), 400,
     "Bundle.entry[1].request.url"),
    ("ids that differ", entry("PUT", "Patient/x", patient("Bad", id="y")), 400,
     "Bundle.entry[1].resource.id"),
    ("a stale version", entry("PUT", "Patient/stale", patient("Bad", id="stale"), ifMatch='W/"9"'), 412,
     "Bundle.entry[1].resource"),
    ("a delete of nothing", entry("DELETE", "Patient/never-there"), 404, "Bundle.entry[1]"),
    ("the server's own type", entry("POST", "AuditEvent", {"resourceType": "AuditEvent"}), 403,
     "Bundle.entry[1].resource"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "status", "where"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_one_bad_entry_stops_the_whole_transaction_and_is_named(
    emr: httpx.Client, bad: Json, status: int, where: str
) -> None:
    before = emr.get("Patient", params={"_summary": "count"}).json()["total"]
    good = entry("POST", "Patient", patient("Innocent"))
    answer = emr.post("", json=bundle("transaction", good, bad, good))
    assert answer.status_code == status, answer.text
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["expression"] == [where]
    assert emr.get("Patient", params={"family": "Innocent"}).json()["total"] == 0
    assert emr.get("Patient", params={"_summary": "count"}).json()["total"] == before


def test_two_entries_of_a_transaction_may_not_write_the_same_resource(emr: httpx.Client) -> None:
    twice = entry("PUT", "Patient/twice", patient("Twice", id="twice"))
    answer = emr.post("", json=bundle("transaction", twice, twice))
    assert answer.status_code == 400
    assert emr.get("Patient/twice").status_code == 404


def test_of_transactions_that_conflict_one_is_stored_as_a_whole(emr: httpx.Client) -> None:
    def send(number: int) -> int:
        family = f"Race{number}"
        entries = [
            entry("PUT", f"Patient/race-{n}", patient(family, id=f"race-{n}"), ifMatch='W/"1"') for n in range(5)
        ]
        return emr.post("", json=bundle("transaction", *entries)).status_code

    for n in range(5):
        emr.put(f"Patient/race-{n}", json=patient("Race", id=f"race-{n}"))
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(send, range(6)))
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {409, 412}
    stored = [emr.get(f"Patient/race-{n}").json() for n in range(5)]
    assert len({each["name"][0]["family"] for each in stored}) == 1
    assert {each["meta"]["versionId"] for each in stored} == {"2"}


def test_each_entry_of_a_batch_is_for_itself(emr: httpx.Client) -> None:
    asked = [row[1] for row in BAD]
    answer = emr.post(
        "",
        json=bundle(
            "batch", entry("POST", "Patient", patient("Batched")), *asked, entry("GET", "Patient?family=Batched")
        ),
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["type"] == "batch-response"
    assert [int(each["response"]["status"]) for each in found["entry"]] == [201, *(row[2] for row in BAD), 200]
    for each in found["entry"][1:-1]:
        assert each["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert found["entry"][-1]["resource"]["total"] == 1


NOT_BUNDLES: list[Any] = [
    {"resourceType": "Patient"}, {"resourceType": "Bundle"}, {"resourceType": "Bundle", "type": "searchset"}, [], "text",
    {"resourceType": "Bundle", "type": "batch", "entry": {}}, {"resourceType": "Bundle", "type": "transaction", "entry": "x"},
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_BUNDLES)
def test_400_for_what_is_no_batch_and_no_transaction(emr: httpx.Client, body: Any) -> None:
    answer = emr.post("", json=body)
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "raw", [None, 1, "x", [], {}, {"request": 1}, {"request": {"method": "GET"}}, {"request": {"url": 1}}]
)
def test_an_entry_that_is_none_is_refused(emr: httpx.Client, raw: Any) -> None:
    alone = emr.post("", json=bundle("batch", raw))
    assert alone.json()["entry"][0]["response"]["status"] == "400"
    assert emr.post("", json=bundle("transaction", raw)).status_code == 400


def test_an_empty_bundle_is_answered_with_an_empty_one(emr: httpx.Client) -> None:
    for type in ("batch", "transaction"):
        answer = emr.post("", json={"resourceType": "Bundle", "type": type})
        assert (answer.status_code, answer.json()["type"]) == (200, f"{type}-response")


def test_a_bundle_inside_a_batch_is_refused(emr: httpx.Client) -> None:
    answer = emr.post("", json=bundle("batch", entry("POST", "", bundle("batch"))))
    assert answer.json()["entry"][0]["response"]["status"] == "400"


def test_a_minimal_answer_of_a_transaction_has_no_resources(emr: httpx.Client) -> None:
    made = bundle("transaction", entry("POST", "Patient", patient("Minimal")))
    answer = emr.post("", json=made, headers={"Prefer": "return=minimal"}).json()
    assert "resource" not in answer["entry"][0]
    assert answer["entry"][0]["response"]["status"] == "201"
