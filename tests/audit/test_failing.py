"""An audit store that fails, or takes nothing more, stops every disclosure."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def test_a_database_that_is_gone_discloses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, cache_gb=0.25) as uri, live(uri, tmp_path, database="fhir") as server:
        server.put(PATIENT)
        with server.client("practitioner", "Practitioner/dr1") as doctor:
            assert doctor.get("Patient/p1").status_code == 200
            mongod = Folder(tmp_path.resolve()).owner()
            assert mongod
            os.kill(mongod, signal.SIGKILL)
            assert undisclosed(doctor.get("Patient/p1"))
