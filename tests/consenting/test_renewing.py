"""The notes of when authorizations end say what the Consents say, whoever stored them and whatever happens to the notes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.commands.reindexing import index_anew
from fhir_server.consenting.reminders import Done
from fhir_server.crypto.keyring import Keyring
from fhir_server.fhir_json import dump
from fhir_server.loading.files import chunks, read, sources
from fhir_server.loading.load import load
from fhir_server.loading.processes import named_for
from fhir_server.store.instants import microseconds
from tests.consenting.test_following import consent, made
from tests.consenting.world import ASKS, organization, own, person
from tests.databases import fresh
from tests.live import Clock, Live, live

Json = dict[str, Any]
START = datetime.now(UTC)


@dataclass
class Site:
    server: Live
    uri: str
    database: Database[Json]

    def at(self, days: float) -> None:
        self.server.clock.now = START + timedelta(days=days)

    def run(self, work: Callable[[Parts], Awaitable[Any]], *, any_layout: bool = False) -> Any:
        """Return what work returns in another process's parts."""

        async def within() -> Any:
            settings = self.server.settings
            parts = assemble(settings, keyring_of(settings), uri=self.uri, clock=self.server.clock)
            try:
                await parts.ready(any_layout=any_layout)
                return await work(parts)
            finally:
                await parts.close()

        return asyncio.run(within())

    def sweep(self) -> Done:
        while (done := self.run(lambda parts: parts.reminders.once())) is None:
            continue
        assert isinstance(done, Done)
        return done

    def given(self, name: str, days: int) -> str:
        """Return the id of a Consent that a person gives, and that ends with a day."""
        with own(self.server, name) as client:
            return str(made(client, consent(name, ends=day(days)))["id"])

    def noted(self, id: str) -> Json | None:
        return self.database["authorization_ends"].find_one({"_id": id})

    def told(self, id: str) -> list[str]:
        key = self.database["Consent"].find_one({"_id": id}, {"pat": 1})
        assert key
        return [each["kind"] for each in self.database["outbox"].find({"person": key["pat"]}).sort("place", 1)]

    def notices(self, name: str) -> int:
        """Return of how many ends a person was reminded."""
        with own(self.server, name) as client:
            found = client.get("Communication", params={"category": "reminder", "_total": "accurate"}).json()
        return int(found["total"])


def day(days: int) -> str:
    return (START + timedelta(days=days)).date().isoformat()


def last(days: int) -> int:
    """Return the last millisecond of a day (µs since 1970 UTC)."""
    end = datetime.fromisoformat(day(days)).replace(tzinfo=UTC) + timedelta(days=1)
    return microseconds(end) - 1_000


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("renewing")
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, folder, database=name, clock=Clock(START), remind_days=5) as server,
        MongoClient[Json](mongo_uri, tz_aware=True) as client,
    ):
        server.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        yield Site(server, mongo_uri, client[name])


@pytest.fixture(autouse=True)
def at_the_start(site: Site) -> None:
    site.at(0)


def test_what_has_no_note_gets_one_by_reindex_and_by_the_sweep(site: Site) -> None:
    person(site.server, "old", 801)
    ids = [site.given("old", 20) for _ in range(3)]
    notes = site.database["authorization_ends"]
    before = list(notes.find({"_id": {"$in": ids}}))
    assert [each["until"] for each in before] == [last(20)] * 3
    notes.delete_many({"_id": {"$in": ids}})
    site.run(lambda parts: index_anew(parts, lambda name: None), any_layout=True)
    assert list(notes.find({"_id": {"$in": ids}})) == before
    notes.delete_many({"_id": {"$in": ids}})
    site.sweep()
    assert list(notes.find({"_id": {"$in": ids}})) == before
    site.at(16)
    site.sweep()
    assert site.notices("old") == 3
    site.at(22)
    site.sweep()
    assert site.sweep() == Done()
    assert site.told(ids[0]) == ["consent-active"] * 3 + ["consent-expired"] * 3


@pytest.mark.parametrize("moved", [-19, 400])
def test_a_note_that_was_moved_in_the_store_changes_nothing(site: Site, moved: int) -> None:
    name = f"moved{moved}"
    person(site.server, name, 810 + abs(moved))
    id = site.given(name, 20)
    changed = {"$set": {"until": last(20 + moved)}}
    site.database["authorization_ends"].update_one({"_id": id}, changed)
    site.at(3)
    site.sweep()
    assert (site.notices(name), site.told(id)) == (0, ["consent-active"])
    noted = site.noted(id)
    assert noted
    assert noted["until"] == last(20)
    site.at(16)
    site.database["authorization_ends"].update_one({"_id": id}, changed)
    site.sweep()
    assert site.notices(name) == 1
    site.at(22)
    site.sweep()
    assert site.told(id) == ["consent-active", "consent-expired"]


def test_a_note_that_comes_too_early_tells_nobody_that_it_has_ended(site: Site) -> None:
    """Not even in a process that has held the notes to the Consents just before."""
    person(site.server, "early", 802)
    id = site.given("early", 20)

    async def swept(parts: Parts) -> None:
        while await parts.reminders.once() is None:
            continue
        site.database["authorization_ends"].update_one({"_id": id}, {"$set": {"until": last(-1)}})
        while (done := await parts.reminders.once()) is None:
            continue
        assert done == Done()

    site.run(swept)
    noted = site.noted(id)
    assert noted
    assert (noted["until"], noted["reminded"]) == (last(20), False)
    assert site.told(id) == ["consent-active"]


def test_what_is_loaded_is_noted_and_told_to_nobody(site: Site, tmp_path: Path) -> None:
    person(site.server, "loaded", 803)
    resources = [{**consent("loaded", ends=day(20)), "id": f"loaded-{number}"} for number in range(2)]
    load_as(site, tmp_path / "1.ndjson", *resources)
    assert [(site.noted(each["id"]) or {})["until"] for each in resources] == [last(20)] * 2
    load_as(site, tmp_path / "2.ndjson", {**resources[0], "provision": {"type": "permit"}})
    assert (site.noted("loaded-0") or {"until": None})["until"] is None
    assert site.told("loaded-0") == []
    site.at(22)
    site.sweep()
    assert site.told("loaded-1") == ["consent-expired"]


def load_as(site: Site, path: Path, *resources: Json) -> None:
    path.write_bytes(b"".join(dump(each) + b"\n" for each in resources))
    keyring: Keyring = keyring_of(site.server.settings)
    found = chunks((raw for file in sources([path]) for raw in read(file)), named_for(keyring, ASKS))
    work = load(
        site.server.settings,
        keyring,
        site.uri,
        ASKS,
        found,
        processes=1,
        reject=lambda reject: pytest.fail(str(reject)),
        progress=lambda tally: None,
    )
    assert asyncio.run(work).stored == len(resources)
