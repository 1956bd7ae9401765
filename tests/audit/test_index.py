"""An AuditEvent is filed as any resource is, though what its kind shares is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.app import assemble, keyring_of
from fhir_server.fhir_json import parse
from tests.live import Live

REQUESTS = [
    "Patient/p1",
    "Patient/nobody",
    "Patient/nobody%20at%20all",
    "Patient/http:%2F%2Felsewhere.example",
    "Binary/id.of.a.specimen",
    "Patient?name=x",
    "Patient/p1/_history",
    "Observation?patient=Patient/p1&_count=0",
]

FIELDS = ("ix", "cx", "has", "r", "s", "e", "to", "g")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_index_of_an_event_is_that_of_the_whole_event(server: Live, mongo_uri: str) -> None:
    server.put({"resourceType": "Patient", "id": "p1", "name": [{"text": "张三"}]})
    with server.client("practitioner", "Practitioner/dr1", patient="Patient/p1") as doctor:
        for _ in range(2):
            for each in REQUESTS:
                doctor.get(each)
            doctor.get("Patient/p1", headers={"Authorization": "Bearer nobody"})
    parts = assemble(server.settings, keyring_of(server.settings), uri=mongo_uri)
    with MongoClient(mongo_uri) as client:
        stored = list(client[server.settings.database]["AuditEvent"].find())
    assert len(stored) > 2 * len(REQUESTS)
    bodies = await parts.services.resources.opened("AuditEvent", stored)
    for document, body in zip(stored, bodies, strict=True):
        whole = parts.services.audit.filed_under(parse(body))
        assert {field: document[field] for field in FIELDS if field in document} == whole
    await parts.client.close()


def _told(event: dict[str, Any], *path: str) -> set[str]:
    """Return the codes at a path of an event."""
    found: list[Any] = [event]
    for name in path:
        nested = [each[name] for each in found if name in each]
        found = [part for each in nested for part in (each if isinstance(each, list) else [each])]
    return set(found)


# By search: the events that it finds, by what they say. Their usual codes are filed apart, others are not.
SEARCHES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "action=R": lambda event: event["action"] == "R",
    "action=R,C": lambda event: event["action"] in "RC",
    "action:not=R": lambda event: event["action"] != "R",
    "outcome=0": lambda event: event["outcome"] == "0",
    "outcome=4": lambda event: event["outcome"] == "4",
    "outcome=0&action=R": lambda event: (event["outcome"], event["action"]) == ("0", "R"),
    "outcome=http://hl7.org/fhir/audit-event-outcome|0": lambda event: event["outcome"] == "0",
    "outcome=http://hl7.org/fhir/audit-event-outcome|": lambda event: True,
    "subtype=read,vread": lambda event: bool(_told(event, "subtype", "code") & {"read", "vread"}),
    "subtype=search-type&patient=p1": lambda event: (
        "search-type" in _told(event, "subtype", "code")
        and "Patient/p1" in {each.split("/_")[0] for each in _told(event, "entity", "what", "reference")}
    ),
    "type=rest&entity-role=24": lambda event: "24" in _told(event, "entity", "role", "code"),
    "agent-role=practitioner": lambda event: "practitioner" in _told(event, "agent", "role", "coding", "code"),
    "entity-type=AuthZ-Consent&outcome=4": lambda event: (
        "AuthZ-Consent" in _told(event, "entity", "type", "code") and event["outcome"] == "4"
    ),
}


@pytest.fixture(scope="module")
def events(server: Live) -> list[dict[str, Any]]:
    server.put({"resourceType": "Patient", "id": "p1", "name": [{"text": "张三"}]})
    with server.client("practitioner", "Practitioner/dr2", patient="Patient/p1") as doctor:
        for each in REQUESTS:
            doctor.get(each)
    with server.client("auditor", "Practitioner/auditor") as auditor:
        bundle = auditor.get("AuditEvent?_count=1000").json()
    return [each["resource"] for each in bundle["entry"]]


@pytest.mark.parametrize("asked", SEARCHES)
def test_events_are_found_by_what_most_of_them_say(server: Live, events: list[dict[str, Any]], asked: str) -> None:
    expected = {event["id"] for event in events if SEARCHES[asked](event)}
    assert expected
    with server.client("auditor", "Practitioner/auditor") as auditor:
        page = auditor.get(f"AuditEvent?{asked}&_count=1000&_total=accurate&_lastUpdated=le{events[-1]['recorded']}")
        bundle = page.json()
    found = {each["resource"]["id"] for each in bundle.get("entry", ())}
    assert found & {event["id"] for event in events} == expected
    assert bundle["total"] == len(found)
