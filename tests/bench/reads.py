"""Audited reads: how many records are read by id in a second, and how much processor time each takes of whom.

The load is that of the shared driver where it is at hand, in this process, else of drive.py. Processor time tells more than
reads per second on a machine that runs the driver and MongoDB as well: from it follows what another machine would do.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop
from pymongo import MongoClient
from rich.console import Console

from fhir_server.settings import Settings
from fhir_server.store.embedded import Folder
from tests.bench.drive import Target
from tests.bench.processes import seconds_of
from tests.bench.serving import Served, served

HOSPITAL, DATABASE, PORT = "bench", "bench_reads", 18_400
PATIENTS, REQUESTS, ROUNDS = 24, 6_000, 3
CONNECTIONS, WORKERS = (16, 64, 256, 512), (1, 2)
TIMEOUT = 60  # seconds
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reads:
    """What one round took: reads per second, latencies in milliseconds, and microseconds of processor time for each read."""

    per_second: float
    p50: float
    p99: float
    server: float
    mongod: float
    driver: float

    @property
    def whole(self) -> float:
        """Microseconds that server and MongoDB take together."""
        return self.server + self.mongod


Figures = dict[tuple[int, int], Reads]  # by number of workers and of connections
# Asks for paths over so many connections; gives status and seconds of each answer.
Load = Callable[[Sequence[str], int], Awaitable[list[tuple[int, float]]]]


def measure(data: Path, driver: Path, uri: str, say: Console) -> Figures:
    """Return the figures of all numbers of workers and connections, on a small store of their own."""
    with MongoClient[Json](uri) as client:
        client.drop_database(DATABASE)
    figures: Figures = {}
    for workers in WORKERS:
        settings = Settings.load(data, database=DATABASE, zone="UTC", port=PORT + workers, workers=workers)
        with ExitStack() as running:
            server = running.enter_context(served(settings, uri, organization=HOSPITAL))
            _store(settings, server)
            load = _load(driver, settings, server)
            for connections in CONNECTIONS:
                found = uvloop.run(_rounds(load, connections, [server.pid], _mongod(data), uri))
                figures[workers, connections] = found
                say.print(
                    f"{workers} workers {connections:4} connections {found.per_second:6.0f}/s  "
                    f"server {found.server:4.0f} µs  MongoDB {found.mongod:4.0f} µs  driver {found.driver:4.0f} µs",
                    highlight=False,
                )
    return figures


async def _rounds(load: Load, connections: int, server: Sequence[int], mongod: Sequence[int], uri: str) -> Reads:
    """Return the round of median speed; one more comes before, unmeasured. Each read must leave its AuditEvent."""
    paths = [f"Patient/p{number % PATIENTS}" for number in range(REQUESTS)]
    await load(paths[: REQUESTS // 4], connections)
    before, rounds = _events(uri), []
    for _ in range(ROUNDS):
        took = seconds_of(server), seconds_of(mongod), time.process_time(), time.perf_counter()
        answers = await load(paths, connections)
        now = seconds_of(server), seconds_of(mongod), time.process_time(), time.perf_counter()
        if wrong := [status for status, _ in answers if status != 200]:
            sys.exit(f"{len(wrong)} answers with status {wrong[0]}")
        rounds.append(_reads(answers, *(end - begun for begun, end in zip(took, now, strict=True))))
    if (stored := _events(uri) - before) != ROUNDS * REQUESTS:
        sys.exit(f"{ROUNDS * REQUESTS} reads left {stored} AuditEvents")
    return sorted(rounds, key=lambda each: each.per_second)[ROUNDS // 2]


def _reads(answers: Sequence[tuple[int, float]], *took: float) -> Reads:
    server, mongod, driver, elapsed = took
    taken, each = sorted(1_000 * seconds for _, seconds in answers), 1_000_000 / len(answers)
    return Reads(
        len(answers) / elapsed,
        statistics.median(taken),
        taken[int(len(taken) * 0.99)],
        server * each,
        mongod * each,
        driver * each,
    )


def _events(uri: str) -> int:
    with MongoClient[Json](uri) as client:
        return client[DATABASE]["AuditEvent"].count_documents({})


def _mongod(data: Path) -> list[int]:
    """Return the process of the folder's MongoDB."""
    pid = Folder(data.resolve()).owner()
    return [pid] if pid else []


def _store(settings: Settings, server: Served) -> None:
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/fhir+json"}
    with httpx.Client(base_url=f"{settings.public_base}/", headers=headers, timeout=TIMEOUT) as client:
        for each in _patients():
            client.put(f"Patient/{each['id']}", json=each).raise_for_status()
            answer = client.get(f"Patient/{each['id']}").raise_for_status().json()
            if (answer["id"], answer["name"]) != (each["id"], each["name"]):
                sys.exit("a read gives another record than was stored")


def _patients() -> Iterator[Json]:
    for number in range(PATIENTS):
        yield {
            "resourceType": "Patient",
            "id": f"p{number}",
            "active": True,
            "identifier": [{"use": "usual", "system": "urn:fhir-facade:bench", "value": str(number)}],
            "name": [{"use": "official", "text": f"测试{number}", "family": "测试", "given": [str(number)]}],
            "telecom": [{"system": "phone", "value": f"555-{number:07d}", "use": "home"}],
            "gender": "female" if number % 2 else "male",
            "birthDate": f"{1930 + number}-01-{1 + number:02d}",
            "address": [{"line": [f"{number} Main Street"], "city": "Springfield", "postalCode": f"{number:05d}"}],
        }


def _load(driver: Path, settings: Settings, server: Served) -> Load:
    """Return the load of the shared driver, or of this folder's where that is not at hand."""
    return _shared(driver, settings, server) if driver.is_file() else _own(settings, server)


def _shared(driver: Path, settings: Settings, server: Served) -> Load:
    spec = importlib.util.spec_from_file_location("shared_bench", driver)
    if spec is None or spec.loader is None:
        sys.exit(f"{driver} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    client = module.Client(settings.public_base, server.token, [])

    async def load(paths: Sequence[str], connections: int) -> list[tuple[int, float]]:
        requests = [client.build("GET", path) for path in paths]
        _, _, answers = await module.drive(client, requests, connections, TIMEOUT)
        return [(status, seconds) for status, seconds, *_ in answers]

    return load


def _own(settings: Settings, server: Served) -> Load:
    async def load(paths: Sequence[str], connections: int) -> list[tuple[int, float]]:
        answers, _ = await Target(settings.public_base, server.token, connections=connections).ask(paths)
        return [(each.status, each.seconds) for each in answers]

    return load
