"""A load on a real store: its order, what others write meanwhile, what it refuses, and that a second one completes it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.fhir_json import dump, parse
from fhir_server.loading.files import Chunk, Raw, Reject
from fhir_server.loading.load import load
from fhir_server.loading.loader import Loader, Tally
from fhir_server.loading.preparing import MOST, Prepared, Preparer
from fhir_server.resident_id import check_character
from fhir_server.settings import Settings
from fhir_server.store.resources import Ungated
from tests.commands.console import console
from tests.killed import end_transactions, named

Json = dict[str, Any]
CLI = [sys.executable, "-m", "fhir_server"]
NUMBER = "11010119900307001" + check_character("11010119900307001")
EVERYTHING = Ungated("test")


def chunk(*resources: Json) -> Chunk:
    return tuple(Raw("f", f"line {place}", dump(each)) for place, each in enumerate(resources, 1))


def patient(id: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "id": id, **more}


def observation(id: str, of: str, text: str = "x") -> Json:
    return {
        "resourceType": "Observation", "id": id, "status": "final", "code": {"text": text},
        "subject": {"reference": f"Patient/{of}"},
    }  # fmt: skip


def known(id: str) -> Json:
    return patient(id, identifier=[{"system": "urn:oid:2.16.156.10011.1.3", "value": NUMBER}])


def parameter(id: str, code: str = "mood") -> Json:
    return {
        "resourceType": "SearchParameter", "id": id, "url": f"urn:parameter:{id}", "name": "Mood", "status": "active",
        "description": "d", "code": code, "base": ["Patient"], "type": "string", "expression": "Patient.name.text",
    }  # fmt: skip


class Bench:
    """A store, and loads into it by this process alone."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.rejects: list[Reject] = []

    def loader(self, organization: str = "org1", before: Callable[[Chunk], Any] | None = None) -> Loader:
        """Return a loader; before: is awaited when a chunk has been prepared."""
        preparer = Preparer(self.parts.definitions, organization, str)

        async def prepare(each: Chunk, most: int = MOST) -> Prepared:
            prepared = await preparer.prepared(each, most)
            if before:
                await before(each)
            return prepared

        return Loader(self.parts.services, prepare, ahead=3, reject=self.rejects.append)

    async def load(self, *chunks: Chunk, organization: str = "org1") -> tuple[int, int, int]:
        tally = await self.loader(organization).load(chunks)
        return tally.stored, tally.unchanged, tally.rejected

    async def stored(self, type: str, id: str) -> Json:
        found = await self.parts.services.resources.read(type, id, EVERYTHING)
        assert found is not None
        (body,) = await self.parts.services.resources.opened(type, [found])
        resource: Json = parse(body)
        return resource

    async def documents(self, type: str) -> list[Json]:
        return await self.parts.database[type].find().sort("_id").to_list()


Opened = Callable[..., Any]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def bench(mongo_uri: str, database_name: str, tmp_path: Path) -> Opened:
    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Bench]:
        chosen = Settings.load(tmp_path, database=database_name, zone="UTC", **settings)
        parts = assemble(chosen, keyring_of(chosen), uri=mongo_uri)
        await parts.ready()
        yield Bench(parts)
        await parts.client.close()

    return opened


async def test_versions_keep_the_order_of_the_files(bench: Opened) -> None:
    async with bench() as at:
        said = [observation("o", "p", text) for text in ("one", "two", "three", "three", "one")]
        assert await at.load(chunk(*said[:2]), chunk(said[2]), chunk(said[3]), chunk(said[4])) == (4, 1, 0)
        found = await at.stored("Observation", "o")
        assert (found["code"]["text"], found["meta"]["versionId"]) == ("one", "4")


async def test_what_was_as_stored_when_it_was_prepared_is_looked_at_again_when_it_is_stored(bench: Opened) -> None:
    async with bench() as at:
        old, new = observation("o", "p", "old"), observation("o", "p", "new")
        assert await at.load(chunk(old)) == (1, 0, 0)
        assert await at.load(chunk(new), chunk(old)) == (2, 0, 0)
        assert (await at.stored("Observation", "o"))["code"]["text"] == "old"


