"""Revocation is linearizable: what several workers answer while a patient grants and revokes fits to one order of steps.

Real workers behind one port, real requests at the same time; the recorded histories are checked afterwards.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.app import bearer_of, keyring_of
from fhir_server.settings import Settings
from tests.consent_engine.build import ACT_REASON, actor, codings, consent, permit
from tests.faults.histories import Event, violations
from tests.live import Live, free_port

WORKERS, PATIENTS, READERS, CHANGES = 3, 2, 4, 25
CLI = [sys.executable, "-m", "fhir_server"]


@pytest.mark.parametrize(
    ("reads", "wrong"),
    [
        ([(1.0, 2.0, True)], False),
        ([(1.0, 2.0, False)], True),  # before anything was revoked
        ([(12.0, 13.0, False)], False),
        ([(12.0, 13.0, True)], True),  # after the revocation was acknowledged
        ([(10.2, 10.4, True), (10.3, 10.6, False)], False),  # either side, while it is under way
        ([(10.2, 10.3, False), (10.4, 10.5, True)], True),  # once seen, it does not come back
        ([(10.2, 10.5, False), (10.4, 10.6, True)], False),
        ([(1.0, 30.0, False)], False),
        ([(21.0, 22.0, True)], False),
        ([(20.1, 20.2, True), (20.3, 20.4, False)], True),
    ],
)
def test_the_check_tells_good_histories_from_bad_ones(reads: list[tuple[float, float, bool]], wrong: bool) -> None:
    writes = [Event(0, 0, True), Event(10, 11, False), Event(20, 21, True)]
    assert bool(list(violations(writes, [Event(*each) for each in reads]))) is wrong


@pytest.fixture
def served(mongo_uri: str, tmp_path: Path) -> Iterator[Live]:
    """A server of several worker processes."""
    name, port = f"test_{secrets.token_hex(6)}", free_port()
    chosen = Settings.load(tmp_path, database=name, zone="UTC", port=port, implicit_policy="deny")
    said = {"MONGODB_URI": mongo_uri, "DATABASE": name, "ZONE": "UTC", "IMPLICIT_POLICY": "deny"}
    environment = {**os.environ, **{f"FHIR_{key}": value for key, value in said.items()}}
    command = [*CLI, "serve", "--data", str(tmp_path), "--port", str(port), "--workers", str(WORKERS)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.1)
        yield Live(chosen.public_base, bearer_of(keyring_of(chosen)), chosen)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        with MongoClient[dict[str, Any]](mongo_uri) as client:
            client.drop_database(name)


@dataclass
class Case:
    """A patient whose Consent changes, and the histories of what was done and seen."""

    server: Live
    number: int
    stop: threading.Event

    @property
    def patient(self) -> str:
        return f"Patient/p{self.number}"

    def write(self) -> list[Event]:
        """Grant and revoke in turn; return what was acknowledged, and when."""
        provision = permit(actor=[actor("Organization/Org1")], purpose=codings(ACT_REASON, "TREAT"))
        made = {"category": [{"text": "c"}], "patient": {"reference": self.patient}, **consent(provision)}
        with self.server.client("patient", self.patient, "Org1") as client:
            answer = client.post("Consent", json={**made, "status": "inactive"})
            assert answer.status_code == 201, answer.text
            id, events = answer.json()["id"], [Event(0, 0, False)]
            for number in range(CHANGES):
                granted = number % 2 == 0
                status = "active" if granted else "inactive"
                begun = time.monotonic()
                answer = client.put(f"Consent/{id}", json={**made, "id": id, "status": status})
                assert answer.status_code == 200, answer.text
                events.append(Event(begun, time.monotonic(), granted))
                time.sleep(0.01)
        return events

    def read(self, seed: int) -> list[Event]:
        """Ask again and again, each time on a connection of its own, so that each worker is asked."""
        ways = itertools.islice(itertools.cycle((self._reads, self._searches, self._counts)), seed, None)
        token = self.server.token("practitioner", "Practitioner/Dr1", "Org1")
        events = []
        while not self.stop.is_set():
            with self.server.bearing(token) as client:
                begun = time.monotonic()
                value = next(ways)(client)
                events.append(Event(begun, time.monotonic(), value))
        return events

    def _reads(self, client: httpx.Client) -> bool:
        return client.get(f"Observation/o{self.number}").status_code == 200

    def _searches(self, client: httpx.Client) -> bool:
        return bool(client.get("Observation", params={"subject": self.patient}).json().get("entry"))

    def _counts(self, client: httpx.Client) -> bool:
        asked = {"code:text": "weight", "patient": self.patient, "_summary": "count"}
        return bool(client.get("Observation", params=asked).json()["total"])


def test_what_several_workers_answer_around_revocations_fits_to_one_order(served: Live) -> None:
    stop = threading.Event()
    cases = [Case(served, number, stop) for number in range(PATIENTS)]
    for case in cases:
        subject = {"reference": case.patient}
        served.put({"resourceType": "Patient", "id": f"p{case.number}"}, organization="Org1")
        weight = {"resourceType": "Observation", "id": f"o{case.number}", "status": "final", "code": {"text": "weight"}}
        served.put({**weight, "subject": subject}, organization="Org1")
    with ThreadPoolExecutor(PATIENTS * (READERS + 1)) as pool:
        reading = [[pool.submit(case.read, seed) for seed in range(READERS)] for case in cases]
        writing = [pool.submit(case.write) for case in cases]
        try:
            writes = [each.result() for each in writing]
        finally:
            stop.set()
        for case, wrote, readers in zip(cases, writes, reading, strict=True):
            reads = [event for each in readers for event in each.result()]
            assert {event.value for event in reads} == {True, False}, case.patient
            assert len(reads) > len(wrote)
            assert list(violations(wrote, reads)) == []
