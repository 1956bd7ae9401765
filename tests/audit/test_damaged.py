"""One AuditEvent that was changed in the database keeps no auditor from the others: it is named, and never shown."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from bson import Int64
from pymongo import MongoClient

from tests.live import Live

Json = dict[str, Any]
SECRET = "OBSERVATION-OF-NOBODY"
READS = 5


class Met(NamedTuple):
    """A user whose reads are in the log. changed: the id of one of these events; ids: of all."""

    user: str
    changed: str
    ids: list[str]


@pytest.fixture(scope="module")
def raw(server: Live, mongo_uri: str) -> Iterator[Any]:
    """The collection, for whoever writes to it behind the server's back."""
    with MongoClient[Json](mongo_uri) as client:
        yield client[server.settings.database]["AuditEvent"]


@pytest.fixture
def met(server: Live) -> Met:
    user = f"Practitioner/d{secrets.token_hex(4)}"
    with server.client("practitioner", user) as doctor:
        for n in range(READS):
            doctor.get(f"Observation/{SECRET}-{n}")
    ids = [each["id"] for each in shown(search(server, agent=user, _sort="date"))]
    assert len(ids) == READS
    return Met(user, ids[2], ids)


def search(server: Live, path: str = "AuditEvent", **asked: str) -> Json:
    with server.client("auditor", "Practitioner/auditor") as auditor:
        answer = auditor.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


def shown(bundle: Json) -> list[Json]:
    return [each["resource"] for each in bundle.get("entry", ()) if each["search"]["mode"] == "match"]


def named(bundle: Json) -> list[str]:
    """Return the ids of the events of which a Bundle says that they are not shown."""
    told = [each for each in bundle.get("entry", ()) if each["search"]["mode"] == "outcome"]
    for each in told:
        (issue,) = each["resource"]["issue"]
        assert (each["resource"]["resourceType"], issue["severity"]) == ("OperationOutcome", "error")
        assert "fhir-facade audit verify" in issue["diagnostics"]
    links = [link["url"] for each in told for link in each["link"]]
    ids = [each.rpartition("/AuditEvent/")[2] for each in links]
    assert all(id in each["resource"]["issue"][0]["diagnostics"] for id, each in zip(ids, told, strict=True))
    return ids


def flipped(body: bytes) -> bytes:
    return body[:40] + bytes([body[40] ^ 1]) + body[41:]


