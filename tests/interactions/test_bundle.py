"""FHIR R4 RESTful API: batch and transaction."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.live import Live

Json = dict[str, Any]
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
U1, U2, U3 = (f"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e{n}" for n in (1, 2, 3))


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
    ("an unknown method", entry("TRACE", "Patient/x", patient("Bad")), 405, "Bundle.entry[1].request.method"),
    ("a condition of an unknown parameter", entry("POST", "Patient", patient("Bad"), ifNoneExist="x=1"), 400,
     "Bundle.entry[1].resource"),
    ("a condition about results", entry("PUT", "Patient?family=x&_count=1", patient("Bad")), 400,
     "Bundle.entry[1].resource"),
    ("a condition that asks nothing", entry("PUT", "Patient", patient("Bad")), 400,
     "Bundle.entry[1].resource"),
    ("a delete of everything", entry("DELETE", "Patient"), 400, "Bundle.entry[1]"),
    ("a condition that is no text", entry("POST", "Patient", patient("Bad"), ifNoneExist=["x=1"]), 400,
     "Bundle.entry[1].request.ifNoneExist"),
    ("a version that is no text", entry("PUT", "Patient/x", patient("Bad", id="x"), ifMatch=1), 400,
     "Bundle.entry[1].request.ifMatch"),
    ("parameters of a create", entry("POST", "Patient?family=x", patient("Bad")), 400, "Bundle.entry[1].request.url"),
    ("parameters of an update", entry("PUT", "Patient/x?family=x", patient("Bad", id="x")), 400,
     "Bundle.entry[1].request.url"),
    ("a patch of nothing", entry("PATCH", "Patient/never-there", {"resourceType": "Parameters"}), 404,
     "Bundle.entry[1].resource"),
    ("a patch that is none", entry("PATCH", "Patient/never-there", {"resourceType": "Binary", "contentType": "text/plain"}),
     415, "Bundle.entry[1].resource"),
    ("a part of a resource", entry("POST", "Patient", patient("Bad", meta={"tag": [SUBSETTED]})), 422,
     "Bundle.entry[1].resource.meta.tag"),
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


# Conditions in transactions


def numbered(number: str, **more: Any) -> Json:
    return patient("Numbered", identifier=[{"system": "urn:mrn", "value": number}], **more)


def stored(emr: httpx.Client, number: str, **more: Any) -> str:
    answer = emr.post("Patient", json=numbered(number, **more))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def total(emr: httpx.Client, number: str) -> int:
    return int(emr.get("Patient", params={"identifier": f"urn:mrn|{number}"}).json()["total"])


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["response"]["status"] for each in answer.json()["entry"]]


def test_a_transaction_resolves_conditions_and_what_refers_to_their_entries(server: Live, emr: httpx.Client) -> None:
    kept, updated = stored(emr, "t1-kept"), stored(emr, "t1-updated")
    gone = stored(emr, "t1-gone")
    answer = emr.post("", json=bundle(
        "transaction",
        entry("POST", "Observation", observation(U1)),
        entry("POST", "Observation", observation(U2)),
        entry("POST", "Observation", observation(U3)),
        entry("POST", "Patient", numbered("t1-kept", gender="male"), U1, ifNoneExist="identifier=t1-kept"),
        entry("PUT", "Patient?identifier=t1-updated", numbered("t1-updated", gender="male"), U2),
        entry("PUT", "Patient?identifier=t1-new", numbered("t1-new"), U3),
        entry("DELETE", "Patient?identifier=t1-gone"),
        entry("DELETE", "Patient?identifier=t1-never"),
    ))  # fmt: skip
    assert statuses(answer) == ["201"] * 3 + ["200", "200", "201", "204", "204"]
    found = answer.json()["entry"]
    new = found[5]["resource"]["id"]
    subjects = [each["resource"]["subject"]["reference"] for each in found[:3]]
    assert subjects == [f"Patient/{kept}", f"Patient/{updated}", f"Patient/{new}"]
    assert found[3]["response"]["etag"] == 'W/"1"'
    assert found[3]["resource"] == emr.get(f"Patient/{kept}").json()
    assert emr.get(f"Patient/{updated}").json()["gender"] == "male"
    assert emr.get(f"Patient/{gone}").status_code == 410


def test_a_conditional_reference_means_the_one_match_stored_or_made(server: Live, emr: httpx.Client) -> None:
    here = stored(emr, "t2-here")
    answer = emr.post("", json=bundle(
        "transaction",
        entry("POST", "Observation", observation("Patient?identifier=urn:mrn|t2-here")),
        entry("POST", "Observation", observation(f"{server.base}/Patient?identifier=urn:mrn|t2-made")),
        entry("POST", "Patient", numbered("t2-made")),
        entry("PUT", "Patient/t2-put", numbered("t2-put", id="t2-put")),
        entry("POST", "Observation", observation("Patient?identifier=t2-put")),
    ))  # fmt: skip
    assert statuses(answer) == ["201"] * 5
    found = [each["resource"] for each in answer.json()["entry"]]
    subjects = [found[n]["subject"]["reference"] for n in (0, 1, 4)]
    assert subjects == [f"Patient/{here}", f"Patient/{found[2]['id']}", "Patient/t2-put"]


@pytest.mark.parametrize(
    "case", ["none", "several", "deleted in the same", "changed in the same", "one stored, one made"]
)
def test_a_conditional_reference_without_exactly_one_match_fails_the_transaction(emr: httpx.Client, case: str) -> None:
    number = f"t3-{case.replace(' ', '-').replace(',', '')}"
    ids = [stored(emr, number) for _ in range({"none": 0, "several": 2}.get(case, 1))]
    more = {
        "deleted in the same": lambda: [entry("DELETE", f"Patient/{ids[0]}")],
        "changed in the same": lambda: [entry("PUT", f"Patient/{ids[0]}", numbered("other", id=ids[0]))],
        "one stored, one made": lambda: [entry("POST", "Patient", numbered(number))],
    }.get(case, list)()
    made = bundle("transaction", *more, entry("POST", "Observation", observation(f"Patient?identifier={number}")))
    answer = emr.post("", json=made)
    assert answer.status_code == 412, answer.text
    assert answer.json()["issue"][0]["expression"] == [f"Bundle.entry[{len(more)}].resource"]
    assert total(emr, number) == len(ids)


def test_equal_conditional_creates_of_one_transaction_are_one_resource(emr: httpx.Client) -> None:
    one = [
        entry("POST", "Patient", numbered("t4"), full_url, ifNoneExist="identifier=urn:mrn|t4") for full_url in (U1, U2)
    ]
    uses = [entry("POST", "Observation", observation(full_url)) for full_url in (U1, U2)]
    answer = emr.post("", json=bundle("transaction", *one, *uses))
    assert statuses(answer) == ["201", "200", "201", "201"]
    found = [each["resource"] for each in answer.json()["entry"]]
    assert found[0] == found[1]
    assert found[2]["subject"] == found[3]["subject"] == {"reference": f"Patient/{found[0]['id']}"}
    assert total(emr, "t4") == 1


REFUSED: list[tuple[str, list[Json], int]] = [
    ("conditional creates of one condition with different contents",
     [entry("POST", "Patient", numbered("t5-a", gender=gender), ifNoneExist="identifier=t5-a")
      for gender in ("male", "female")], 400),
    ("two conditional updates that create", [entry("PUT", "Patient?identifier=t5-b", numbered("t5-b"))] * 2, 400),
    ("a conditional update of what is created",
     [entry("PUT", "Patient?identifier=t5-c", numbered("t5-c")), entry("POST", "Patient", numbered("t5-c"))], 400),
    ("a conditional update and an update of one resource",
     [entry("PUT", "Patient?identifier=t5-stored", numbered("t5-stored")),
      entry("PUT", "Patient/t5-stored", numbered("t5-stored", id="t5-stored"))], 400),
    ("a conditional delete and an update of one resource",
     [entry("DELETE", "Patient?identifier=t5-stored"),
      entry("PUT", "Patient/t5-stored", numbered("t5-stored", id="t5-stored"))], 400),
    ("a conditional create that matches several",
     [entry("POST", "Patient", numbered("t5-x"), ifNoneExist="identifier=t5-twice")], 412),
    ("a conditional create that matches one stored and one made",
     [entry("POST", "Patient", numbered("t5-stored")),
      entry("POST", "Patient", numbered("t5-x"), ifNoneExist="identifier=t5-stored")], 412),
    ("a conditional update that matches several", [entry("PUT", "Patient?identifier=t5-twice", numbered("t5-x"))], 412),
    ("a conditional delete that matches several", [entry("DELETE", "Patient?identifier=t5-twice")], 412),
    ("a conditional patch that matches nothing",
     [entry("PATCH", "Patient?identifier=t5-none", {"resourceType": "Parameters"})], 404),
    ("one fullUrl for two", [entry("POST", "Patient", numbered("t5-d"), U1), entry("POST", "Patient", numbered("t5-e"), U1)],
     400),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_r4_has_a_transaction_fail_on(emr: httpx.Client, entries: list[Json], status: int) -> None:
    emr.put("Patient/t5-stored", json=numbered("t5-stored", id="t5-stored"))
    for id in ("t5-1", "t5-2"):
        emr.put(f"Patient/{id}", json=numbered("t5-twice", id=id))
    before = emr.get("Patient?_summary=count").json()["total"]
    for order in (entries, entries[::-1]):
        answer = emr.post("", json=bundle("transaction", *order))
        assert answer.status_code == status, answer.text
        assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[")
    assert emr.get("Patient?_summary=count").json()["total"] == before


def test_a_conditional_create_does_not_find_what_the_transaction_deletes(emr: httpx.Client) -> None:
    old = stored(emr, "t6")
    made = entry("POST", "Patient", numbered("t6"), ifNoneExist="identifier=t6")
    answer = emr.post("", json=bundle("transaction", made, entry("DELETE", f"Patient/{old}")))
    assert statuses(answer) == ["201", "204"]
    assert total(emr, "t6") == 1


def test_a_conditional_create_finds_what_another_entry_creates(emr: httpx.Client) -> None:
    condition = entry("POST", "Patient", numbered("t7", gender="male"), ifNoneExist="identifier=t7")
    answer = emr.post("", json=bundle("transaction", condition, entry("POST", "Patient", numbered("t7"))))
    assert statuses(answer) == ["200", "201"]
    assert total(emr, "t7") == 1


# (condition, whether it holds on the Patient that the same transaction makes)
ON_WHAT_IS_MADE = [
    ("identifier=urn:mrn|{}", True), ("identifier={}&gender=male", True), ("identifier={}&gender=female", False),
    ("identifier={}&gender:not=female", True), ("identifier={}&birthdate=gt1969", True), ("identifier={}&family=numb", True),
    ("identifier={}&birthdate:missing=true", False), ("identifier={}&family:contains=umber", True),
    ("identifier={}&_lastUpdated=gt2000", True), ("identifier={}&_has:Observation:subject:code=x", False),
    ("identifier={}&general-practitioner:Practitioner.family=nobody", False), ("identifier={},other", True),
    ("identifier={}&_content=numbered", True), ("identifier={}&_content=unheard", False),
    ("identifier={}&_filter=gender eq male", True), ("identifier={}&_filter=gender eq female", False),
    ("identifier={}&name:exact=Numbered", True), ("identifier={}&_profile:missing=true", True),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "holds"), ON_WHAT_IS_MADE)
def test_a_condition_is_decided_on_what_is_made_as_on_what_is_stored(
    emr: httpx.Client, condition: str, holds: bool
) -> None:
    number = f"made-{ON_WHAT_IS_MADE.index((condition, holds))}"
    resource, query = numbered(number, gender="male", birthDate="1970"), condition.format(number)
    asked = entry("POST", "Patient", numbered(number), ifNoneExist=query)
    answer = emr.post("", json=bundle("transaction", entry("POST", "Patient", resource), asked))
    assert statuses(answer) == ["201", "200" if holds else "201"]
    found = emr.get(f"Patient?_id={answer.json()['entry'][0]['resource']['id']}&{query}").json()
    assert (found["total"] == 1) is holds


def test_of_equal_transactions_at_once_one_creates(server: Live, emr: httpx.Client) -> None:
    made = bundle(
        "transaction",
        *(entry("POST", "Patient", numbered(f"t8-{n}"), ifNoneExist=f"identifier=t8-{n}") for n in range(3)),
    )

    def send(_: int) -> int:
        with server.system() as client:
            return client.post("", json=made).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(send, range(6))) == [200] * 6
    assert [total(emr, f"t8-{n}") for n in range(3)] == [1, 1, 1]


def test_an_entry_of_a_transaction_that_changes_nothing_makes_no_version(emr: httpx.Client) -> None:
    id = stored(emr, "t9")
    answer = emr.post("", json=bundle(
        "transaction",
        entry("POST", "Patient", numbered("t9-a")),
        entry("PUT", f"Patient/{id}", numbered("t9", id=id)),
        entry("POST", "Patient", numbered("t9-b")),
    ))  # fmt: skip
    assert statuses(answer) == ["201", "200", "201"]
    assert [each["resource"]["identifier"][0]["value"] for each in answer.json()["entry"]] == ["t9-a", "t9", "t9-b"]
    assert answer.json()["entry"][1]["response"]["etag"] == 'W/"1"'


def test_relative_references_mean_the_entries_of_the_same_server_first(emr: httpx.Client) -> None:
    other = "http://other.example/fhir"
    answer = emr.post("", json=bundle(
        "transaction",
        entry("POST", "Patient", patient("Moved"), f"{other}/Patient/1"),
        entry("POST", "Observation", observation("Patient/1"), f"{other}/Observation/1"),
        entry("POST", "Observation", observation("Patient/1/_history/3"), f"{other}/Observation/2"),
        entry("POST", "Observation", observation(f"{other}/Patient/1"), U1),
        entry("POST", "Observation", observation("Patient/1"), U2),
    ))  # fmt: skip
    assert statuses(answer) == ["201"] * 5
    moved, *others = (each["resource"] for each in answer.json()["entry"])
    subjects = [each["subject"]["reference"] for each in others]
    assert subjects == [f"Patient/{moved['id']}"] * 3 + ["Patient/1"]


UNANSWERABLE = [
    ("a read of nothing", entry("GET", "Patient/never-there"), 404),
    ("a read of what is deleted", entry("GET", "Patient/t10-gone"), 410),
    ("a parameter that is unknown", entry("GET", "Patient?nonsense=x"), 400),
    ("a value that is none", entry("GET", "Patient?birthdate=never"), 400),
    ("a type that is unknown", entry("GET", "Nothing/x"), 404),
]


@pytest.mark.parametrize(("bad", "status"), [row[1:] for row in UNANSWERABLE], ids=[row[0] for row in UNANSWERABLE])
def test_a_transaction_with_a_read_that_fails_stores_nothing(emr: httpx.Client, bad: Json, status: int) -> None:
    emr.put("Patient/t10-gone", json=numbered("t10", id="t10-gone"))
    made = bundle("transaction", entry("POST", "Patient", numbered("t11")), bad, entry("DELETE", "Patient/t10-gone"))
    answer = emr.post("", json=made)
    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert total(emr, "t11") == 0
    assert emr.get("Patient/t10-gone").status_code == 200


def test_a_transaction_may_follow_a_page_link(emr: httpx.Client) -> None:
    for _ in range(2):
        stored(emr, "t13")
    (link,) = [
        each["url"] for each in emr.get("Patient?identifier=t13&_count=1").json()["link"] if each["relation"] == "next"
    ]
    answer = emr.post("", json=bundle("transaction", entry("GET", link)))
    assert statuses(answer) == ["200"]
    assert len(answer.json()["entry"][0]["resource"]["entry"]) == 1


def test_a_transaction_reads_what_it_writes(emr: httpx.Client) -> None:
    made = entry("PUT", "Patient/t12", numbered("t12", id="t12"))
    answer = emr.post("", json=bundle("transaction", entry("GET", "Patient/t12"), made))
    assert statuses(answer) == ["200", "201"]
    assert answer.json()["entry"][0]["resource"]["identifier"][0]["value"] == "t12"


# Entries of every kind


def test_a_batch_holds_what_the_server_offers(emr: httpx.Client) -> None:
    id = stored(emr, "b1")
    answer = emr.post("", json=bundle(
        "batch",
        entry("GET", f"Patient/{id}"),
        entry("HEAD", f"Patient/{id}"),
        entry("GET", f"Patient/{id}/_history"),
        entry("GET", f"Patient/{id}/_history/1"),
        entry("GET", "Patient?identifier=b1"),
        entry("POST", "Patient/_search?identifier=b1"),
        entry("POST", "Patient", numbered("b1"), ifNoneExist="identifier=b1"),
        entry("PUT", "Patient?identifier=b1", numbered("b1", gender="male")),
        entry("DELETE", "Patient?identifier=b1"),
    ))  # fmt: skip
    assert statuses(answer) == ["200"] * 8 + ["204"]
    found = answer.json()["entry"]
    types = [each.get("resource", {}).get("resourceType") for each in found]
    assert types == ["Patient", None, "Bundle", "Patient", "Bundle", "Bundle", "Patient", "Patient", None]
    assert found[1]["response"]["etag"] == 'W/"1"'
    assert found[1]["response"]["lastModified"][:19] == found[0]["resource"]["meta"]["lastUpdated"][:19]
    assert [found[n]["resource"]["total"] for n in (4, 5)] == [1, 1]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_entries_have_their_own_preconditions(emr: httpx.Client, kind: str) -> None:
    id = stored(emr, f"p-{kind}")
    asked = [
        entry("GET", f"Patient/{id}", ifNoneMatch='W/"1"'),
        entry("GET", f"Patient/{id}", ifNoneMatch='W/"2"'),
        entry("GET", f"Patient/{id}", ifModifiedSince="2100-01-01T00:00:00Z"),
        entry("GET", f"Patient/{id}", ifModifiedSince="2000-01-01T00:00:00+08:00"),
    ]
    answer = emr.post("", json=bundle(kind, *asked), headers={"If-None-Match": 'W/"1"'})
    assert statuses(answer) == ["304", "200", "304", "200"]


def test_an_if_modified_since_that_is_no_instant_is_refused(emr: httpx.Client) -> None:
    for said in ("yesterday", "2000-01-01"):
        answer = emr.post("", json=bundle("batch", entry("GET", "Patient/x", ifModifiedSince=said)))
        assert statuses(answer) == ["400"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_an_outcome_that_is_wanted_stands_in_the_response(emr: httpx.Client, kind: str) -> None:
    made = bundle(kind, entry("POST", "Patient", patient("Outcome")))
    (found,) = emr.post("", json=made, headers={"Prefer": "return=OperationOutcome"}).json()["entry"]
    assert "resource" not in found
    assert found["response"]["outcome"]["issue"][0]["severity"] == "information"


def test_a_transaction_asks_the_store_no_more_often_for_many_resources_than_for_few(
    server: Live, emr: httpx.Client, mongo_uri: str
) -> None:
    server.put(patient("Profiled", id="profiled"))
    counts: list[int] = []
    with MongoClient[Json](mongo_uri) as client:
        database = client[server.settings.database]
        for size in (2, 2, 40):  # the first may make what later ones find
            database.command("profile", 2)
            of_one = [entry("POST", "Observation", observation("Patient/profiled")) for _ in range(size)]
            answer = emr.post("", json=bundle("transaction", *of_one))
            database.command("profile", 0)
            assert len(answer.json()["entry"]) == size
            asked = database["system.profile"].count_documents(
                {"op": {"$in": ["query", "command"]}, "ns": {"$not": {"$regex": "profile"}}}
            )
            counts.append(asked - sum(counts))
    assert counts[2] <= counts[1] + 5, counts
