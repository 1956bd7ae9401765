"""An event that was hidden from searches is found by a verification, for which events are filed again as they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.app import assemble, keyring_of
from fhir_server.cli import app
from fhir_server.fhir_json import parse
from fhir_server.resident_id import check_character
from fhir_server.settings import Settings
from tests.consent_engine.build import actor, consent, permit
from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]
FIRST = "11000019800101001"
NUMBER = FIRST + check_character(FIRST)


def used(server: Live) -> None:
    """Have the server write events of every kind."""
    subject = {"subject": {"reference": "Patient/p1"}, "status": "final", "code": {"text": "x"}}
    known = {"identifier": [{"system": "urn:oid:2.16.156.10011.1.3", "value": NUMBER}]}
    server.put({"resourceType": "Patient", "id": "p1", "name": [{"text": "张三"}], **known})
    server.put({"resourceType": "Observation", "id": "o1", **subject})
    server.put({"resourceType": "Patient", "id": "q1", **known}, organization="org2")
    said = {**consent(permit(actor=[actor("Organization/org2")])), "patient": {"reference": "Patient/p1"}}
    with server.client("patient", "Patient/p1", purpose="PATRQT") as own:
        given = own.post("Consent", json={**said, "category": [{"text": "x"}], "policyRule": {"text": "x"}})
        assert given.status_code == 201, given.text
        assert own.get("Patient/q1").status_code == 200
    for organization, claims in (
        ("org1", {}),
        ("org2", {"purpose": "ETREAT", "reason": "昏迷", "patient": "Patient/p1"}),
    ):
        with server.client("practitioner", "Practitioner/dr", organization, **claims) as doctor:
            for path in ("Patient/p1", "Observation?patient=Patient/p1", "Observation?patient=nobody&_summary=count",
                         "Patient/http:%2F%2Fx", "Patient/p1/_history", "Patient/none"):  # fmt: skip
                doctor.get(path)
    with server.bearing("nonsense") as stranger:
        stranger.get("Patient/x")


@pytest.fixture(scope="module")
def used_once(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a server that was used, and has ended."""
    with fresh(mongo_uri) as name:
        with live(mongo_uri, tmp_path_factory.mktemp("installation"), database=name) as server:
            used(server)
        yield server.settings


@pytest.mark.anyio
async def test_events_are_filed_again_as_they_are_filed_whole(used_once: Settings, mongo_uri: str) -> None:
    parts = assemble(used_once, keyring_of(used_once), uri=mongo_uri)
    stored = await parts.database["AuditEvent"].find().to_list()
    bodies = [parse(each) for each in await parts.services.resources.opened("AuditEvent", stored)]
    refiled = parts.services.audit.refiling()
    assert len(bodies) > 20
    for each in bodies:
        assert refiled(each) == parts.services.audit.filed_under(each)
    await parts.client.close()


CHANGES: list[Json] = [
    {"$set": {"ix": []}},
    {"$unset": {"to": ""}},
    {"$set": {"s.date": 0}},
    {"$set": {"g": []}},
    {"$push": {"has": 1}},
]


def test_verify_names_the_events_whose_index_was_changed(
    used_once: Settings, mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"DATA": used_once.data, "MONGODB_URI": mongo_uri, "DATABASE": used_once.database, "ZONE": "UTC"}
    for name, value in said.items():
        monkeypatch.setenv(f"FHIR_{name}", str(value))
    run = CliRunner().invoke
    assert run(app, ["audit", "verify"]).exit_code == 0
    with MongoClient[Json](mongo_uri) as client:
        events = client[used_once.database]["AuditEvent"]
        chosen = list(events.find({"to.entity": {"$exists": True}}, {"_id": 1}).limit(len(CHANGES)))
        for each, change in zip(chosen, CHANGES, strict=True):
            events.update_one(each, change)
    told = run(app, ["audit", "verify"])
    assert told.exit_code == 1
    assert told.output.count("misfiled: event") == len(CHANGES)
    assert all(f"misfiled: event ({each['_id']})" in told.output for each in chosen)
    assert run(app, ["audit", "verify", "--no-index"]).exit_code == 0
