"""50,000 drawn requests over real HTTP: no 5xx, every refusal an OperationOutcome, no value of the request in it.

The seed of a run is printed with a request that fails. FHIR_FUZZ_SEED draws others, FHIR_FUZZ_REQUESTS more or fewer.
Hypothesis asks with the same generator, fewer times, and makes what fails small.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from fhir_server.app import bearer_of, keyring_of
from fhir_server.settings import Settings
from tests.conformance.connection import Answered, Connection
from tests.conformance.fuzzed import Sent, originals, request
from tests.conformance.odd import JSON, MARK, USERS
from tests.live import free_port
from tests.shared import needed

needed("data", "examples-r4")
REQUESTS = int(os.environ.get("FHIR_FUZZ_REQUESTS", "50000"))
SEED = int(os.environ.get("FHIR_FUZZ_SEED") or 20261121)
CONNECTIONS = 48
SLOWEST = 20.0  # seconds
WORKERS = 2
ROLES: dict[str, dict[str, Any]] = {
    "system": {"role": "system", "fhirUser": "Device/emr", "scope": "system/*.cruds"},
    "doctor": {"role": "practitioner", "fhirUser": "Practitioner/f001", "scope": "user/*.cruds"},
    "patient": {
        "role": "patient",
        "fhirUser": "Patient/example",
        "patient": "Patient/example",
        "scope": "patient/*.cruds",
    },
    "auditor": {"role": "auditor", "fhirUser": "Practitioner/f002", "scope": "user/*.rs"},
}


@dataclass
class Served:
    """A server of its own processes. tokens: by user; log: what the server wrote."""

    port: int
    tokens: dict[str, str]
    log: Path

    def connection(self) -> Connection:
        return Connection("127.0.0.1", self.port, timeout=SLOWEST)

    async def answer(self, connection: Connection, sent: Sent) -> Answered:
        token = self.tokens.get(sent.user)
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        return await connection.ask(sent.method, sent.target, {**sent.headers, **bearer}, sent.body)


@pytest.fixture(scope="module")
def served(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as an operator starts it, with two workers."""
    folder, port, database = tmp_path_factory.mktemp("fuzzed"), free_port(), f"test_{secrets.token_hex(6)}"
    given = {
        "DATA": folder,
        "MONGODB_URI": mongo_uri,
        "DATABASE": database,
        "PORT": port,
        "ZONE": "UTC",
        "WORKERS": WORKERS,
    }
    environment = {**os.environ, **{f"FHIR_{name}": str(value) for name, value in given.items()}}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_server", "serve"], env=environment, stdout=log, stderr=log
        )
    until = time.monotonic() + 60
    try:
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        bearer = bearer_of(keyring_of(Settings.load(folder)))
        claims = {"org": "org1", "purpose": "TREAT"}
        tokens = {user: bearer.issue({**said, **claims}, lifetime=3600) for user, said in ROLES.items()}
        tokens["forged"] = tokens["system"][:-6] + "AAAAAA"
        assert {*tokens, "nobody"} == {*USERS}
        made = Served(port, tokens, folder / "log")
        asyncio.run(fill(made))
        yield made
    finally:
        process.terminate()
        process.wait(30)
        with MongoClient[Any](mongo_uri) as client:
            client.drop_database(database)


async def fill(served: Served) -> None:
    """Store the examples that the requests are made from."""
    resources = iter([each for each in map(json.loads, originals()) if each["resourceType"] != "AuditEvent"])

    async def put() -> None:
        async with served.connection() as connection:
            for resource in resources:
                target = f"/fhir/{resource['resourceType']}/{resource['id']}"
                sent = Sent("PUT", target, "system", {"Content-Type": JSON}, json.dumps(resource).encode())
                for _ in range(5):  # what it belongs to may be stored at the same moment, and move it
                    answered = await served.answer(connection, sent)
                    if answered.status != 409:
                        break
                assert answered.status == 201, answered

    await asyncio.gather(*(put() for _ in range(CONNECTIONS)))


def fault(sent: Sent, answered: Answered) -> str | None:
    """Return what is wrong with an answer, None if nothing is."""
    if answered.status >= 500:
        return f"status {answered.status}: {answered.body[:300]!r}"
    if answered.status >= 400 and sent.method != "HEAD":
        if b"OperationOutcome" not in answered.body:
            return f"status {answered.status} without an OperationOutcome: {answered.body[:300]!r}"
        if not answered.headers.get("content-type", "").startswith("application/fhir+"):
            return f"a refusal of type {answered.headers.get('content-type')}"
        if MARK.encode() in answered.body:
            return f"a value of the request is repeated: {answered.body[:300]!r}"
    return None


OUTCOME = b'{"resourceType":"OperationOutcome"}'
FHIR = {"content-type": "application/fhir+json; charset=utf-8"}


@pytest.mark.parametrize(
    ("answered", "wrong"),
    [
        (Answered(500, FHIR, OUTCOME), True),
        (Answered(400, FHIR, b"Bad Request"), True),
        (Answered(404, {"content-type": "text/plain"}, OUTCOME), True),
        (Answered(400, FHIR, OUTCOME + MARK.encode()), True),
        (Answered(400, FHIR, OUTCOME), False),
        (Answered(200, FHIR, MARK.encode()), False),
    ],
)
def test_what_counts_as_a_fault(answered: Answered, wrong: bool) -> None:
    assert (fault(Sent("GET", "/fhir/Patient", "system"), answered) is not None) == wrong


async def run(served: Served, count: int) -> tuple[Counter[int], list[str]]:
    """Send requests over several connections; return how often each status was answered, and the first faults."""
    numbers = iter(range(count))
    statuses: Counter[int] = Counter()
    faults: list[str] = []

    async def send() -> None:
        async with served.connection() as connection:
            for number in numbers:
                sent = request(Random(f"{SEED}/{number}"))
                try:
                    answered = await served.answer(connection, sent)
                    found = fault(sent, answered)
                    statuses[answered.status] += 1
                except (TimeoutError, ConnectionError) as error:
                    found = f"no answer: {error!r}"
                if found:
                    faults.append(f"seed {SEED}, request {number}: {found}\n{sent}")
                if len(faults) >= 10:
                    return

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return statuses, faults


def test_no_request_makes_the_server_fail(served: Served) -> None:
    statuses, faults = asyncio.run(run(served, REQUESTS))
    said = "\n".join(line for line in served.log.read_text(errors="replace").splitlines() if "failure" in line)
    assert not faults, "\n\n".join([*faults, said[-5000:]])
    assert statuses.total() == REQUESTS
    # The requests are no mere noise: many are answered, and refused for many reasons.
    assert statuses[200] > REQUESTS // 20
    assert {201, 400, 401, 403, 404, 405, 422} <= statuses.keys() or REQUESTS < 5_000


# A request is drawn from many choices; that is large for Hypothesis, and it shrinks them all the same.
LARGE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=150, deadline=None, suppress_health_check=LARGE)
@given(draw=st.randoms(use_true_random=False))
def test_no_request_that_hypothesis_finds_makes_the_server_fail(served: Served, draw: Random) -> None:
    sent = request(draw)

    async def asked() -> Answered:
        async with served.connection() as connection:
            return await served.answer(connection, sent)

    found = fault(sent, asyncio.run(asked()))
    assert found is None, f"{found}\n{sent}"