async def test_the_same_again_in_one_chunk_is_not_stored_again(bench: Opened) -> None:
    async with bench() as at:
        assert await at.load(chunk(patient("p"), observation("o", "p"), patient("p"))) == (2, 1, 0)
        assert await at.load(chunk(patient("p"), patient("p")), chunk(patient("p"))) == (0, 3, 0)
        assert await at.load(chunk(patient("p"), patient("p")), organization="org2") == (0, 0, 2)


async def test_records_prepared_before_their_patient_is_stored_are_filed_under_the_person(bench: Opened) -> None:
    async with bench() as at:
        await at.load(chunk(known("p")), *(chunk(observation(f"o{number}", "p")) for number in range(6)))
        (person,) = await at.documents("Patient")
        found = await at.documents("Observation")
        assert len(found) == 6
        assert {each["pat"] for each in found} == {person["pat"]}


@pytest.mark.parametrize("together", [True, False])
async def test_a_binary_is_filed_under_the_patient_of_what_it_belongs_to(bench: Opened, together: bool) -> None:
    context = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/p"},
    }
    context["content"] = [{"attachment": {"url": "Binary/b"}}]
    binary = {"resourceType": "Binary", "id": "b", "contentType": "text/plain"}
    binary["securityContext"] = {"reference": "DocumentReference/d"}
    async with bench() as at:
        parts = [chunk(context, binary)] if together else [chunk(context), chunk(binary)]
        assert await at.load(*parts) == (2, 0, 0)
        (found,) = await at.documents("Binary")
        assert found["pr"] == ["p"]


async def test_a_write_that_comes_between_is_not_overwritten_unseen(bench: Opened) -> None:
    async with bench() as at:
        others: list[tuple[int, int, int]] = []

        async def meanwhile(prepared: Chunk) -> None:
            if not others:
                others.append((0, 0, 0))
                others[0] = await at.load(chunk(observation("o", "p", "theirs")))

        tally = await at.loader(before=meanwhile).load([chunk(observation("o", "p", "ours"))])
        assert others == [(1, 0, 0)]
        assert (tally.stored, tally.rejected) == (1, 0)
        found = await at.stored("Observation", "o")
        assert (found["code"]["text"], found["meta"]["versionId"]) == ("ours", "2")


async def test_only_what_others_write_all_the_time_is_rejected(bench: Opened) -> None:
    async with bench() as at:
        number = 0

        async def meanwhile(prepared: Chunk) -> None:
            nonlocal number
            number += 1
            await at.load(chunk(observation("busy", "p", f"theirs {number}")))

        tally = await at.loader(before=meanwhile).load([chunk(patient("a"), observation("busy", "p"), patient("b"))])
        assert (tally.stored, tally.rejected) == (2, 1)
        assert [(each.position, each.id) for each in at.rejects] == [("line 2", "busy")]
        assert {each["_id"] for each in await at.documents("Patient")} == {"a", "b"}


async def test_bad_items_are_told_and_the_others_of_the_chunk_stored(bench: Opened) -> None:
    part = patient("part", meta={"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
                                          "code": "SUBSETTED"}]})  # fmt: skip
    async with bench() as at:
        bad = [patient("b", gender="x"), patient(NUMBER), {"resourceType": "AuditEvent", "id": "e"}, part]
        assert await at.load(chunk(patient("a"), *bad, patient("c"))) == (2, 0, 4)
        assert [each.position for each in at.rejects] == ["line 2", "line 3", "line 4", "line 5"]
        assert len(await at.documents("Patient")) == 2


async def test_more_than_one_unit_takes_is_stored_in_several(bench: Opened) -> None:
    async with bench() as at:
        assert await at.load(chunk(*(patient(f"p{number}") for number in range(MOST + 3)))) == (MOST + 3, 0, 0)


async def test_search_parameters_come_in_by_the_rule_of_every_write(bench: Opened) -> None:
    async with bench() as at:
        assert await at.load(chunk(parameter("mine"))) == (1, 0, 0)
        assert await at.documents("search_parameters") == []
    async with bench(operators="Device/fhir-facade-load") as at:
        wrong = parameter("wrong", code="name")
        assert await at.load(chunk(patient("p"), parameter("other"), wrong, patient("q"))) == (3, 0, 1)
        assert [(each.type, each.id) for each in at.rejects] == [("SearchParameter", "wrong")]
        assert [each["_id"] for each in await at.documents("search_parameters")] == ["Patient?mood"]
        assert await at.load(chunk(patient("r"))) == (1, 0, 0)
        at.rejects.clear()
        assert await at.load(chunk(parameter("one", code="two"), patient("t"), parameter("same", code="two"))) == (
            2,
            0,
            1,
        )
        assert [(each.type, each.id) for each in at.rejects] == [("SearchParameter", "same")]
    async with bench() as at:
        changed = {**parameter("other"), "status": "retired"}
        assert await at.load(chunk(changed, patient("s"))) == (1, 0, 1)
        assert "only an operator" in at.rejects[0].reason
        assert (await at.stored("SearchParameter", "other"))["status"] == "active"


