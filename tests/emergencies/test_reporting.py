"""Statutory reporting needs no Consent, and is found in the log by the patient whose records were reported (rule 5)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]
REPORTER = "Device/report"


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("installation")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, reporting_clients=[REPORTER]) as running:
        yield running


@pytest.fixture
def key(server: Live) -> str:
    """A key of a Patient p… of whom there is a Condition c…, both of org1."""
    key = secrets.token_hex(4)
    subject = {"reference": f"Patient/p{key}"}
    server.put(
        {"resourceType": "Patient", "id": f"p{key}", "name": [{"text": "张"}]},
        {"resourceType": "Condition", "id": f"c{key}", "code": {"text": "麻疹"}, "subject": subject},
    )
    return key


def reporter(server: Live, user: str = REPORTER) -> httpx.Client:
    return server.client("system", user, "org1", "PUBHLTH", scope="system/*.rs")


def events(server: Live, key: str) -> list[Json]:
    """Return the AuditEvents that name the patient, without those of the system that stored them."""
    with server.client("auditor", "Practitioner/auditor") as auditor:
        asked = {"patient": f"Patient/p{key}", "_sort": "date", "_count": "100"}
        found = auditor.get("AuditEvent", params=asked).json().get("entry", ())
    agents = [(each["resource"], each["resource"]["agent"][0]["who"]["reference"]) for each in found]
    return [event for event, agent in agents if agent != "Device/emr-org1"]


ASKED = ["Condition/c{}", "Condition/c{}/_history/1", "Condition/c{}/_history", "Condition?patient=Patient/p{}"]


@pytest.mark.parametrize("path", ASKED)
def test_a_report_is_found_by_its_patient_and_marked(server: Live, key: str, path: str) -> None:
    with reporter(server) as client:
        assert client.get(path.format(key)).status_code == 200
    (event,) = events(server, key)
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "PUBHLTH"
    assert event["outcomeDesc"] == "HTTP 200 statutory-reporting"
    assert event["agent"][0]["who"]["reference"] == REPORTER
    assert {"reference": f"Patient/p{key}"} in [each.get("what") for each in event["entity"]]


def test_the_mark_is_that_of_reporting_systems_alone(server: Live, key: str) -> None:
    with reporter(server, "Device/other") as client:
        client.get(f"Condition/c{key}")
    with server.client("practitioner", "Practitioner/dr") as client:
        client.get(f"Condition/c{key}")
    said = [each.get("outcomeDesc", "") for each in events(server, key)]
    assert said
    assert not [each for each in said if "reporting" in each]
