"""The outbox: stored with what it tells of, sealed, seen by each consumer in order for each person, at least once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Wrapping
from fhir_server.crypto.tokens import Tokens
from fhir_server.errors import Conflict
from fhir_server.interactions.storing import again
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.keys import KEYS, DataKeys, Owner
from fhir_server.store.outbox import OUTBOX, Entry, Outbox

Database = AsyncDatabase[dict[str, Any]]
pytestmark = pytest.mark.anyio
NOW = timedelta(0)
BRIDGE, OTHER = "bridge", "other"


class Site:
    """An outbox over a database, and its committer."""

    def __init__(self, database: Database, folder: Path) -> None:
        keyring = Keyring.open(folder / "keyring.json")
        self.database = database
        self.committer = Committer(database.client, database)
        self.outbox = Outbox(database, DataKeys(database, Wrapping(keyring), Tokens(keyring.index_key).of("data-key")))

    async def tell(self, person: int, *texts: str, kind: str = "told", at: int = 1) -> None:
        """Store entries of a person in one unit."""

        async def once() -> None:
            unit = Unit()
            for text in texts:
                await self.outbox.add(kind, Owner(person, "h1"), {"text": text}, unit, at=at)
            await self.committer.commit(unit)

        await again(once, tries=50)

    async def all_taken(self, worker: str = "a", consumer: str = BRIDGE) -> list[Entry]:
        found = []
        while (entry := await self.outbox.take(consumer, worker)) is not None:
            found.append(entry)
        return found

    async def consumed(self, consumer: str, worker: str = "a") -> list[str | None]:
        """Return what a consumer is told until nothing waits for it."""
        found = []
        while (entry := await self.outbox.take(consumer, worker)) is not None:
            found.append(text(entry))
            assert await self.outbox.done(consumer, entry, worker)
        return found

    async def kept(self) -> list[int]:
        """Return of which person each entry is that is kept."""
        return [each["person"] for each in await self.database[OUTBOX].find().sort("person", 1).to_list()]


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> Site:
    made = Site(database, tmp_path)
    await made.outbox.ensure()
    await made.outbox.register(BRIDGE, since=0)
    return made


def text(entry: Entry | None) -> str | None:
    return entry.body["text"] if entry and entry.body else None


async def test_the_second_of_a_person_waits_until_the_first_is_done(site: Site) -> None:
    await site.tell(1, "first", at=5)
    await site.tell(1, "second", at=3)  # by a clock that is behind
    await site.tell(2, "other", at=4)
    taken = await site.all_taken()
    assert sorted(map(str, map(text, taken))) == ["first", "other"]
    first = next(each for each in taken if text(each) == "first")
    assert await site.outbox.done(BRIDGE, first, "a")
    assert text(await site.outbox.take(BRIDGE, "b")) == "second"
    assert await site.outbox.take(BRIDGE, "b") is None


async def test_each_consumer_sees_each_entry_once_and_by_itself(site: Site) -> None:
    await site.outbox.register(OTHER, since=0)
    await site.tell(1, "one", "two")
    await site.tell(2, "three", at=2)
    assert await site.consumed(BRIDGE) == ["one", "two", "three"]
    assert await site.kept() == [1, 1, 2]
    stuck = await site.outbox.take(OTHER, "a")
    assert text(stuck) == "one"
    assert await site.consumed(BRIDGE) == []
    assert stuck is not None
    assert await site.outbox.done(OTHER, stuck, "a")
    assert await site.kept() == [1, 2]  # gone once all are through
    assert await site.consumed(OTHER) == ["two", "three"]
    assert await site.kept() == []


async def test_a_new_consumer_begins_at_the_stated_point_and_to_register_again_changes_nothing(site: Site) -> None:
    for at in (1, 2, 3):
        await site.tell(at, str(at), at=at)
    assert len(await site.all_taken()) == 3  # addressed, and not done
    late = await site.outbox.register(OTHER, since=2)
    await site.tell(4, "4", at=4)
    assert await site.outbox.register(OTHER, since=0) == late
    assert await site.consumed(OTHER) == ["2", "3", "4"]
    assert await site.outbox.register(OTHER, since=0) == late
    assert await site.consumed(OTHER) == []


async def test_what_is_stored_while_a_consumer_registers_reaches_it(site: Site) -> None:
    """Entries come, others take and address, one registers: whichever comes first, nothing is left out that is kept."""
    await site.outbox.register(OTHER, since=0)  # which is told of nothing yet, so that all is kept
    for round in range(4):
        name = f"late-{round}"
        await asyncio.gather(
            *(site.tell(person, str(person), at=round + 1) for person in range(4)),
            site.outbox.register(name, since=round + 1),
            site.consumed(BRIDGE),
        )
        found = await site.consumed(name)
        assert sorted(map(str, found)) == ["0", "1", "2", "3"]
        assert await site.outbox.forget(name)


async def test_what_a_dead_worker_took_another_takes_again(site: Site) -> None:
    await site.tell(1, "only")
    dead = await site.outbox.take(BRIDGE, "dead", lease=NOW)
    alive = await site.outbox.take(BRIDGE, "alive")
    assert dead is not None
    assert alive is not None
    assert dead == alive
    assert not await site.outbox.done(BRIDGE, dead, "dead")
    assert await site.outbox.done(BRIDGE, alive, "alive")
    assert not await site.outbox.done(BRIDGE, alive, "alive")
    assert await site.outbox.take(BRIDGE, "alive", lease=NOW) is None


async def test_what_is_put_off_comes_again_then_and_what_follows_it_after_it(site: Site) -> None:
    await site.tell(1, "first", "second")
    await site.tell(2, "other")
    entry = await site.outbox.take(BRIDGE, "a")
    assert entry is not None
    assert await site.outbox.put_off(BRIDGE, entry, "a", until=datetime.now(UTC) + timedelta(hours=1))
    assert await site.consumed(BRIDGE) == ["other"]
    await site.database[OUTBOX].update_one({"_id": entry.id}, {"$set": {"taken.bridge.until": datetime.now(UTC)}})
    assert await site.consumed(BRIDGE) == ["first", "second"]


async def test_nothing_is_taken_by_two_workers_at_once(site: Site) -> None:
    for person in range(6):
        await site.tell(person, str(person))
    found = await asyncio.gather(*(site.all_taken(f"c{number}") for number in range(4)))
    taken = sorted(str(text(entry)) for each in found for entry in each)
    assert taken == [str(person) for person in range(6)]


async def test_entries_of_one_person_do_not_wait_for_each_other_and_what_follows_comes_after(site: Site) -> None:
    unit, others = Unit(), [Unit() for _ in range(20)]
    for number, each in enumerate(others):
        await site.outbox.add("told", Owner(1, "h1"), {"text": str(number)}, each, at=9)
    await asyncio.gather(*(site.committer.commit(each) for each in others))  # none is a conflict
    await site.outbox.add("told", Owner(1, "h1"), {"text": "later"}, unit, at=3)  # by a clock that is behind
    await site.committer.commit(unit)
    found = await site.consumed(BRIDGE)
    assert sorted(map(str, found[:-1])) == sorted(map(str, range(20)))
    assert found[-1] == "later"


async def test_an_entry_is_stored_with_its_unit_or_not_at_all(site: Site) -> None:
    unit = Unit()
    await site.outbox.add("told", Owner(1, "h1"), {"text": "never"}, unit, at=1)
    unit.delete("things", {"_id": "absent"})
    with pytest.raises(Conflict):
        await site.committer.commit(unit)
    assert await site.outbox.take(BRIDGE, "a") is None


async def test_a_consumer_is_told_of_the_kinds_that_it_knows(site: Site) -> None:
    await site.outbox.register(OTHER, since=0, kinds={"y"})
    await site.tell(1, "one", kind="x")
    await site.tell(1, "two", kind="y")
    assert await site.consumed(OTHER) == ["two"]
    waiting = {each.consumer.name: (each.entries, each.oldest) for each in await site.outbox.consumers()}
    assert waiting == {BRIDGE: (2, 1), OTHER: (0, None)}


async def test_who_is_forgotten_holds_nothing_back_and_what_is_too_old_goes_whoever_waits(site: Site) -> None:
    await site.outbox.register(OTHER, since=0)
    await site.tell(1, "old", at=1)
    await site.tell(2, "new", at=9)
    await site.consumed(BRIDGE)
    assert await site.kept() == [1, 2]
    assert await site.outbox.purge(before=9) == 1
    assert await site.kept() == [2]
    assert await site.outbox.forget(OTHER)
    assert not await site.outbox.forget(OTHER)
    assert await site.kept() == []
    with pytest.raises(ValueError, match="no name"):
        await site.outbox.register("$or", since=0)


async def test_the_store_holds_nothing_readable_and_what_was_purged_is_told_as_gone(site: Site, tmp_path: Path) -> None:
    await site.tell(1, "secret words")
    (row,) = await site.database[OUTBOX].find().to_list()
    assert b"secret" not in row["body"]
    assert row.keys() == {"_id", "person", "place", "at", "kind", "k", "body", "to"}
    await site.database[KEYS].delete_many({})
    entry = await Site(site.database, tmp_path).outbox.take(BRIDGE, "a")  # a process that does not know the key yet
    assert entry is not None
    assert entry.body is None
