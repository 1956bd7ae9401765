"""Data keys: one for each person and origin, the same for all workers, gone for good once destroyed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, Wrapping
from fhir_server.crypto.tokens import Tokens
from fhir_server.store.keys import KEYS, DataKeys, Owner

Database = AsyncDatabase[dict[str, Any]]
OWNERS = [Owner(1, "org1"), Owner(1, "org2"), Owner(2, "org1"), Owner(None, "org1")]
pytestmark = pytest.mark.anyio


def keys_of(database: Database, keyring: Keyring) -> DataKeys:
    return DataKeys(database, Wrapping(keyring), Tokens(keyring.index_key).of("data-key"))


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.open(tmp_path / "keyring.json")


async def test_each_person_and_origin_has_a_key_of_its_own(database: Database, keyring: Keyring) -> None:
    keys = keys_of(database, keyring)
    made = await keys.for_writing(OWNERS)
    assert len(set(made)) == len(set(made.values())) == len(OWNERS)
    assert await keys.for_writing(reversed(OWNERS)) == made
    assert await keys.for_reading([*made, 7]) == made


async def test_workers_that_make_a_key_at_the_same_time_make_one(database: Database, keyring: Keyring) -> None:
    workers = [keys_of(database, keyring) for _ in range(8)]
    made = await asyncio.gather(*(worker.for_writing(OWNERS) for worker in workers))
    assert all(each == made[0] for each in made)
    assert await database[KEYS].count_documents({}) == len(OWNERS)


async def test_the_store_holds_no_key_in_the_plain(database: Database, keyring: Keyring) -> None:
    made = await keys_of(database, keyring).for_writing(OWNERS)
    documents = await database[KEYS].find().to_list()
    assert len(documents) == len(OWNERS)
    for document in documents:
        assert made[document["_id"]] not in document["sealed"]


async def test_a_key_stands_in_for_no_other(database: Database, keyring: Keyring) -> None:
    one, other = list(await keys_of(database, keyring).for_writing(OWNERS[:2]))
    stolen = await database[KEYS].find_one({"_id": other}) or {}
    await database[KEYS].update_one({"_id": one}, {"$set": {"sealed": stolen["sealed"]}})
    with pytest.raises(Unsealable):
        await keys_of(database, keyring).for_reading([one])


async def test_a_destroyed_key_is_no_longer_found(database: Database, keyring: Keyring) -> None:
    (name,) = await keys_of(database, keyring).for_writing(OWNERS[:1])
    await database[KEYS].delete_one({"_id": name})
    assert await keys_of(database, keyring).for_reading([name]) == {}
