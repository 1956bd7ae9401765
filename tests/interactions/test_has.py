"""Reverse chaining over HTTP (FHIR R4 Search, "Reverse Chaining"); the examples of that page among them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.interactions import asking
from tests.interactions.asking import Json, found, loinc, refused, to
from tests.live import Live


def observation(id: str, subject: str, code: str, **more: Any) -> Json:
    return asking.observation(id, subject, code=loinc(code, text="Body weight"), **more)


def audited(id: str, entity: str, who: str) -> Json:
    """Return a Provenance: AuditEvents are written by the server alone."""
    return {
        "resourceType": "Provenance",
        "id": id,
        "recorded": "2024-01-01T00:00:00Z",
        "target": [to(entity)],
        "agent": [{"who": to(who)}],
    }


RESOURCES: list[Json] = [
    {"resourceType": "Organization", "id": "lab", "name": "Lab"},
    {
        "resourceType": "Patient",
        "id": "one",
        "name": [{"family": "Li"}],
        "managingOrganization": to("Organization/lab"),
    },
    {"resourceType": "Patient", "id": "two", "name": [{"family": "Wu"}]},
    {"resourceType": "Patient", "id": "three", "name": [{"family": "Wu"}]},
    observation("a", "Patient/one", "1234-5", effectiveDateTime="2024-01-01", performer=[to("Organization/lab")]),
    observation("b", "Patient/one", "9999-9"),
    observation("c", "Patient/two", "1234-5", effectiveDateTime="2020-01-01"),
    observation("d", "Patient/two", "1234-5", meta={"versionId": "1"}),
    observation("e", "Group/102", "1234-5"),
    observation("f", "http://other.example.org/Patient/three", "1234-5"),
    {"resourceType": "Group", "id": "102", "type": "person", "actual": True, "member": [{"entity": to("Patient/two")}]},
    {"resourceType": "Encounter", "id": "visit", "status": "finished", "class": {"code": "AMB"},
     "subject": to("Patient/two")},
    {"resourceType": "Encounter", "id": "other-visit", "status": "finished", "class": {"code": "AMB"},
     "subject": to("Patient/one")},
    audited("pa", "Observation/a", "Practitioner/me"),
    audited("pc", "Observation/c/_history/1", "Practitioner/other"),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(*RESOURCES)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # the page's own examples, with Provenance where it has AuditEvent
        ("Patient?_has:Observation:patient:code=1234-5", ["one", "two"]),
        ("Patient?_has:Observation:patient:_has:Provenance:target:agent=Practitioner/me", ["one"]),
        ("Encounter?patient._has:Group:member:_id=102", ["visit"]),
        ("Observation?patient._has:Group:member:_id=102", ["c", "d"]),
        # what the inner parameter can be
        ("Patient?_has:Observation:patient:code=9999-9", ["one"]),
        ("Patient?_has:Observation:patient:code=9999-9,1234-5", ["one", "two"]),
        ("Patient?_has:Observation:patient:code=none", []),
        ("Patient?_has:Observation:patient:code:not=1234-5", ["one"]),
        ("Patient?_has:Observation:patient:date:missing=true", ["one", "two"]),
        ("Patient?_has:Observation:patient:date=gt2023", ["one"]),
        ("Patient?_has:Observation:patient:_id=a,e", ["one"]),
        ("Patient?_has:Observation:patient:_lastUpdated=gt2000", ["one", "two"]),
        ("Patient?_has:Observation:patient:code:text=body", ["one", "two"]),
        ("Patient?_has:Observation:subject:code=1234-5", ["one", "two"]),
        ("Group?_has:Observation:subject:code=1234-5", ["102"]),
        ("Organization?_has:Patient:organization:name=li", ["lab"]),
        ("Observation?_has:Provenance:target:agent=Practitioner/other", ["c"]),
        # with chains on either side
        ("Patient?_has:Observation:patient:performer:Organization.name=lab", ["one"]),
        ("Organization?_has:Observation:performer:patient.name=li", ["lab"]),
        ("Organization?_has:Patient:organization:_has:Observation:patient:code=9999-9", ["lab"]),
        ("Observation?subject:Patient.organization._has:Patient:organization:name=li", ["a", "b"]),
        # with others: each _has is of its own
        ("Patient?_has:Observation:patient:code=1234-5&name=wu", ["two"]),
        ("Patient?_has:Observation:patient:code=1234-5&_has:Observation:patient:code=9999-9", ["one"]),
        ("Patient?_has:Observation:patient:code=1234-5&_has:Group:member:_id=102", ["two"]),
        ("Patient?_has:Observation:patient:code=1234-5&name:contains=w", ["two"]),
    ],
)
def test_has_finds(doctor: httpx.Client, query: str, expected: list[str]) -> None:
    assert found(doctor, query) == expected


def test_who_refers_no_more_is_found_no_more(server: Live, doctor: httpx.Client) -> None:
    server.put(observation("moving", "Patient/three", "moved"))
    asked = "Patient?_has:Observation:patient:code=moved"
    assert found(doctor, asked) == ["three"]
    server.put(observation("moving", "Patient/two", "moved"))
    assert found(doctor, asked) == ["two"]
    with server.system() as system:
        assert system.delete("Observation/moving").status_code == 204
    assert found(doctor, asked) == []


@pytest.mark.parametrize(
    "query",
    [
        "Patient?_has:Observation:patient=x",
        "Patient?_has:Observation:encounter:code=x",
        "Patient?_has:Observation:code:code=x",
        "Patient?_has:Observation:patient:code=",
        "Patient?_has:Observation:patient:date=x",
        "Patient?_has:Nothing:patient:code=x",
        "Patient?_has.code=x",
        "AuditEvent?_has:Provenance:target:agent=x",
    ],
)
def test_a_has_that_cannot_be_followed_is_refused(doctor: httpx.Client, query: str) -> None:
    refused(doctor, query)


def test_a_has_that_leads_to_too_much_is_refused_with_advice(
    doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.resolving.MOST_CHAINED", 1)
    assert found(doctor, "Patient?_has:Observation:patient:code=9999-9") == ["one"]
    for code in ("code=1234-5", "code:text=body"):
        issue = refused(doctor, f"Patient?_has:Observation:patient:{code}")
        assert issue["code"] == "too-costly"
        assert "ask more of Observation" in issue["diagnostics"]


def test_a_has_that_would_look_through_too_much_is_refused_with_advice(
    doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.resolving.MOST_REFERRING", 2)
    assert found(doctor, "Patient?_has:Observation:patient:code=9999-9") == ["one"]
    assert refused(doctor, "Patient?_has:Observation:patient:code=1234-5")["code"] == "too-costly"
    assert found(doctor, "Patient?_id=one&_has:Observation:patient:code=1234-5") == ["one"]
