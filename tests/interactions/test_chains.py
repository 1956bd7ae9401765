"""Chained parameters over HTTP (FHIR R4 Search, "Chained Parameters"); the examples of that page among them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.interactions.asking import Json, found, refused, to
from tests.live import Live

RESOURCES: list[Json] = [
    {"resourceType": "Organization", "id": "region", "name": "Region"},
    {"resourceType": "Organization", "id": "hospital", "name": "Hospital", "partOf": to("Organization/region")},
    {"resourceType": "Organization", "id": "ward", "name": "Ward", "partOf": to("Organization/hospital")},
    {
        "resourceType": "Practitioner",
        "id": "joe",
        "name": [{"family": "Joe"}],
        "address": [{"state": "CA"}],
    },
    {
        "resourceType": "Practitioner",
        "id": "ann",
        "name": [{"family": "Ann"}],
        "address": [{"state": "MN"}],
    },
    {
        "resourceType": "Patient",
        "id": "peter",
        "name": [{"given": ["Peter"]}],
        "managingOrganization": to("Organization/ward"),
        "generalPractitioner": [to("Practitioner/joe"), to("Practitioner/ann")],
        "meta": {"tag": [{"system": "urn:tag", "code": "vip"}]},
    },
    {
        "resourceType": "Patient",
        "id": "mary",
        "name": [{"given": ["Mary"]}],
        "birthDate": "1980-05-06",
        "managingOrganization": to("Organization/hospital"),
        "generalPractitioner": [to("Practitioner/joe")],
    },
    {"resourceType": "Group", "id": "102", "type": "person", "actual": True, "member": [{"entity": to("Patient/mary")}]},
    *(
        {"resourceType": "Encounter", "id": f"visit-{who}", "status": "finished", "class": {"code": "AMB"},
         "subject": to(f"Patient/{who}")}
        for who in ("peter", "mary")
    ),
    *(
        {"resourceType": "DiagnosticReport", "id": f"report-{who}", "status": "final", "code": {"text": "x"},
         "subject": to(f"Patient/{who}"), "encounter": to(f"Encounter/visit-{who}")}
        for who in ("peter", "mary")
    ),
    {
        "resourceType": "DiagnosticReport",
        "id": "report-elsewhere",
        "status": "final",
        "code": {"text": "x"},
        "subject": to("http://other.example.org/Patient/peter"),
    },
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(*RESOURCES)


BOTH = ["report-mary", "report-peter"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # the page's own examples
        ("DiagnosticReport?subject.name=peter", ["report-peter"]),
        ("DiagnosticReport?subject:Patient.name=peter", ["report-peter"]),
        ("Patient?general-practitioner.name=Joe&general-practitioner.address-state=MN", ["peter"]),
        ("Encounter?patient._has:Group:member:_id=102", ["visit-mary"]),
        # several steps
        ("Patient?organization.name=ward", ["peter"]),
        ("Patient?organization.partof.name=hospital", ["peter"]),
        ("Patient?organization.partof.partof.name=region", ["peter"]),
        ("DiagnosticReport?subject:Patient.organization.partof.name=region", ["report-mary"]),
        ("DiagnosticReport?encounter.subject:Patient.organization.partof.partof.name=region", ["report-peter"]),
        ("DiagnosticReport?encounter.patient.organization.name=ward,hospital", BOTH),
        ("DiagnosticReport?subject:Group.member.name=mary", []),
        # every kind of end
        ("DiagnosticReport?subject:Patient._id=peter", ["report-peter"]),
        ("DiagnosticReport?subject:Patient._id:not=peter", ["report-mary"]),
        ("DiagnosticReport?subject:Patient._tag=urn:tag|vip", ["report-peter"]),
        ("DiagnosticReport?subject:Patient.birthdate:missing=true", ["report-peter"]),
        ("DiagnosticReport?subject:Patient.birthdate=1980-05", ["report-mary"]),
        ("DiagnosticReport?subject:Patient.name:contains=ete", ["report-peter"]),
        ("DiagnosticReport?subject:Patient.name:exact=peter", []),
        ("DiagnosticReport?subject:Patient._lastUpdated=gt2000", BOTH),
        ("DiagnosticReport?subject:Patient._lastUpdated=lt2000", []),
        ("DiagnosticReport?encounter.subject=Patient/peter", ["report-peter"]),
        # several values, several chains: each is of its own
        ("DiagnosticReport?patient.name=peter,mary", BOTH),
        ("DiagnosticReport?patient.name=peter&patient.name=mary", []),
        ("Patient?general-practitioner.name=Joe&general-practitioner.name=Ann", ["peter"]),
    ],
)
def test_a_chain_finds(doctor: httpx.Client, query: str, expected: list[str]) -> None:
    assert found(doctor, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "DiagnosticReport?subject:Organization.name=x",
        "DiagnosticReport?subject:identifier.name=x",
        "DiagnosticReport?subject.nothing=x",
        "DiagnosticReport?status.name=x",
        "DiagnosticReport?subject:Patient.birthdate=x",
        "Organization?partof.partof.partof.partof.partof.partof.name=x",
        "Provenance?target.target.target.target._lastUpdated=2020",
    ],
)
def test_a_chain_that_cannot_be_followed_is_refused(doctor: httpx.Client, query: str) -> None:
    refused(doctor, query)


def test_a_chain_that_leads_to_too_much_is_refused_with_advice(
    doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.resolving.MOST_CHAINED", 1)
    assert found(doctor, "DiagnosticReport?subject:Patient.name=peter") == ["report-peter"]
    issue = refused(doctor, "DiagnosticReport?subject:Patient.name=peter,mary")
    assert issue["code"] == "too-costly"
    assert "ask more of Patient" in issue["diagnostics"]
    # Twice the same end is looked up once, and is as costly.
    refused(doctor, "DiagnosticReport?subject:Patient.name=p,m&patient.name=p,m")


@pytest.fixture
def _tagged(server: Live) -> Iterator[None]:
    """The report from elsewhere is tagged, and of Peter, for a while."""
    [report] = (each for each in RESOURCES if each["id"] == "report-elsewhere")
    server.put({**report, "subject": to("Patient/peter"), "meta": {"tag": [{"system": "urn:tag", "code": "r"}]}})
    yield
    server.put(report)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("DiagnosticReport?_id=report-peter&subject:Patient.name=peter,mary", ["report-peter"]),
        ("DiagnosticReport?subject=Patient/mary&subject:Patient.name=peter,mary", ["report-mary"]),
        ("DiagnosticReport?subject=Patient/mary&encounter.status=finished", ["report-mary"]),
        ("DiagnosticReport?_id=report-mary&encounter.patient.organization.name=ward,hospital", ["report-mary"]),
        ("DiagnosticReport?_lastUpdated=gt2000&_tag=urn:tag|r&subject:Patient.name=peter,mary", ["report-elsewhere"]),
        ("Patient?_id=peter&_has:Encounter:patient:status=finished", ["peter"]),
        ("Patient?_tag=urn:tag|vip&_has:Encounter:patient:status=finished", ["peter"]),
        ("Patient?_id=peter&organization.partof._has:Patient:organization:birthdate=1980", ["peter"]),
    ],
)
@pytest.mark.usefixtures("_tagged")
def test_a_chain_that_would_lead_to_too_much_is_followed_from_the_few_that_the_rest_finds(
    doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch, query: str, expected: list[str]
) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.resolving.MOST_CHAINED", 1)
    assert found(doctor, query) == expected
