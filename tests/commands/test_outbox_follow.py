"""fhir-facade outbox follow: a process of its own that is told, killed and started again; and what a bridge is given."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.cli import app
from fhir_server.interactions.outbox import follow
from tests.consenting.world import ASKS, both, organization, own, person
from tests.databases import fresh
from tests.killed import end_transactions, named
from tests.live import Live, live

Json = dict[str, Any]
PEOPLE = ("li", "sun", "wu")  # no hexadecimal digits, which ids of entries are made of
CHANGES = 4  # of each person's Consent
PATIENCE_SECONDS = 60
PERSONAL = ("李患者", "13800000001", "Patient/", *(f"{each}-1" for each in PEOPLE))


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("followed")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name) as running:
        running.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        for number, each in enumerate(PEOPLE):
            person(running, each, 700 + number)
        yield running


def consent(name: str, ends: int, *to: str) -> Json:
    terminology = "http://terminology.hl7.org/CodeSystem/"
    role = {"coding": [{"system": f"{terminology}v3-ParticipationType", "code": "IRCP"}]}
    actors = [{"role": role, "reference": {"reference": f"Organization/{each}"}} for each in to]
    return {
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{name}-1"},
        "scope": {"coding": [{"system": f"{terminology}consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": f"{terminology}v3-ActCode", "code": "OPTIN"}]},
        "provision": {"type": "permit", "actor": actors, "period": {"end": f"{2090 + ends}"}},
    }  # fmt: skip


def given(server: Live, names: Iterable[str]) -> list[tuple[str, int]]:
    """Let persons give a Consent and change it now and then; return (id, version) of all that is told."""
    made = []
    for name in names:
        with own(server, name) as client:
            stored = client.post("Consent", json=consent(name, 0, ASKS)).json()
            made.append((stored["id"], 1))
            for number in range(1, CHANGES):
                changed = {**consent(name, number, ASKS), "id": stored["id"]}
                assert client.put(f"Consent/{stored['id']}", json=changed).status_code == 200
                made.append((stored["id"], number + 1))
    return made


def run(server: Live, uri: str, work: Callable[[Parts], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        parts = assemble(server.settings, keyring_of(server.settings), uri=uri)
        try:
            await parts.definitions.renew()
            return await work(parts)
        finally:
            await parts.close()

    return asyncio.run(within())


def environment(server: Live, uri: str) -> dict[str, str]:
    settings = server.settings
    chosen = {"DATA": settings.data, "MONGODB_URI": uri, "DATABASE": settings.database, "ZONE": "UTC"}
    return {**os.environ, **{f"FHIR_{name}": str(value) for name, value in chosen.items()}}


class Consumer:
    """A process that follows for a consumer, its lines in a file that outlives it."""

    def __init__(self, server: Live, uri: str, name: str, folder: Path) -> None:
        self._server, self._uri, self.name, self._file = server, uri, name, folder / f"{name}.ndjson"

    def started(self, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "fhir_server", "outbox", "follow", self.name, "--lease", "1", *options]
        uri = named(self._uri, f"follow-{self.name}")
        with self._file.open("ab") as lines:
            return subprocess.Popen(words, stdout=lines, env=environment(self._server, uri))

    def lines(self) -> list[Json]:
        """Return the lines that are whole: a process may have been killed within the last one."""
        said = self._file.read_bytes() if self._file.exists() else b""
        return [json.loads(each) for each in said.split(b"\n") if each.endswith(b"}")]

    def killed_after(self, count: int, *options: str) -> None:
        process = self.started(*options)
        until = time.monotonic() + PATIENCE_SECONDS
        while len(self.lines()) < count:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
        process.wait(10)
        with MongoClient[Json](self._uri) as client:
            end_transactions(client, f"follow-{self.name}")

    def done(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until everything was acknowledged, what a killed process had taken included; stop the process politely."""
        until = time.monotonic() + PATIENCE_SECONDS
        with MongoClient[Json](self._uri) as client:
            waiting = client[self._server.settings.database]["outbox"]
            while waiting.count_documents({"$or": [{"to": self.name}, {"to": None}]}):
                assert time.monotonic() < until
                time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM


def firsts(lines: Iterable[Json]) -> dict[str, list[int]]:
    """Return the versions of each Consent in the order in which each was told first."""
    found: dict[str, list[int]] = defaultdict(list)
    for each in lines:
        if each["version"] not in found[each["consent"]]:
            found[each["consent"]].append(each["version"])
    return found


