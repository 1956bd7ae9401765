"""Revocation: it holds for every request that begins after its response, in every worker (consent scenarios G3, G5)."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.answers import FORM
from tests.databases import fresh
from tests.live import Clock, Live, free_port, live
from tests.store.consenting import Consenting

READS = 300


@contextmanager
def worker(folder: Path, uri: str, database: str) -> Iterator[str]:
    """Run the app of a worker process in an operating system process of its own; yield its base URL."""
    port = free_port()
    said = {
        "DATA": str(folder),
        "MONGODB_URI": uri,
        "DATABASE": database,
        "ZONE": "UTC",
        "IMPLICIT_POLICY": "deny",
        "PORT": str(port),
    }
    environment = {**os.environ, **{f"FHIR_{name}": value for name, value in said.items()}}
    run = f"import uvicorn; uvicorn.run('fhir_server.app:worker', factory=True, port={port}, log_level='warning')"
    process = subprocess.Popen([sys.executable, "-c", run], env=environment)
    try:
        base, until = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"{base}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"{base}/fhir"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def workers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Live]]:
    """Three servers over one database: two in this process, one in a process of its own."""
    folder, clock = tmp_path_factory.mktemp("workers"), Clock()
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, folder, database=name, implicit_policy="deny", clock=clock) as a,
        live(mongo_uri, folder, database=name, implicit_policy="deny", clock=clock) as b,
        worker(folder, mongo_uri, name) as base,
    ):
        yield {"a": a, "b": b, "process": replace(b, base=base)}


@pytest.fixture
def p1(workers: dict[str, Live]) -> Consenting:
    return Consenting(workers["a"], secrets.token_hex(4)).store()


def ask(client: httpx.Client, p1: Consenting, number: int) -> bool:
    """Return whether a read, a search, a posted count or a batch shows O1 to the requester."""
    place, query = p1.ref("O1"), f"Observation?_id={p1.id('O1')}"
    match number % 4:
        case 0:
            return client.get(place).status_code == 200
        case 1:
            return bool(client.get(query).json()["total"])
        case 2:
            asked = {"subject": p1.ref("P1"), "_count": "0"}
            return bool(client.post("Observation/_search", data=asked, headers=FORM).json()["total"])
    entries = [{"request": {"method": "GET", "url": each}} for each in (place, f"{place}/_history")]
    answer = client.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    return any(each["response"]["status"] == "200" for each in answer["entry"])


@pytest.mark.parametrize("other", ["a", "b", "process"])
@pytest.mark.parametrize("how", ["inactive", "deleted", "narrowed", "denied"])
def test_g3_after_a_revocation_no_read_in_any_warm_worker_succeeds(
    workers: dict[str, Live], p1: Consenting, other: str, how: str
) -> None:
    given = p1.given(p1.consent())
    elsewhere = Consenting(workers[other], p1.key)
    with elsewhere.doctor() as client:
        assert all(ask(client, p1, n) for n in range(8))
        match how:
            case "inactive":
                p1.change(given, status="inactive")
            case "deleted":
                with p1.patient() as patient:
                    assert patient.delete(f"Consent/{given['id']}").status_code == 204
            case "narrowed":
                p1.change(given, provision={**given["provision"], "period": {"end": "2020"}})
            case "denied":
                p1.given(p1.consent(type="deny"))
        reads = READS if how == "inactive" else 40
        with ThreadPoolExecutor(4) as pool:
            assert not any(pool.map(lambda n: ask(client, p1, n), range(reads)))


def test_g3_a_permit_is_seen_by_every_warm_worker_at_once(workers: dict[str, Live], p1: Consenting) -> None:
    clients = [Consenting(each, p1.key).doctor() for each in workers.values()]
    try:
        assert not any(ask(client, p1, n) for client in clients for n in range(4))
        given = p1.given(p1.consent())
        for status in ("inactive", "active"):
            p1.change(given, status=status)
            assert {ask(client, p1, n) for client in clients for n in range(4)} == {status == "active"}
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("other", ["a", "process"])
def test_g5_reads_around_a_revocation_are_each_on_one_side_of_it(
    workers: dict[str, Live], p1: Consenting, other: str
) -> None:
    given = p1.given(p1.consent())
    acknowledged: list[float] = []

    def read(number: int) -> tuple[float, bool]:
        if number == 60:
            p1.change(given, status="inactive")
            acknowledged.append(time.monotonic())
            return 0, False
        begun = time.monotonic()
        return begun, _consistent(client, p1)

    with Consenting(workers[other], p1.key).doctor() as client, ThreadPoolExecutor(16) as pool:
        assert ask(client, p1, 0)
        found = list(pool.map(read, range(200)))
    assert any(seen for _, seen in found)
    assert not [begun for begun, seen in found if seen and begun > acknowledged[0]]


def _consistent(client: httpx.Client, p1: Consenting) -> bool:
    """Return whether a search shows P1's three Observations; none or all of them are shown, and the total says so."""
    bundle: dict[str, Any] = client.get("Observation", params={"subject": p1.ref("P1")}).json()
    found = len(bundle.get("entry", ()))
    assert found in (0, 3)
    assert bundle["total"] == found
    return found == 3


def test_what_is_kept_of_consents_may_be_thrown_away_in_the_middle(
    workers: dict[str, Live], p1: Consenting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.store.consents.KNOWN_PERSONS", 0)
    p1.given(p1.consent())
    with p1.doctor() as client:
        assert client.get(p1.ref("O1")).status_code == 200
        p1.given(p1.consent(type="deny"))  # found beside the permit, which was read before
        assert client.get(p1.ref("O1")).status_code == 404
        p1.given(p1.consent())
        assert client.get(p1.ref("O1")).status_code == 404
