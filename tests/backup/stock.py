"""A database with an invariant that any two halves of different instants would break."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bson import encode
from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Wrapping, new_key
from fhir_server.store.commit import DURABLE
from fhir_server.store.installation import claim
from fhir_server.store.keys import DELIVERED, KEYS, bound_to

Client = AsyncMongoClient[dict[str, Any]]
Database = AsyncDatabase[dict[str, Any]]
PAIRS = 40


async def stocked(database: Database, keyring: Keyring, *, size: int = 300) -> None:
    """Fill a database: two collections with the same counters, documents under ids of several types, wrapped keys."""
    await claim(database, keyring=keyring.fingerprint, zone="UTC")
    await database["Left"].insert_many([{"_id": f"p{n}", "n": 0} for n in range(PAIRS)])
    await database["Right"].insert_many([{"_id": n, "n": 0} for n in range(PAIRS)])
    mixed = [n if n % 3 else f"{n}" if n % 2 else {"a": n} for n in range(size)]
    await database["Mixed"].insert_many([{"_id": id, "body": os.urandom(200)} for id in mixed])
    await database["Mixed"].create_index([("body", ASCENDING)], name="body", unique=True)
    await database["Left"].create_index([("n", ASCENDING)], name="n", partialFilterExpression={"n": {"$gt": 5}})
    await database["Right"].create_index([("until", ASCENDING)], name="until", expireAfterSeconds=60)
    await database[KEYS].insert_many([wrapped(keyring, name) for name in range(20)])


def wrapped(keyring: Keyring, name: int, delivery: str | None = None) -> dict[str, Any]:
    """Return the document of a new data key."""
    made = Wrapping(keyring).wrap(new_key(), bound_to(name))
    document = {"_id": name, "master": made.master, "sealed": made.sealed}
    return document if delivery is None else document | {DELIVERED: delivery}


async def write(client: Client, database: Database, turn: int) -> None:
    """Change several collections in one transaction: each counter counts the turns on both sides."""
    async with client.start_session() as session, await session.start_transaction(ReadConcern("snapshot"), DURABLE):
        pair = turn % PAIRS
        await database["Left"].update_one({"_id": f"p{pair}"}, {"$inc": {"n": 1}}, session=session)
        await database["Right"].update_one({"_id": pair}, {"$inc": {"n": 1}}, session=session)
        await database["Left"].insert_one({"_id": f"new {turn}"}, session=session)
        await database["Fresh"].insert_one({"_id": turn}, session=session)
        if turn % 3 == 0 and turn >= 30:
            await database["Left"].delete_one({"_id": f"new {turn - 30}"}, session=session)
            await database["Fresh"].delete_one({"_id": turn - 30}, session=session)


class Turns:
    """How many turns are durable."""

    def __init__(self) -> None:
        self._count = 0
        self._counted = asyncio.Condition()

    async def add(self) -> None:
        async with self._counted:
            self._count += 1
            self._counted.notify_all()

    async def reach(self, count: int) -> None:
        """Wait until there are so many."""
        async with self._counted:
            await self._counted.wait_for(lambda: self._count >= count)

    def __len__(self) -> int:
        return self._count


@asynccontextmanager
async def writing(client: Client, database: Database) -> AsyncIterator[Turns]:
    """Write, turn after turn, as long as this lasts; yield the turns that are durable so far."""
    done = Turns()

    async def forever() -> None:
        while True:
            await write(client, database, len(done))
            await done.add()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(forever())
    try:
        yield done
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def turns(database: Database) -> int:
    """Return how many turns the database holds; it holds each of them as a whole, and none after one that is missing."""
    left = {each["_id"]: each async for each in database["Left"].find()}
    right = {each["_id"]: each async for each in database["Right"].find()}
    fresh = {each["_id"] async for each in database["Fresh"].find()}
    counts = [left[f"p{n}"]["n"] for n in range(PAIRS)]
    assert counts == [right[n]["n"] for n in range(PAIRS)]
    total = sum(counts)
    assert counts == [total // PAIRS + (n < total % PAIRS) for n in range(PAIRS)]
    expected = {n for n in range(total)} - {n - 30 for n in range(30, total) if n % 3 == 0}
    assert fresh == expected
    assert {id for id in left if id.startswith("new")} == {f"new {n}" for n in expected}
    return total


async def content(database: Database) -> dict[str, set[bytes]]:
    """Return every document of every collection, but those that say which backups are known."""
    names = await database.list_collection_names()
    return {
        name: {encode(each) async for each in database[name].find()}
        for name in names
        if name not in ("backups", "system.views")
    }


async def indexes(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return the indexes of every collection."""
    found = {}
    for name in await database.list_collection_names():
        if name != "backups":
            found[name] = sorted(
                [dict(each) async for each in await database[name].list_indexes()], key=lambda i: i["name"]
            )
    return found
