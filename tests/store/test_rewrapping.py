"""A rotation of the master key: every key is wrapped anew, nothing that they seal is, whoever dies or purges meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.keyfile import KeyFile, Secrets
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, Wrapping
from fhir_server.crypto.tokens import Tokens
from fhir_server.store import rewrapping
from fhir_server.store.keys import KEYS, DataKeys, Owner, bound_to
from fhir_server.store.rewrapping import WrappedIn, left, masters_in_use, rewrap

Database = AsyncDatabase[dict[str, Any]]
PLACE = WrappedIn(KEYS, bound_to)
OWNERS = [Owner(person, "org1") for person in range(50)]
pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


def keys_of(database: Database, path: Path) -> DataKeys:
    keyring = Keyring.open(path)
    return DataKeys(database, Wrapping(keyring), Tokens(keyring.index_key).of("data-key"))


async def rewrapped(database: Database, path: Path) -> int:
    return sum([count async for count in rewrap(database, PLACE, Wrapping(Keyring.open(path)))])


async def test_all_keys_are_wrapped_anew_and_stay_the_keys_they_were(database: Database, path: Path) -> None:
    made = await keys_of(database, path).for_writing(OWNERS)
    rotated = KeyFile(path).change(Secrets.rotated)
    assert await left(database, [PLACE], rotated.current) == len(OWNERS)
    assert await rewrapped(database, path) == len(OWNERS)
    assert await masters_in_use(database, [PLACE]) == {rotated.current: len(OWNERS)}
    KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
    assert await keys_of(database, path).for_reading(made) == made
    assert await rewrapped(database, path) == 0


async def test_broken_off_it_goes_on_with_what_is_left(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "BATCH", 8)
    made = await keys_of(database, path).for_writing(OWNERS)
    rotated = KeyFile(path).change(Secrets.rotated)
    job = rewrap(database, PLACE, Wrapping(Keyring.open(path)))
    assert [await anext(job), await anext(job)] == [8, 8]
    await job.aclose()
    assert await left(database, [PLACE], rotated.current) == len(OWNERS) - 16
    assert await keys_of(database, path).for_reading(made) == made  # half under one, half under the other
    assert await rewrapped(database, path) == len(OWNERS) - 16


async def test_servers_make_and_read_keys_meanwhile_and_none_is_left_behind(database: Database, path: Path) -> None:
    """Many rotations, one after the other, while workers with keyrings of their own make keys: all open in the end."""
    workers = [keys_of(database, path) for _ in range(3)]
    made: dict[int, bytes] = {}
    over = asyncio.Event()

    async def work(worker: DataKeys, number: int) -> None:
        turn = 0
        while not over.is_set():
            made.update(await worker.for_writing([Owner(1000 * number + turn, "org1"), Owner(turn, "org2")]))
            turn += 1

    tasks = [asyncio.create_task(work(worker, number)) for number, worker in enumerate(workers)]
    turns = 0
    while len(made) < 12 or turns < 4:
        turns += 1
        current = KeyFile(path).change(Secrets.rotated).current
        while await left(database, [PLACE], current):
            await rewrapped(database, path)
        KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
    over.set()
    await asyncio.gather(*tasks)
    assert await masters_in_use(database, [PLACE]) == {current: len(made)}
    assert await keys_of(database, path).for_reading(made) == made


async def test_a_key_made_while_a_whole_rotation_passes_is_not_lost(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is held up between wrapping and storing; meanwhile the master key it wrapped by is current no longer."""
    keys = keys_of(database, path)
    wrap = Wrapping.wrap_all
    held_up = False

    async def slowly(self: Wrapping, bound: Any) -> Any:
        nonlocal held_up
        done = await wrap(self, bound)
        if not held_up:
            held_up = True
            KeyFile(path).change(Secrets.rotated)
            await rewrapped(database, path)
            KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
        return done

    monkeypatch.setattr(Wrapping, "wrap_all", slowly)
    made = await keys.for_writing(OWNERS[:3])
    assert await keys_of(database, path).for_reading(made) == made


async def test_a_key_that_is_destroyed_meanwhile_does_not_come_back(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = await keys_of(database, path).for_writing([Owner(1, "delivery:d1")])
    KeyFile(path).change(Secrets.rotated)
    unwrap = Wrapping.unwrap_all

    async def purged_meanwhile(self: Wrapping, held: Any) -> Any:
        opened = await unwrap(self, held)
        await database[KEYS].delete_one({"_id": name})
        return opened

    monkeypatch.setattr(Wrapping, "unwrap_all", purged_meanwhile)
    assert await rewrapped(database, path) == 0
    assert await database[KEYS].count_documents({}) == 0


async def test_what_names_a_delivery_still_names_it(database: Database, path: Path) -> None:
    keys = keys_of(database, path)
    (name,) = await keys.for_writing([Owner(1, "delivery:d1")])
    KeyFile(path).change(Secrets.rotated)
    assert await rewrapped(database, path) == 1
    assert (await database[KEYS].find_one({"_id": name}) or {})["delivery"] == "d1"
    assert await keys.destroy("d1") == 1
    assert await keys.for_reading([name]) == {}


async def test_a_changed_key_stops_it_and_is_left_as_it_is(database: Database, path: Path) -> None:
    (name,) = await keys_of(database, path).for_writing(OWNERS[:1])
    await database[KEYS].update_one({"_id": name}, {"$set": {"sealed": bytes(44)}})
    KeyFile(path).change(Secrets.rotated)
    with pytest.raises(Unsealable):
        await rewrapped(database, path)
    assert (await database[KEYS].find_one({"_id": name}) or {})["sealed"] == bytes(44)


async def test_a_key_whose_master_key_is_not_held_is_passed_over(database: Database, path: Path) -> None:
    made = await keys_of(database, path).for_writing(OWNERS[:3])
    (lost, *_) = made
    await database[KEYS].update_one({"_id": lost}, {"$set": {"master": "lost"}})
    current = KeyFile(path).change(Secrets.rotated).current
    assert await rewrapped(database, path) == 2
    assert await masters_in_use(database, [PLACE]) == {current: 2, "lost": 1}
