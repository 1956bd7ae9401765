"""FHIR R4 RESTful API, "history": of an instance, a type and the system; _since, _at, _count, pages."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.databases import fresh
from tests.live import Clock, Live, live

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
PATIENT: dict[str, Any] = {"resourceType": "Patient", "gender": "male"}


def at(minutes: int) -> str:
    return (START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock(START)


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Live]:
    """A server whose store came about like this, one write a minute from 8:00 on:

    0 Patient/a, 1 Patient/b, 2 Patient/a again, 3 Observation/o, 4 Patient/b deleted, 5 Patient/a a third time,
    6 Patient/b stored again.
    """
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, tmp_path_factory.mktemp("installation"), database=name, clock=clock) as running,
    ):
        with running.system() as emr:
            writes = [
                ("PUT", {**PATIENT, "id": "a"}),
                ("PUT", {**PATIENT, "id": "b"}),
                ("PUT", {**PATIENT, "id": "a", "gender": "female"}),
                ("PUT", {**observation("o"), "subject": {"reference": "Patient/a"}}),
                ("DELETE", {**PATIENT, "id": "b"}),
                ("PUT", {**PATIENT, "id": "a", "gender": "other"}),
                ("PUT", {**PATIENT, "id": "b", "gender": "other"}),
            ]
            for minute, (method, resource) in enumerate(writes):
                clock.now = START + timedelta(minutes=minute)
                place = f"{resource['resourceType']}/{resource['id']}"
                answer = emr.request(method, place, json=resource if method == "PUT" else None)
                assert answer.status_code in (200, 201, 204), answer.text
        clock.now = START + timedelta(hours=1)
        yield running


def observation(id: str) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}}


def shown(bundle: dict[str, Any]) -> list[str]:
    """Return the entries of a history as "a2" (id and version), with "!" behind a deletion."""
    found = []
    for entry in bundle.get("entry", ()):
        id, etag = entry["fullUrl"].rpartition("/")[2], entry["response"]["etag"]
        gone = entry["request"]["method"] == "DELETE"
        assert gone is ("resource" not in entry)
        if not gone:
            assert (entry["resource"]["id"], entry["resource"]["meta"]["versionId"]) == (id, etag[3:-1])
            assert entry["resource"]["meta"]["lastUpdated"] == entry["response"]["lastModified"]
        found.append(f"{id}{etag[3:-1]}{'!' if gone else ''}")
    return found


def pages(client: httpx.Client, path: str, **params: str) -> list[list[str]]:
    found, answer = [], client.get(path, params=params)
    while True:
        assert answer.status_code == 200, answer.text
        found.append(shown(answer.json()))
        links = {each["relation"]: each["url"] for each in answer.json()["link"]}
        if "next" not in links:
            return found
        answer = client.get(links["next"])


ALL = ["b3", "a3", "b2!", "o1", "a2", "b1", "a1"]
ASKED = [
    ("_history", {}, ALL),
    ("Patient/_history", {}, ["b3", "a3", "b2!", "a2", "b1", "a1"]),
    ("Observation/_history", {}, ["o1"]),
    ("Encounter/_history", {}, []),
    ("Patient/a/_history", {}, ["a3", "a2", "a1"]),
    ("Patient/b/_history", {}, ["b3", "b2!", "b1"]),
    # _since: at or after the instant
    ("_history", {"_since": at(4)}, ["b3", "a3", "b2!"]),
    ("_history", {"_since": "2026-03-01T08:04:00.001Z"}, ["b3", "a3"]),
    ("_history", {"_since": "2026-03-01T16:05:00+08:00"}, ["b3", "a3"]),
    ("_history", {"_since": at(30)}, []),
    ("Patient/a/_history", {"_since": at(2)}, ["a3", "a2"]),
    ("Patient/a/_history", {"_since": at(30)}, []),
    # _at: current at some time of it
    ("_history", {"_at": at(0)}, ["a1"]),
    ("_history", {"_at": at(1)}, ["b1", "a1"]),
    ("_history", {"_at": at(2)}, ["a2", "b1"]),
    ("_history", {"_at": at(4)}, ["b2!", "o1", "a2"]),
    ("_history", {"_at": at(5)}, ["a3", "o1"]),
    ("_history", {"_at": "2026-03-01T08:04Z"}, ["b2!", "o1", "a2"]),
    ("_history", {"_at": "2026-03-01"}, ALL),
    ("_history", {"_at": "2026-02"}, []),
    ("_history", {"_at": "2026-04"}, ["b3", "a3", "o1"]),
    ("Patient/_history", {"_at": at(3)}, ["a2", "b1"]),
    ("Patient/a/_history", {"_at": at(3)}, ["a2"]),
    ("Patient/a/_history", {"_at": at(2)}, ["a2"]),
    ("Patient/b/_history", {"_at": at(5)}, []),
    ("Patient/b/_history", {"_at": at(4)}, ["b2!"]),
    ("_history", {"_at": at(5), "_since": at(3)}, ["a3", "o1"]),
]


@pytest.mark.parametrize(("path", "params", "expected"), ASKED)
def test_a_history_lists_what_was_stored_newest_first(
    emr: httpx.Client, path: str, params: dict[str, str], expected: list[str]
) -> None:
    answer = emr.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["resourceType"], found["type"]) == ("Bundle", "history")
    assert shown(found) == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize("count", ["1", "2", "3", "100"])
@pytest.mark.parametrize(("path", "params", "expected"), ASKED)
def test_pages_join_to_the_whole(
    emr: httpx.Client, path: str, params: dict[str, str], expected: list[str], count: str
) -> None:
    found = pages(emr, path, _count=count, **params)
    assert [each for page in found for each in page] == expected
    assert all(len(page) == int(count) for page in found[:-1])


def test_the_total_of_many_pages_is_given_where_it_is_exact(emr: httpx.Client) -> None:
    assert emr.get("Patient/a/_history?_count=1").json()["total"] == 3
    assert "total" not in emr.get("_history?_count=1").json()


REFUSED = [
    ("_since=yesterday", "value"),
    ("_at=2026-13", "value"),
    ("_count=x", "value"),
    ("_count=0", "value"),
    ("_count=1&_count=2", "value"),
    ("_sort=_lastUpdated", "not-supported"),
    ("name=x", "not-supported"),
    ("_cursor=AAAA", "value"),
    ("_cursor=AAAA&_count=1", "value"),
]


@pytest.mark.parametrize(("query", "code"), REFUSED)
@pytest.mark.parametrize("path", ["_history", "Patient/_history", "Patient/a/_history"])
def test_what_a_history_does_not_take_is_400(emr: httpx.Client, path: str, query: str, code: str) -> None:
    answer = emr.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["code"] == code


def test_lenient_handling_leaves_out_what_is_not_known(emr: httpx.Client) -> None:
    answer = emr.get("Patient/a/_history?name=x&_count=1", headers={"Prefer": "handling=lenient"})
    assert shown(answer.json()) == ["a3"]
    links = {each["relation"]: each["url"] for each in answer.json()["link"]}
    assert links["self"].endswith("/Patient/a/_history?_count=1")


def test_a_page_link_serves_its_own_place_and_requester_only(server: Live, emr: httpx.Client) -> None:
    links = {each["relation"]: each["url"] for each in emr.get("Patient/_history?_count=1").json()["link"]}
    cursor = links["next"].partition("?")[2]
    assert emr.get(f"Patient/_history?{cursor}").status_code == 200
    for path in ("_history", "Observation/_history", "Patient/a/_history", "Patient"):
        assert emr.get(f"{path}?{cursor}").status_code == 400
    with server.client("practitioner", "Practitioner/dr1") as other:
        assert other.get(f"Patient/_history?{cursor}").status_code == 400


def test_the_history_of_nothing_is_404_and_of_an_unknown_type_too(emr: httpx.Client) -> None:
    for path in ("Patient/none/_history", "Patient/none/_history?_since=2026", "Nonsense/_history"):
        assert emr.get(path).status_code == 404


def test_scopes_say_which_types_the_system_history_covers(server: Live) -> None:
    for scope, status, expected in (
        ("user/Observation.rs", 200, ["o1"]),
        ("user/Observation.s user/Patient.r", 200, ["o1"]),
        ("user/Patient.r", 403, []),
        ("user/Patient.cud", 403, []),
    ):
        with server.client("practitioner", "Practitioner/dr1", scope=scope) as doctor:
            answer = doctor.get("_history?_at=2026-03-01T08:03:00Z")
            assert answer.status_code == status
            assert shown(answer.json()) == expected
    with server.client("practitioner", "Practitioner/dr1", scope="user/Observation.rs") as doctor:
        assert doctor.get("Patient/_history").status_code == 403


def test_the_log_is_in_the_history_of_auditors_alone(server: Live, emr: httpx.Client) -> None:
    emr.get("Patient/a")
    types = {each["resource"]["resourceType"] for each in emr.get("_history").json()["entry"] if "resource" in each}
    assert types == {"Patient", "Observation"}
    assert emr.get("AuditEvent/_history").json().get("entry", []) == []
    with server.client("auditor", "Practitioner/auditor", scope="user/*.rs") as auditor:
        found = auditor.get("_history?_count=3").json()
    assert [each["resource"]["resourceType"] for each in found["entry"]] == ["AuditEvent"] * 3


def test_another_institution_sees_none_of_it(server: Live) -> None:
    with server.system("org2") as other:
        assert shown(other.get("_history").json()) == []
        assert other.get("Patient/a/_history").status_code == 404


def test_a_history_that_leaves_is_recorded(server: Live, emr: httpx.Client) -> None:
    emr.get("Observation/_history?_count=1")
    with server.client("auditor", "Practitioner/auditor", scope="user/*.rs") as auditor:
        event = auditor.get("AuditEvent?_sort=-_lastUpdated&_count=1&subtype=history-type").json()["entry"][0][
            "resource"
        ]
    assert event["subtype"][0]["code"] == "history-type"
    assert event["action"] == "R"
    assert "/_history/" in event["entity"][0]["what"]["reference"]


def test_what_is_stored_while_pages_are_read_moves_nothing(clock: Clock, emr: httpx.Client) -> None:
    for minute, id in enumerate(("p1", "p2", "p3")):
        clock.now = START + timedelta(hours=1, minutes=minute)
        emr.put(f"Observation/{id}", json=observation(id))
    begun = emr.get("Observation/_history?_count=2").json()
    clock.now = START + timedelta(hours=2)
    emr.put("Observation/p1", json={**observation("p1"), "status": "amended"})
    links = {each["relation"]: each["url"] for each in begun["link"]}
    assert shown(begun) + shown(emr.get(links["next"]).json()) == ["p31", "p21", "p11", "o1"]


def test_no_version_is_missed_or_shown_twice_while_others_are_stored(server: Live) -> None:
    def store() -> None:
        with server.system() as client:
            for number in range(40):
                device = {"resourceType": "Device", "id": "d", "lotNumber": str(number)}
                assert client.put("Device/d", json=device).status_code in (200, 201)

    with ThreadPoolExecutor(1) as pool, server.system() as reader:
        storing = pool.submit(store)
        while not storing.done():
            for path in (
                "Device/_history?_count=100",
                "Device/d/_history?_count=100",
                "_history?_count=100&_since=2026",
            ):
                answer = reader.get(path)
                found = (
                    [each for each in shown(answer.json()) if each.startswith("d")] if answer.status_code == 200 else []
                )
                assert found == [f"d{number}" for number in range(len(found), 0, -1)]
        storing.result()
        assert len(shown(reader.get("Device/_history?_count=100").json())) == 40


def test_a_part_of_each_version_can_be_asked_for(emr: httpx.Client) -> None:
    for path in (
        "Patient/a/_history?_elements=gender",
        "Patient/a/_history?_summary=true",
        "Patient/_history?_summary=true",
    ):
        (tag,) = emr.get(path).json()["entry"][0]["resource"]["meta"]["tag"]
        assert tag["code"] == "SUBSETTED"
    assert "gender" not in emr.get("Patient/a/_history/1?_summary=text").json()
    assert "gender" not in emr.get("Patient/a?_summary=text").json()
    assert emr.get("Patient/a?_elements=gender").json()["gender"] == "other"
    for query in ("_summary=all", "_summary=count", "_elements=nothing", "_elements=gender&_summary=true"):
        for path in ("Patient/a", "Patient/a/_history/1", "Patient/a/_history", "Patient/_history", "_history"):
            assert emr.get(f"{path}?{query}").status_code == 400, (path, query)
