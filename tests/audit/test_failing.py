"""An audit store that fails, or takes nothing more, stops every disclosure."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.store.embedded import Folder, running
from tests.live import Live, live

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "欧阳"}]}
ASKED = ("Patient/p1", "Patient/p1/_history/1", "Patient?name=欧阳", "Patient/p1/_history", "Patient/p1/$everything")


@contextmanager
def refusing(server: Live, mongo_uri: str, collection: str) -> Iterator[None]:
    """A collection that takes no documents, as one whose disk is full; everything else goes on."""
    with MongoClient(mongo_uri) as client:
        database = client[server.settings.database]
        database.command("collMod", collection, validator={"_id": "of no event"})
        try:
            yield
        finally:
            database.command("collMod", collection, validator={})


def undisclosed(answer: httpx.Response) -> bool:
    """Return whether an answer says no more than that the server failed."""
    told = answer.json()
    return (answer.status_code, told["resourceType"]) == (503, "OperationOutcome") and "欧阳" not in answer.text


@pytest.mark.parametrize("asked", ASKED)
def test_what_cannot_be_recorded_is_not_disclosed(
    server: Live, mongo_uri: str, doctor: httpx.Client, asked: str
) -> None:
    server.put(PATIENT)
    assert doctor.get(asked).status_code == 200
    with refusing(server, mongo_uri, "AuditEvent"):
        assert undisclosed(doctor.get(asked))
    assert doctor.get(asked).status_code == 200


def test_what_cannot_be_recorded_is_not_written(server: Live, mongo_uri: str, doctor: httpx.Client) -> None:
    with refusing(server, mongo_uri, "AuditEvent"), server.system() as emr:
        assert undisclosed(emr.put("Patient/p9", json={"resourceType": "Patient", "id": "p9"}))
        bundle = {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "GET", "url": "Patient/p1"}}],
        }
        assert "欧阳" not in emr.post("", json=bundle).text
    assert doctor.get("Patient/p9").status_code == 404


@contextmanager
def commanding(data: Path) -> Iterator[MongoClient[dict[str, Any]]]:
    """Yield a client that may do with an embedded MongoDB whatever MongoDB's own processes may: it has the key file."""
    folder = Folder(data.resolve())
    access = json.loads(folder["mongo.json"].read_text())
    with MongoClient[dict[str, Any]](
        "127.0.0.1",
        access["port"],
        username="__system",
        password=folder["mongo.key"].read_text().strip(),
        authSource="local",
        directConnection=True,
    ) as client:
        yield client


def recorded(server: Live, user: str) -> int:
    """Return how many reads of a user the log tells of."""
    with server.client("auditor", "Practitioner/auditor") as auditor:
        asked = {"agent": user, "subtype": "read", "_summary": "count"}
        return int(auditor.get("AuditEvent", params=asked).json()["total"])


def test_while_no_primary_takes_the_event_nothing_is_disclosed(tmp_path: Path) -> None:
    """MongoDB steps down, as when another machine takes over: each answer waits for its event, or is none."""
    with running(tmp_path, cache_gb=0.25) as uri, live(uri, tmp_path, database="fhir") as server:
        server.put(PATIENT)
        with server.client("practitioner", "Practitioner/stepping") as doctor, commanding(tmp_path) as mongod:
            assert doctor.get("Patient/p1").status_code == 200
            mongod.admin.command({"replSetStepDown": 2, "secondaryCatchUpPeriodSecs": 0, "force": True})
            answers = [doctor.get("Patient/p1")]
            while answers[-1].status_code != 200:
                assert undisclosed(answers[-1])
                answers.append(doctor.get("Patient/p1"))
        disclosed = 1 + [each.status_code for each in answers].count(200)
        assert disclosed <= recorded(server, "Practitioner/stepping") <= 1 + len(answers)


def test_while_the_log_cannot_be_written_to_nothing_is_disclosed(tmp_path: Path) -> None:
    """MongoDB holds back every write, so that none is acknowledged: an answer waits, however long."""
    with running(tmp_path, cache_gb=0.25) as uri, live(uri, tmp_path, database="fhir") as server:
        server.put(PATIENT)
        with server.client("practitioner", "Practitioner/waiting") as doctor, commanding(tmp_path) as mongod:
            assert doctor.get("Patient/p1").status_code == 200
            mongod.admin.command({"fsync": 1, "lock": True})
            try:
                with pytest.raises(httpx.ReadTimeout):
                    doctor.get("Patient/p1", timeout=1)
            finally:
                mongod.admin.command("fsyncUnlock")
            assert doctor.get("Patient/p1").status_code == 200
        assert recorded(server, "Practitioner/waiting") == 3


def test_a_disk_that_takes_nothing_more_discloses_nothing(tmp_path: Path) -> None:
    """The system refuses MongoDB every byte more, which ends it: it is gone. What was acknowledged is there afterwards."""
    with running(tmp_path, cache_gb=0.25) as uri, live(uri, tmp_path, database="fhir") as server:
        server.put(PATIENT)
        with server.client("practitioner", "Practitioner/full") as doctor:
            assert doctor.get("Patient/p1").status_code == 200
            mongod = Folder(tmp_path.resolve()).owner()
            assert mongod
            resource.prlimit(mongod, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            assert undisclosed(doctor.get("Patient/p1"))
    with running(tmp_path, cache_gb=0.25) as uri, live(uri, tmp_path, database="fhir") as server:
        assert recorded(server, "Practitioner/full") == 1
