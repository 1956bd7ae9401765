"""MongoDB and the server killed in the middle of writing: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import AsyncMongoClient, MongoClient

from fhir_server.app import bearer_of, keyring_of
from fhir_server.audit.findings import Report
from fhir_server.audit.verifying import verified
from fhir_server.settings import Settings
from fhir_server.store.embedded import Folder, running
from tests.live import Live, free_port, live

WRITERS = 6


def started(folder: Path, uri: str, port: int) -> subprocess.Popen[bytes]:
    """Start the server as a process of its own and wait until it answers."""
    said = {"DATA": str(folder), "MONGODB_URI": uri, "ZONE": "UTC", "PORT": str(port)}
    environment = {**os.environ, **{f"FHIR_{name}": value for name, value in said.items()}}
    run = f"import uvicorn; uvicorn.run('fhir_server.app:worker', factory=True, port={port}, log_level='critical')"
    process = subprocess.Popen([sys.executable, "-c", run], env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the server did not start")


def stream(client: httpx.Client, writer: int, stop: threading.Event, acknowledged: list[Any]) -> None:
    """Create single Observations and transactions of three until told to stop; note what was acknowledged."""
    number = 0
    while not stop.is_set():
        number += 1
        tag = f"w{writer}-{number}"
        made = {
            "resourceType": "Observation", "status": "final", "code": {"text": tag},
            "subject": {"reference": f"Patient/{tag}"}, "identifier": [{"system": "urn:tag", "value": tag}],
        }  # fmt: skip
        with suppress(httpx.HTTPError):
            if number % 2:
                answer = client.post("Observation", json=made)
            else:
                entry = {"resource": made, "request": {"method": "POST", "url": "Observation"}}
                answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 3})
            if answer.status_code in (200, 201):
                body = answer.json()
                acknowledged.append(
                    (tag, [body["id"]] if number % 2 else [each["resource"]["id"] for each in body["entry"]])
                )


@pytest.mark.parametrize("victim", ["mongod", "server", "both"])
def test_every_acknowledged_write_survives_a_kill_with_its_audit_event(tmp_path: Path, victim: str) -> None:
    acknowledged: list[Any] = []
    stop = threading.Event()
    with running(tmp_path, cache_gb=0.25) as uri:
        port = free_port()
        process = started(tmp_path, uri, port)
        chosen = Settings.load(tmp_path, zone="UTC", port=port)
        beside = Live(chosen.public_base, bearer_of(keyring_of(chosen)), chosen)  # only to say who asks
        token = beside.token("system", "Device/emr", scope="system/*.cruds")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}/fhir/", headers=headers, timeout=5) as client,
            ThreadPoolExecutor(WRITERS) as pool,
        ):
            for writer in range(WRITERS):
                pool.submit(stream, client, writer, stop, acknowledged)
            begun = time.monotonic()
            while len(acknowledged) < 60 and time.monotonic() < begun + 30:
                time.sleep(0.02)
            mongod = Folder(tmp_path.resolve()).owner()
            assert mongod
            if victim != "server":
                os.kill(mongod, signal.SIGKILL)
            if victim != "mongod":
                process.kill()
            time.sleep(0.2)
            stop.set()
            process.kill()
            process.wait(10)
    assert len(acknowledged) > 20
    with running(tmp_path, cache_gb=0.25) as uri, live(uri, tmp_path, database="fhir") as server:
        _all_there(server, uri, acknowledged)


def _all_there(server: Live, uri: str, acknowledged: list[Any]) -> None:
    ids = [id for _, made in acknowledged for id in made]
    with server.system() as emr, server.client("auditor", "Practitioner/auditor") as auditor:
        entries = [{"request": {"method": "GET", "url": f"Observation/{id}"}} for id in ids]
        read = emr.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}).json()["entry"]
        assert [each["response"]["status"] for each in read] == ["200"] * len(ids)
        whole = emr.get(
            "Observation",
            params={"identifier": ",".join(f"urn:tag|{tag}" for tag, _ in acknowledged[-200:]), "_count": "500"},
        )
        assert whole.json()["total"] == sum(len(made) for _, made in acknowledged[-200:])
        for _, made in acknowledged[-20:]:
            for id in made:
                asked = {"entity": f"Observation/{id}", "subtype": "create,transaction", "_summary": "count"}
                assert auditor.get("AuditEvent", params=asked).json()["total"] == 1
    _nothing_by_half(uri)
    assert asyncio.run(_audited(server, uri)).findings == []


async def _audited(server: Live, uri: str) -> Report:
    """Return what a verification of the audit log finds."""
    async with AsyncMongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        return await verified(client[server.settings.database], keyring_of(server.settings))


def _nothing_by_half(uri: str) -> None:
    """Each Patient that was named is named by one Observation or by three, and there is one AuditEvent for each write."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client["fhir"]
        written = {
            each["_id"]: each["n"]
            for each in database["Observation"].aggregate([{"$group": {"_id": {"$first": "$pr"}, "n": {"$sum": 1}}}])
        }
    for patient, count in written.items():
        assert count == (1 if int(patient.split("-")[1]) % 2 else 3), patient