def test_killed_and_started_again_nothing_is_lost_and_nothing_out_of_order(
    server: Live, mongo_uri: str, tmp_path: Path
) -> None:
    province, city = (Consumer(server, mongo_uri, each, tmp_path) for each in ("province", "city"))
    for name in ("province", "city"):  # before anything happens: what all have been told of is gone
        run(server, mongo_uri, lambda parts, name=name: parts.services.consenting.outbox.register(name, since=0))
    told = given(server, PEOPLE)
    at_the_same_time = city.started()
    province.killed_after(3)
    told += given(server, PEOPLE[:1])
    province.done(province.started())
    city.done(at_the_same_time)
    for each in (province, city):
        lines = each.lines()
        assert sorted({(line["consent"], line["version"]) for line in lines}) == sorted(told)
        assert all(versions == [*range(1, CHANGES + 1)] for versions in firsts(lines).values())
        said = json.dumps(lines, ensure_ascii=False)
        assert not [word for word in PERSONAL if word in said]
    first = city.lines()[0]
    assert first.keys() == {
        "id", "at", "kind", "consent", "version", "state", "effect", "custodian", "institutions",
    }  # fmt: skip
    assert (first["kind"], first["institutions"]) == ("consent-active", [ASKS])
    with MongoClient[Json](mongo_uri) as client:
        assert client[server.settings.database]["outbox"].count_documents({"to": {"$ne": []}}) == 0
    for name in ("province", "city"):
        run(server, mongo_uri, lambda parts, name=name: parts.services.consenting.outbox.forget(name))


def test_each_entry_that_is_told_is_in_the_log_before(server: Live, mongo_uri: str) -> None:
    (id, version), *_ = given(server, ["sun"])

    async def first(parts: Parts) -> None:
        async with aclosing(follow(parts.definitions, "logged", since=0, looked_after=None)) as told:
            async for each in told:
                if each.entry.body and each.entry.body["consent"] == id:
                    break  # neither done nor put off, as if it were killed here
                await each.done()
        await parts.services.consenting.outbox.forget("logged")

    run(server, mongo_uri, first)
    with server.client("auditor", "Practitioner/auditor", ASKS, "HOPERAT", scope="user/*.rs") as auditor:
        found = auditor.get("AuditEvent", params={"entity": f"Consent/{id}", "subtype": "disclose"}).json()
    (event,) = [each["resource"] for each in found["entry"]]
    assert event["outcomeDesc"] == "HTTP 200 partner logged; consent-active"
    assert f"Consent/{id}/_history/{version}" in json.dumps(event)


def test_what_is_put_off_comes_again_later_and_holds_back_nobody_else(server: Live, mongo_uri: str) -> None:
    since = int(datetime.now(UTC).timestamp() * 1_000_000)
    stuck, free = given(server, ["li"])[0][0], given(server, ["wu"])[0][0]

    async def told(parts: Parts) -> tuple[list[tuple[str, int, int]], list[timedelta]]:
        seen, pauses = [], []
        for _ in range(2):
            async with aclosing(follow(parts.definitions, "slow", since=since, looked_after=None)) as entries:
                async for each in entries:
                    assert each.entry.body
                    seen.append((each.entry.body["consent"], each.entry.body["version"], each.entry.tries))
                    if each.entry.body["consent"] == free:
                        assert await each.done()
                    else:
                        asked = datetime.now(UTC)
                        pauses.append(await each.put_off() - asked)
            await asyncio.sleep(1.1)
        await parts.services.consenting.outbox.forget("slow")
        return seen, pauses

    seen, pauses = run(server, mongo_uri, told)
    times = [each for each in seen if each[0] == stuck]
    assert len(times) >= 2  # more, where all of this took longer than the pause
    assert times == [(stuck, 1, tries) for tries in range(len(times))]
    assert [each[1] for each in seen if each[0] == free] == [*range(1, CHANGES + 1)]
    assert all(each >= timedelta(seconds=2**tries) for tries, each in enumerate(pauses))


def test_who_was_named_before_is_among_those_concerned(server: Live, mongo_uri: str) -> None:
    since = int(datetime.now(UTC).timestamp() * 1_000_000)
    with both(server, "sun") as (_, client):
        made = client.post("Consent", json=consent("sun", 0, ASKS, "h8")).json()
        client.put(f"Consent/{made['id']}", json={**consent("sun", 0, "h9"), "id": made["id"]})

    async def told(parts: Parts) -> list[list[str]]:
        found = []
        async for each in follow(parts.definitions, "named", since=since, looked_after=None):
            assert each.entry.body
            found.append(each.entry.body["institutions"])
            await each.done()
        await parts.services.consenting.outbox.forget("named")
        return found

    assert run(server, mongo_uri, told) == [[ASKS, "h8"], [ASKS, "h8", "h9"]]


def test_what_is_no_name_and_a_reader_that_is_gone(server: Live, mongo_uri: str) -> None:
    refused = CliRunner().invoke(app, ["outbox", "follow", "$or"], env=environment(server, mongo_uri))
    assert refused.exit_code == 2
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    given(server, ["li"])
    words = [sys.executable, "-m", "fhir_server", "outbox", "follow", "piped", "--once", "--since", since]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        words, stdout=writing, stderr=subprocess.PIPE, env=environment(server, mongo_uri), check=False, timeout=60
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")
    listed = CliRunner().invoke(app, ["outbox", "consumers"], env=environment(server, mongo_uri))
    assert f"{CHANGES} waiting" in listed.stdout