async def test_a_load_that_fails_leaves_a_beginning_that_the_next_one_completes(bench: Opened) -> None:
    async with bench() as at:
        chunks = [chunk(patient(f"p{number}"), observation(f"o{number}", f"p{number}")) for number in range(8)]

        def broken() -> Iterable[Chunk]:
            yield from chunks[:5]
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="gone"):
            await at.loader().load(broken())
        there = {each["_id"] for each in await at.documents("Patient")}
        assert there == {f"p{number}" for number in range(len(there))}
        stored, unchanged, _ = await at.load(*chunks)
        assert (stored + unchanged, unchanged) == (16, 2 * len(there))
        assert {each["v"] for type in ("Patient", "Observation") for each in await at.documents(type)} == {1}


def test_several_processes_store_the_same_as_one(mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, database=database_name, zone="UTC")
    texts = [chunk(known(f"p{number}"), *(observation(f"o{number}-{each}", f"p{number - 1}") for each in range(20)))
             for number in range(1, 13)]  # fmt: skip
    told: list[int] = []
    rejects: list[Reject] = []

    def run() -> Tally:
        return asyncio.run(
            load(
                settings, keyring_of(settings), mongo_uri, "org1", texts, processes=2,
                reject=rejects.append, progress=lambda tally: told.append(tally.seen),
            )
        )  # fmt: skip

    tally = run()
    assert (tally.stored, tally.unchanged, rejects) == (12 * 21, 0, [])
    assert told == sorted(told)
    with MongoClient[Json](mongo_uri) as client:
        found = list(client[database_name]["Observation"].find())
        persons = {each["pat"] for each in found if each["pr"] != ["p0"]}
        assert (len(found), len(persons)) == (240, 1)
    again = run()
    assert (again.stored, again.unchanged) == (0, 12 * 21)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_broken_off_anywhere_a_load_is_completed_by_the_next(
    mongo_uri: str, database_name: str, tmp_path: Path, sign: signal.Signals
) -> None:
    path = tmp_path / "records.ndjson"
    total = 4_000  # more than is stored before a process that looks is heard
    lines = (observation(f"o{number}", f"p{number // 10}") for number in range(total))
    path.write_text("\n".join(map(json.dumps, lines)))
    own = {"FHIR_MONGODB_URI": named(mongo_uri, database_name), "FHIR_DATABASE": database_name, "FHIR_ZONE": "UTC"}
    environment = {**os.environ, **own, "FHIR_DATA": str(tmp_path / "var")}
    words = ("load", str(path), "--organization", "org1", "--processes", "2")
    with MongoClient[Json](mongo_uri) as client:
        there = client[database_name]["Observation"]
        process = subprocess.Popen(
            [*CLI, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
        until = time.monotonic() + 120
        while there.find_one() is None and time.monotonic() < until:
            time.sleep(0.01)
        # Ctrl-C reaches every process of the terminal, a kill one alone.
        os.killpg(process.pid, sign) if sign is signal.SIGINT else process.send_signal(sign)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (130, 143, -sign)
        assert "Traceback" not in said, said
        _wait_until_gone(process.pid)
        stored = there.count_documents({})
        assert 0 < stored < total
        if sign is not signal.SIGKILL:
            assert "Started again, it goes on" in said
            end_transactions(client, database_name)  # those of a load that was killed end by themselves
        told = console(mongo_uri, database_name, tmp_path / "var").run(*words)
        assert told == f"{total - stored} stored, {stored} unchanged, 0 rejected\n"
        assert there.count_documents({"v": 1}) == total
        end_transactions(client, database_name)


def _heed_interrupts() -> None:
    """Undo what a shell does to whatever it runs in the background, tests too: it has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_until_gone(session: int) -> None:
    """Wait until no process of a session is left: those that prepare end with the one that stores."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a process of the load is left")
