"""Building a parameter while others read and write, in several processes, and after one of them was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.interactions.call import Services
from fhir_server.reindexing import definitions
from fhir_server.reindexing.definitions import PARAMETERS
from fhir_server.settings import Settings
from fhir_server.store.drafts import Draft
from fhir_server.store.ids import new_id
from fhir_server.store.numbers import EPOCHS, NUMBERS, Numbers, Outdated, numbers
from tests.killed import end_transactions, named
from tests.live import Live, free_port, live
from tests.reindexing.test_search_parameters import OPERATOR, built, parameter, patient

WRITERS = 4


def group(client: httpx.Client, code: str) -> int:
    total: int = client.get(f"Patient?ethnic={code}&_summary=count").json()["total"]
    return total


def load(server: Live, count: int) -> None:
    with server.system() as client:
        for start in range(0, count, 500):
            entries = [
                {"resource": patient(f"p{n}"), "request": {"method": "PUT", "url": f"Patient/p{n}"}}
                for n in range(start, min(start + 500, count))
            ]
            answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
            assert answer.status_code == 200, answer.text


def test_no_write_is_lost_and_none_stays_unfiled_while_a_parameter_is_built(
    mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    """Writers change and create Patients on two servers the whole time; in the end each is found as it is."""
    stop, last = threading.Event(), dict[str, str]()

    def write(client: httpx.Client, writer: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            for id in (f"p{writer + WRITERS * (turn % 50)}", f"new-{writer}-{turn}"):
                code = "hui" if turn % 3 else "han"
                answer = client.put(f"Patient/{id}", json=patient(id, code))
                assert answer.status_code in (200, 201), answer.text
                last[id] = code

    with ExitStack() as stack:
        servers = [
            stack.enter_context(live(mongo_uri, tmp_path, database=database_name, operators=OPERATOR)) for _ in range(2)
        ]
        load(servers[0], 1_000)
        clients = [stack.enter_context(server.system()) for server in servers]
        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [pool.submit(write, clients[writer % 2], writer) for writer in range(WRITERS)]
            time.sleep(0.2)
            try:
                servers[0].put(parameter())
                # Whichever server is asked, it knows of the parameter from its first request on.
                assert "being built" in clients[1].get("Patient?ethnic=han").text
                built(clients[1], "Patient?ethnic=han&_summary=count")
                time.sleep(0.2)
            finally:
                stop.set()
            for each in writing:
                each.result()
        assert len(last) > 50
        known = {f"p{n}": "han" for n in range(1_000)} | last
        for client in clients:
            assert group(client, "han") == sum(code == "han" for code in known.values())
            assert group(client, "hui") == sum(code == "hui" for code in known.values())
            for id, code in list(last.items())[-20:]:
                assert client.get(f"Patient?ethnic={code}&_id={id}").json()["total"] == 1


@contextmanager
def process(folder: Path, uri: str, database: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a server as a process of its own; yield it and its base."""
    port = free_port()
    said = {
        "DATA": folder,
        "MONGODB_URI": named(uri, database),
        "DATABASE": database,
        "ZONE": "UTC",
        "PORT": port,
        "OPERATORS": OPERATOR,
    }
    environment = {**os.environ, **{f"FHIR_{name}": str(value) for name, value in said.items()}}
    run = f"import uvicorn; uvicorn.run('fhir_server.app:worker', factory=True, port={port}, log_level='critical')"
    started = subprocess.Popen([sys.executable, "-c", run], env=environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200)
        yield started, f"http://127.0.0.1:{port}/fhir/"
    finally:
        started.kill()
        started.wait(10)


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if holds():
                return
        time.sleep(0.02)
    raise AssertionError("it never came to hold")


