"""Auditors: they see what concerns their institution, as if the log held nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.consent_engine.build import LOINC, actor, concept, consent, permit
from tests.live import Live
from tests.noninterference.agreements import Json
from tests.noninterference.test_writes import observation

Event = dict[str, Any]


def all_events(auditor: httpx.Client, query: str = "") -> list[Event]:
    """Return every AuditEvent that a search finds, page by page; the pages' totals agree with it."""
    found: list[Event] = []
    totals = set()
    url: str | None = f"AuditEvent?_count=10&_total=accurate{query}"
    while url:
        page = auditor.get(url).json()
        found += [each["resource"] for each in page.get("entry", ())]
        totals.add(page["total"])
        url = {each["relation"]: each["url"] for each in page["link"]}.get("next")
    assert max(totals) >= len(found) >= min(totals)  # the auditor's own searches are events as well
    return found


def concerns(event: Event, institution: str, stored_at: dict[str, str]) -> bool:
    """Return whether an event is about a user or a record of an institution."""
    agents = {agent["who"].get("reference") for agent in event["agent"]}
    records = {entity["what"]["reference"].partition("/_history/")[0] for entity in entities(event)}
    owners = {stored_at.get(record) for record in records}
    return f"Organization/{institution}" in agents or institution in owners


@pytest.fixture(scope="module")
def stored_at(server: Live) -> dict[str, str]:
    """What three institutions stored, and read from each other; which record is whose."""
    for number in "123":
        patient: Json = {"resourceType": "Patient", "id": f"p{number}", "name": [{"family": "张"}]}
        server.put(patient, {**observation(f"p{number}"), "id": f"o{number}"}, organization=f"h{number}")
    for number in "12":
        with server.client("practitioner", f"Practitioner/dr{number}", f"h{number}") as doctor:
            for of in "123":
                doctor.get(f"Patient/p{of}")
                doctor.get(f"Observation/o{of}")
            doctor.get("Observation?patient.family=张")
            doctor.get("Observation/none")
    return {f"{place}{number}": f"h{number}" for place in ("Patient/p", "Observation/o") for number in "123"}


def auditor_of(server: Live, institution: str) -> httpx.Client:
    return server.client("auditor", f"Practitioner/aud-{institution}", institution)


def test_an_auditor_sees_all_that_concerns_the_institution_and_nothing_else(
    server: Live, stored_at: dict[str, str]
) -> None:
    seen = {}
    for institution in ("h1", "h2", "h3", "h9"):
        with auditor_of(server, institution) as auditor:
            events = all_events(auditor)
            assert all(concerns(event, institution, stored_at) for event in events)
            seen[institution] = {event["id"] for event in events}
            everything = set().union(*seen.values())
            for id in sorted(everything):
                assert (auditor.get(f"AuditEvent/{id}").status_code == 200) == (id in seen[institution])
    # What others did at home concerns nobody else; a refusal is known to those whose record it was.
    assert seen["h3"] - seen["h1"] - seen["h2"]
    with auditor_of(server, "h3") as auditor:
        refused = [
            each for each in all_events(auditor) if each["agent"][0]["who"].get("reference") == "Practitioner/dr1"
        ]
    assert {entity["what"]["reference"] for each in refused for entity in entities(each)} >= {
        "Patient/p3",
        "Observation/o3",
    }


def test_what_concerns_others_changes_nothing_in_an_auditors_answers(server: Live, stored_at: dict[str, str]) -> None:
    def told(auditor: httpx.Client) -> Any:
        queries = ("agent=Practitioner/dr2", "entity=Patient/p2", "patient=Patient/p2", "subtype=read&_summary=count")
        return [
            [each.get("resource") for each in found.get("entry", ())] + [found["total"]]
            for found in (auditor.get(f"AuditEvent?{query}").json() for query in queries)
        ]

    with auditor_of(server, "h3") as auditor:
        before = told(auditor)
        with server.client("practitioner", "Practitioner/dr2", "h2") as doctor:
            for _ in range(3):
                assert doctor.get("Patient/p2").status_code == 200
        assert told(auditor) == before


def test_an_auditor_sees_the_log_and_no_records(server: Live, stored_at: dict[str, str]) -> None:
    with auditor_of(server, "h1") as auditor:
        for place in stored_at:
            assert auditor.get(place).status_code == 404
        assert auditor.get("Patient").json()["total"] == auditor.get("Observation").json()["total"] == 0
    with server.client("practitioner", "Practitioner/dr1", "h1") as doctor:
        assert doctor.get("AuditEvent").json()["total"] == 0


def test_an_event_of_anothers_user_names_no_records_of_others(server: Live, stored_at: dict[str, str]) -> None:
    """dr1 of h1 finds records of h1 and, by consent, of h3 in one search: the auditor of h3 learns of the latter only."""
    said = {**consent(permit(actor=[actor("Practitioner/dr1")])), "id": "c3", "policyRule": {"text": "-"}}
    said |= {"patient": {"reference": "Patient/p3"}, "category": [concept(LOINC, "59284-0")]}
    server.put(said, organization="h3")
    with server.client("practitioner", "Practitioner/dr1", "h1") as doctor:
        assert doctor.get("Observation").json()["total"] == 2
    with auditor_of(server, "h3") as auditor:
        events = [each for each in all_events(auditor) if "Organization/h3" not in json.dumps(each["agent"])]
    named = {entity["what"]["reference"].partition("/_history/")[0] for each in events for entity in entities(each)}
    assert {each for each in named if stored_at.get(each, "h3") != "h3"} == set()


def test_a_search_that_gave_nothing_of_an_institution_is_unknown_to_its_auditor(
    server: Live, stored_at: dict[str, str]
) -> None:
    with auditor_of(server, "h3") as auditor:
        queries = [
            base64.b64decode(entity["query"]).decode()
            for event in all_events(auditor)
            for entity in event.get("entity", ())
            if "query" in entity and "Organization/h3" not in json.dumps(event["agent"])
        ]
    assert {each for each in queries if each.startswith("AuditEvent") or "family" in each} == set()


def entities(event: Event) -> list[Event]:
    return [each for each in event.get("entity", ()) if "what" in each]
