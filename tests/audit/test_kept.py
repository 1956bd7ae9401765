"""Nothing takes an event away, or changes it, before its time: no door of the API, no command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.cli import app
from fhir_server.store.ids import new_id
from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]
MERGE = [{"op": "replace", "path": "/outcome", "value": "12"}]
META: Json = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
USERS = [
    ("auditor", "Practitioner/auditor", "user/*.cruds"),
    ("system", "Device/emr-org1", "system/*.cruds"),
    ("practitioner", "Practitioner/dr1", "user/*.cruds"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def server(mongo_uri: str, folder: Path) -> Iterator[Live]:
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name) as running:
        yield running


@pytest.fixture(scope="module")
def raw(server: Live, mongo_uri: str) -> Iterator[Any]:
    with MongoClient[Json](mongo_uri) as client:
        yield client[server.settings.database]["AuditEvent"]


@pytest.fixture(scope="module")
def event(server: Live, raw: Any) -> Json:
    """The event of a refused read, as an auditor finds it."""
    with server.client("practitioner", "Practitioner/kept") as doctor:
        doctor.get("Patient/none")
    with server.client("auditor", "Practitioner/auditor") as auditor:
        (found,) = auditor.get("AuditEvent", params={"agent": "Practitioner/kept"}).json()["entry"]
    return dict(found["resource"])


def entry(method: str, url: str, body: Json | None = None) -> Json:
    return {"request": {"method": method, "url": url}, **({"resource": body} if body else {})}


def bundled(client: httpx.Client, kind: str, *entries: Json) -> httpx.Response:
    return client.post("", json={"resourceType": "Bundle", "type": kind, "entry": list(entries)})


TRIES: dict[str, Callable[[httpx.Client, Json], httpx.Response]] = {
    "delete": lambda client, event: client.delete(f"AuditEvent/{event['id']}"),
    "conditional delete": lambda client, event: client.delete(f"AuditEvent?_id={event['id']}"),
    "update": lambda client, event: client.put(f"AuditEvent/{event['id']}", json={**event, "outcome": "0"}),
    "conditional update": lambda client, event: client.put(
        f"AuditEvent?_id={event['id']}", json={**event, "outcome": "0"}
    ),
    "create": lambda client, event: client.post("AuditEvent", json={**event, "outcome": "0"}),
    "patch": lambda client, event: client.patch(
        f"AuditEvent/{event['id']}", json=MERGE, headers={"Content-Type": "application/json-patch+json"}
    ),
    "meta added": lambda client, event: client.post(f"AuditEvent/{event['id']}/$meta-add", json=META),
    "meta removed": lambda client, event: client.post(f"AuditEvent/{event['id']}/$meta-delete", json=META),
    "batch": lambda client, event: bundled(
        client, "batch", entry("DELETE", f"AuditEvent/{event['id']}"), entry("PUT", f"AuditEvent/{event['id']}", event)
    ),
    "transaction": lambda client, event: bundled(
        client, "transaction", entry("DELETE", f"AuditEvent?_id={event['id']}")
    ),
}


@pytest.mark.parametrize(("role", "user", "scope"), USERS)
@pytest.mark.parametrize("how", TRIES)
def test_no_door_removes_or_changes_an_event(
    server: Live, raw: Any, event: Json, how: str, role: str, user: str, scope: str
) -> None:
    before, count = raw.find_one({"_id": event["id"]}), raw.count_documents({"_id": {"$ne": ""}})
    with server.client(role, user, scope=scope) as client:
        answer = TRIES[how](client, event)
    statuses = (
        [int(each["response"]["status"][:3]) for each in answer.json()["entry"]]
        if how == "batch"
        else [answer.status_code]
    )
    assert all(400 <= each < 500 for each in statuses), answer.text
    assert raw.find_one({"_id": event["id"]}) == before
    assert raw.count_documents({"_id": {"$ne": ""}}) > count  # the attempt itself is told of


@pytest.fixture
def commanded(server: Live, mongo_uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the installation, which commands now work on."""
    said = {"DATA": folder, "MONGODB_URI": mongo_uri, "DATABASE": server.settings.database, "ZONE": "UTC"}
    for name, value in said.items():
        monkeypatch.setenv(f"FHIR_{name}", str(value))
    return folder


COMMANDS = [["purge"], ["reindex"], ["audit", "expire"], ["audit", "anchor"], ["load", "forged.ndjson"]]


@pytest.mark.parametrize("words", COMMANDS, ids=[each[0] + each[-1] for each in COMMANDS])
def test_no_command_removes_or_changes_an_event(raw: Any, commanded: Path, event: Json, words: list[str]) -> None:
    file = commanded / "forged.ndjson"
    forged = [{**event, "outcome": "0"}, {**event, "id": new_id()}]
    file.write_text("\n".join(json.dumps(each) for each in forged), "utf-8")
    before, count = list(raw.find().sort("_id")), raw.count_documents({})
    if words[0] == "load":
        words = ["load", "--organization", "org1", str(file)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == (1 if words[0] == "load" else 0), done.output
    after = {each["_id"]: each for each in raw.find()}
    assert len(after) >= count
    for each in before:
        kept = after[each["_id"]]
        assert {name: kept[name] for name in ("at", "org", "body", "chain")} == {
            name: each[name] for name in ("at", "org", "body", "chain")
        }
    assert forged[1]["id"] not in after


def test_after_all_of_that_the_log_verifies(event: Json, commanded: Path) -> None:
    assert CliRunner().invoke(app, ["audit", "verify"]).exit_code == 0