def test_a_build_that_was_killed_goes_on_where_it_stopped(mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    with live(mongo_uri, tmp_path, database=database_name, operators=OPERATOR) as server:
        load(server, 2_000)
        token = server.token("system", OPERATOR, scope="system/*.cruds")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    with MongoClient[dict[str, Any]](mongo_uri) as mongo:
        database = mongo[database_name]
        with process(tmp_path, mongo_uri, database_name) as (victim, base):
            with httpx.Client(base_url=base, headers=headers, timeout=30) as client:
                assert client.put("SearchParameter/ethnic", json=parameter()).status_code == 201
            until(lambda: (database["reindexing"].find_one() or {}).get("seen", 0) >= 200)
            victim.send_signal(signal.SIGKILL)
            victim.wait(10)
            end_transactions(mongo, database_name)
        job = database["reindexing"].find_one() or {}
        assert 200 <= job["seen"] < 2_000
        assert database["Patient"].count_documents({"d": job["filing"]}) < 2_000
        # Its lease would end after some seconds.
        assert database["leases"].delete_many({"_id": "reindexing"}).deleted_count == 1
        before = {each["_id"] for each in database["Patient"].find({"d": job["filing"]}, {"_id": 1})}
        marked = database["Patient"].update_one({"_id": min(before)}, {"$set": {"mark": True}}).modified_count
        with live(mongo_uri, tmp_path, database=database_name, operators=OPERATOR) as server, server.system() as client:
            assert built(client, "Patient?ethnic=han&_summary=count")["total"] == 2_000
        assert database["Patient"].count_documents({"d": job["filing"]}) == 2_000
        # What was done before was not done again: it would have lost the mark.
        assert database["Patient"].count_documents({"mark": True}) == marked == 1


@pytest.fixture
def parts(mongo_uri: str, database_name: str, tmp_path: Path) -> Callable[[], Parts]:
    settings = Settings.load(tmp_path, database=database_name, zone="UTC", operators=OPERATOR)
    keyring = keyring_of(settings)
    return lambda: assemble(settings, keyring, uri=mongo_uri)


async def stored(use: Services, id: str, group: str = "han", old: dict[str, Any] | None = None) -> Any:
    """Return the unit that stores a Patient, ready to be committed."""
    draft = Draft(patient(id, group), id, "org1", old["v"] + 1 if old else 1, old)
    unit, _, _ = await use.writer.store([draft], at=use.now())
    return unit


def test_what_was_filed_under_older_definitions_is_kept_out_of_the_store(parts: Callable[[], Parts]) -> None:
    """A write that was begun before the definitions changed, in a process that has not noticed, comes too late."""

    async def run() -> None:
        slow, other = parts(), parts()
        await slow.ready()
        await other.ready()
        late = await stored(slow.services, new_id())
        await other.database[EPOCHS].update_one(NUMBERS, {"$inc": {"heard": 1, "filing": 1}}, upsert=True)
        await other.services.committer.fence.raise_to(1)
        with pytest.raises(Outdated):
            await slow.services.committer.commit(late)
        assert await other.database["Patient"].count_documents({}) == 0
        await slow.definitions.renew()
        await slow.services.committer.commit(await stored(slow.services, "again"))
        found = await other.database["Patient"].find_one({"_id": "again"})
        assert found is not None
        assert found["d"] == 1
        for each in (slow, other):
            await each.client.close()

    asyncio.run(run())


def test_many_who_ask_at_once_learn_of_the_definitions_by_one_look(
    parts: Callable[[], Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Numbers] = []

    async def noted(database: AsyncDatabase[dict[str, Any]]) -> Numbers:
        looked.append(await numbers(database))
        return looked[-1]

    async def run() -> None:
        made = parts()
        await made.ready()
        monkeypatch.setattr(definitions, "numbers", noted)
        await asyncio.gather(*(made.definitions.renew() for _ in range(20)))
        assert len(looked) == 1
        # Who asks later looks anew, and whom the fence did not let through enters again.
        await made.database[EPOCHS].update_one(NUMBERS, {"$inc": {"heard": 1, "filing": 1}}, upsert=True)
        await asyncio.gather(*(made.definitions.renew(entering=bool(number % 2)) for number in range(20)))
        assert made.definitions.numbers == looked[-1] == await numbers(made.database)
        assert made.definitions.numbers.filing == looked[0].filing + 1
        assert len(looked) < 8
        await made.client.close()

    asyncio.run(run())


def test_a_transaction_that_began_before_the_fence_was_raised_is_stored_before_or_not_at_all(
    parts: Callable[[], Parts],
) -> None:
    async def run() -> None:
        made = parts()
        await made.ready()
        fence, row = made.services.committer.fence, made.database["writers"]

        async def overtaken(session: AsyncClientSession) -> None:
            async with await session.start_transaction(ReadConcern("snapshot")):
                await row.find_one({}, session=session)  # its snapshot is from now
                await fence.raise_to(2)
                await fence.let_through(2, session)

        async with made.client.start_session() as session:
            async with await session.start_transaction():
                await fence.let_through(0, session)
                raising = asyncio.ensure_future(fence.raise_to(1))
                _, pending = await asyncio.wait([raising], timeout=0.5)
                assert pending, "the fence waits for the transaction"
            await raising
            with pytest.raises(Outdated):
                async with await session.start_transaction():
                    await fence.let_through(0, session)
            with pytest.raises(PyMongoError) as conflict:
                await overtaken(session)
            # Tried again, as the committer does, it would see the fence as it is.
            assert conflict.value.has_error_label("TransientTransactionError")
        assert await row.count_documents({"filing": 2}) == 1
        await made.client.close()

    asyncio.run(run())


def test_the_parameters_in_force_are_kept_in_plain_text_without_any_value_of_a_record(
    mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    with live(mongo_uri, tmp_path, database=database_name, operators=OPERATOR) as server, server.system() as client:
        server.put(patient("p1", "secret-group"), parameter())
        built(client, "Patient?ethnic=secret-group")
        with MongoClient[dict[str, Any]](mongo_uri) as mongo:
            everything = [
                list(mongo[database_name][name].find()) for name in (PARAMETERS, "reindexing", EPOCHS, "writers")
            ]
    assert "secret-group" not in repr(everything)