CHANGES: dict[str, Any] = {
    "its text": lambda event: {"$set": {"body": flipped(event["body"])}},
    "cut off": lambda event: {"$set": {"body": event["body"][:5]}},
    "another form": lambda event: {"$set": {"body": "text"}},
    "no body": lambda event: {"$unset": {"body": ""}},
    "another key": lambda event: {"$set": {"k": Int64(event["k"] ^ 1)}},
    "a key that is none": lambda event: {"$set": {"k": []}},
    "no key": lambda event: {"$unset": {"k": ""}},
    "its version": lambda event: {"$set": {"v": 2}},
    "its time": lambda event: {"$set": {"at": event["at"] + 1}},
    "no time": lambda event: {"$unset": {"at": ""}},
    "who sees it": lambda event: {"$set": {"pr": ["p1"]}},
    "its mark": lambda event: {"$unset": {"m": ""}},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_search_goes_on_and_names_the_event_that_was_changed(server: Live, raw: Any, met: Met, what: str) -> None:
    raw.update_one({"_id": met.changed}, CHANGES[what](raw.find_one({"_id": met.changed})))
    for sort in ("date", "-_lastUpdated", "_id"):
        found = search(server, agent=met.user, _sort=sort)
        assert sorted(each["id"] for each in shown(found)) == sorted({*met.ids} - {met.changed})
        assert named(found) == [met.changed]
        assert found["total"] == READS
    with server.client("auditor", "Practitioner/auditor") as auditor:
        for path in ("", "/_history/1", "/$replay"):
            answer = auditor.request("POST" if "$" in path else "GET", f"AuditEvent/{met.changed}{path}")
            assert answer.status_code in (404, 410, 500), path
            assert SECRET not in answer.text


ASKED: dict[str, Json] = {
    "by post": {},
    "whole pages": {"_count": "2", "_sort": "date"},
    "of several types": {"_type": "AuditEvent,Organization", "_sort": "_lastUpdated"},
    "by what the bodies say": {"agent-role:text": "practitioner"},
    "in part": {"_elements": "outcome"},
    "sorted by what the bodies say": {"_sort": "agent-role"},
}


@pytest.mark.parametrize("how", ASKED)
def test_it_is_named_however_it_is_met(server: Live, raw: Any, met: Met, how: str) -> None:
    event = raw.find_one({"_id": met.changed})
    raw.update_one({"_id": met.changed}, {"$set": {"body": flipped(event["body"])}})
    path = "" if "_type" in ASKED[how] else "AuditEvent"
    asked = {"_id": ",".join(met.ids), **ASKED[how]}
    with server.client("auditor", "Practitioner/auditor") as auditor:
        answer = (
            auditor.post(
                "AuditEvent/_search", data=asked, headers={"Content-Type": "application/x-www-form-urlencoded"}
            )
            if how == "by post"
            else auditor.get(path, params=asked)
        )
        pages = [answer.json()]
        while following := [each["url"] for each in pages[-1]["link"] if each["relation"] == "next"]:
            pages.append(auditor.get(following[0]).json())
    assert sorted(each["id"] for page in pages for each in shown(page)) == sorted({*met.ids} - {met.changed})
    assert [id for page in pages for id in named(page)] == [met.changed]


def test_what_is_included_is_named_as_well(server: Live, raw: Any, met: Met) -> None:
    with server.client("auditor", "Practitioner/reader") as auditor:
        assert auditor.get(f"AuditEvent/{met.changed}").status_code == 200
    event = raw.find_one({"_id": met.changed})
    raw.update_one({"_id": met.changed}, {"$set": {"body": flipped(event["body"])}})
    found = search(
        server, agent="Practitioner/reader", entity=f"AuditEvent/{met.changed}", _include="AuditEvent:entity"
    )
    assert len(shown(found)) == 1
    assert named(found) == [met.changed]


def test_a_number_alone_counts_it(server: Live, raw: Any, met: Met) -> None:
    raw.update_one({"_id": met.changed}, {"$unset": {"body": ""}})
    found = search(server, agent=met.user, _summary="count")
    assert (found["total"], named(found)) == (READS, [])
    found = search(server, **{"agent": met.user, "agent-role:text": "practitioner", "_summary": "count"})
    assert (found["total"], named(found)) == (READS - 1, [met.changed])


def test_whoever_is_told_of_it_is_recorded(server: Live, raw: Any, met: Met) -> None:
    raw.update_one({"_id": met.changed}, {"$unset": {"body": ""}})
    user = f"Practitioner/a{secrets.token_hex(4)}"
    with server.client("auditor", user) as auditor:
        auditor.get("AuditEvent", params={"agent": met.user})
    (event,) = shown(search(server, agent=user))
    told = {each["what"]["reference"] for each in event["entity"] if "what" in each}
    assert f"AuditEvent/{met.changed}" in told
    assert told == {f"AuditEvent/{met.changed}", *(f"AuditEvent/{id}/_history/1" for id in {*met.ids} - {met.changed})}
    (results,) = [
        one["valueString"] for each in event["entity"] for one in each.get("detail", ()) if one["type"] == "results"
    ]
    assert results == "2-10"
    with server.client("auditor", "Practitioner/auditor") as auditor:
        said = auditor.post(f"AuditEvent/{event['id']}/$replay").json()["parameter"]
    assert [one["valueBoolean"] for one in said if one["name"] == "same"] == [True]


OTHERS = [
    ("practitioner", "org1", "user/*.rs"),
    ("system", "org1", "system/*.rs"),
    ("patient", "org1", "patient/*.rs"),
    ("auditor", "org2", "user/*.rs"),
]


@pytest.mark.parametrize(("role", "organization", "scope"), OTHERS)
def test_nobody_else_learns_that_there_is_such_an_event(
    server: Live, raw: Any, met: Met, role: str, organization: str, scope: str
) -> None:
    user = {"patient": "Patient/p1", "system": "Device/x"}.get(role, "Practitioner/x")
    asked = [
        f"AuditEvent?_id={met.changed}",
        f"AuditEvent/{met.changed}",
        f"AuditEvent?agent={met.user}",
        "AuditEvent?_id=no",
    ]
    with server.client(role, user, organization, scope=scope) as client:
        before = [client.get(each).text for each in asked]
        raw.update_one({"_id": met.changed}, {"$unset": {"body": "", "k": ""}})
        assert [client.get(each).text for each in asked] == before


def test_an_id_that_is_none_of_the_servers_is_not_repeated(server: Live, raw: Any, met: Met) -> None:
    event = raw.find_one({"_id": met.changed})
    raw.insert_one({**event, "_id": "110101199003070011-ZHANG"})
    try:
        with server.client("auditor", "Practitioner/auditor") as auditor:
            answer = auditor.get("AuditEvent", params={"agent": met.user})
        assert len(shown(answer.json())) == READS
        (told,) = [each for each in answer.json()["entry"] if each["search"]["mode"] == "outcome"]
        assert told["resource"]["issue"][0]["diagnostics"].startswith("1 more: ")
        assert "ZHANG" not in answer.text
    finally:
        raw.delete_one({"_id": "110101199003070011-ZHANG"})
