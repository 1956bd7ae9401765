"""The outbox: stored with what it tells of, sealed, taken in order for each person, at least once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
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


class Site:
    """An outbox over a database, and its committer."""

    def __init__(self, database: Database, folder: Path) -> None:
        keyring = Keyring.open(folder / "keyring.json")
        self.database = database
        self.committer = Committer(database.client, database)
        self.outbox = Outbox(database, DataKeys(database, Wrapping(keyring), Tokens(keyring.index_key).of("data-key")))

    async def tell(self, person: int, text: str, *, kind: str = "told", at: int = 1) -> None:
        async def once() -> None:
            unit = Unit()
            await self.outbox.add(kind, Owner(person, "h1"), {"text": text}, unit, at=at)
            await self.committer.commit(unit)

        await again(once)

    async def all_taken(self, consumer: str = "a") -> list[Entry]:
        found = []
        while (entry := await self.outbox.take(consumer)) is not None:
            found.append(entry)
        return found


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> Site:
    made = Site(database, tmp_path)
    await made.outbox.ensure()
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
    assert await site.outbox.done(first, "a")
    assert text(await site.outbox.take("b")) == "second"
    assert await site.outbox.take("b") is None


async def test_what_a_dead_consumer_took_another_takes_again(site: Site) -> None:
    await site.tell(1, "only")
    dead = await site.outbox.take("dead", lease=NOW)
    alive = await site.outbox.take("alive")
    assert dead is not None
    assert alive is not None
    assert dead == alive
    assert not await site.outbox.done(dead, "dead")
    assert await site.outbox.done(alive, "alive")
    assert not await site.outbox.done(alive, "alive")
    assert await site.outbox.take("alive", lease=NOW) is None


async def test_nothing_is_taken_by_two_at_once(site: Site) -> None:
    for person in range(6):
        await site.tell(person, str(person))
    found = await asyncio.gather(*(site.all_taken(f"c{number}") for number in range(4)))
    taken = sorted(entry.id for each in found for entry in each)
    assert taken == sorted(f"{person}/0" for person in range(6))


async def test_entries_that_come_at_once_have_an_order(site: Site) -> None:
    await asyncio.gather(*(site.tell(1, str(number)) for number in range(5)))
    numbers = [each["number"] for each in await site.database[OUTBOX].find().sort("number", 1).to_list()]
    assert numbers == [0, 1, 2, 3, 4]


async def test_an_entry_is_stored_with_its_unit_or_not_at_all(site: Site) -> None:
    unit = Unit()
    await site.outbox.add("told", Owner(1, "h1"), {"text": "never"}, unit, at=1)
    unit.delete("things", {"_id": "absent"})
    with pytest.raises(Conflict):
        await site.committer.commit(unit)
    assert await site.outbox.take("a") is None


async def test_a_consumer_takes_the_kinds_that_it_knows(site: Site) -> None:
    await site.tell(1, "one", kind="x")
    await site.tell(1, "two", kind="y")
    assert text(await site.outbox.take("a", kinds={"y"})) == "two"


async def test_the_store_holds_nothing_readable_and_what_was_purged_is_told_as_gone(site: Site, tmp_path: Path) -> None:
    await site.tell(1, "secret words")
    (row,) = await site.database[OUTBOX].find().to_list()
    assert b"secret" not in row["body"]
    assert row.keys() == {
        "_id",
        "person",
        "number",
        "at",
        "kind",
        "k",
        "body",
        "done",
        "taken",
    }
    await site.database[KEYS].delete_many({})
    entry = await Site(site.database, tmp_path).outbox.take("a")  # another process, which does not know the key yet
    assert entry is not None
    assert entry.body is None
