"""Group commit: units stored together, each all or nothing, a conflict its own alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.errors import Conflict
from fhir_server.store.commit import MOST_OPERATIONS, Committer, Unit

Database = AsyncDatabase[dict[str, Any]]
pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database: Database) -> Database:
    for name in "abcn":
        await database.create_collection(name)
    return database


@pytest.fixture
def committer(database: Database) -> Committer:
    return Committer(database.client, database)


def inserting(*ids: str, collection: str = "a", also: str = "b") -> Unit:
    unit = Unit()
    for id in ids:
        unit.insert(collection, {"_id": id, "v": 1})
        unit.insert(also, {"_id": id})
    return unit


async def stored(database: Database, collection: str) -> list[str]:
    return sorted([each["_id"] async for each in database[collection].find()])


async def test_units_that_wait_together_are_all_stored(database: Database, committer: Committer) -> None:
    await asyncio.gather(*(committer.commit(inserting(f"{n}")) for n in range(50)))
    assert len(await stored(database, "a")) == len(await stored(database, "b")) == 50


async def test_of_units_together_the_conflicting_one_alone_fails_and_leaves_nothing(
    database: Database, committer: Committer
) -> None:
    await committer.commit(inserting("taken", also="c"))
    bad = inserting("new", "taken")
    found = await asyncio.gather(
        committer.commit(inserting("1")),
        committer.commit(bad),
        committer.commit(inserting("2")),
        return_exceptions=True,
    )
    assert [type(each) for each in found] == [type(None), Conflict, type(None)]
    assert await stored(database, "a") == ["1", "2", "taken"]
    assert await stored(database, "b") == ["1", "2"]


async def test_a_change_must_find_what_it_changes(database: Database, committer: Committer) -> None:
    await committer.commit(inserting("x"))
    stale = inserting("y")
    stale.replace("a", {"_id": "x", "v": 7}, {"_id": "x", "v": 8})
    gone = inserting("z")
    gone.delete("a", {"_id": "x", "v": 7})
    found = await asyncio.gather(committer.commit(stale), committer.commit(gone), return_exceptions=True)
    assert [type(each) for each in found] == [Conflict, Conflict]
    assert await stored(database, "a") == ["x"]


async def test_of_many_replacements_of_one_version_one_is_stored(database: Database, committer: Committer) -> None:
    await committer.commit(inserting("x"))

    async def replace(number: int) -> bool:
        unit = inserting(f"of-{number}", collection="c")
        unit.replace("a", {"_id": "x", "v": 1}, {"_id": "x", "v": 2, "by": number})
        try:
            await committer.commit(unit)
        except Conflict:
            return False
        return True

    won = [n for n, done in enumerate(await asyncio.gather(*map(replace, range(20)))) if done]
    document = await database["a"].find_one({"_id": "x"})
    assert document == {"_id": "x", "v": 2, "by": won[0]}
    assert len(won) == 1
    assert await stored(database, "c") == [f"of-{won[0]}"]


async def test_single_inserts_fail_each_for_itself(database: Database, committer: Committer) -> None:
    async def insert(id: str) -> bool:
        unit = Unit()
        unit.insert("a", {"_id": id})
        try:
            await committer.commit(unit)
        except Conflict:
            return False
        return True

    done = await asyncio.gather(*map(insert, ["1", "2", "1", "3"]))
    assert (done[1], done[3], sorted([done[0], done[2]])) == (True, True, [False, True])
    assert await stored(database, "a") == ["1", "2", "3"]


async def test_touches_count_up_in_the_same_transaction(database: Database, committer: Committer) -> None:
    def counting(*ids: str) -> Unit:
        unit = inserting(*ids)
        unit.touch("n", {"_id": "count"}, {"$inc": {"n": 1}})
        return unit

    await committer.commit(counting("taken"))
    tries = [committer.commit(counting(f"{n}")) for n in range(20)] + [committer.commit(counting("new", "taken"))]
    await asyncio.gather(*tries, return_exceptions=True)
    assert await database["n"].find_one({"_id": "count"}) == {"_id": "count", "n": 21}


async def test_one_who_leaves_takes_back_nothing(database: Database, committer: Committer) -> None:
    leaving = asyncio.ensure_future(committer.commit(inserting("1")))
    await asyncio.sleep(0)
    leaving.cancel()
    await committer.commit(inserting("2"))
    assert await stored(database, "a") == ["1", "2"]


async def test_a_unit_larger_than_a_round_is_stored_as_a_whole(database: Database, committer: Committer) -> None:
    large = inserting(*map(str, range(MOST_OPERATIONS)))
    await asyncio.gather(committer.commit(large), committer.commit(inserting("other")))
    assert len(await stored(database, "a")) == MOST_OPERATIONS + 1


async def test_events_of_one_request_fail_together_though_some_are_stored(
    database: Database, committer: Committer
) -> None:
    """What is told of is not disclosed then; nothing else is stored without its unit."""
    await database.create_collection("AuditEvent")
    await committer.commit(inserting("taken", collection="AuditEvent", also="b"))
    bad = Unit()
    for id in ("of us", "taken"):
        bad.insert("AuditEvent", {"_id": id})
    good = Unit()
    for id in ("of them", "of others"):
        good.insert("AuditEvent", {"_id": id})
    found = await asyncio.gather(committer.commit(good), committer.commit(bad), return_exceptions=True)
    assert [type(each) for each in found] == [type(None), Conflict]
    assert await stored(database, "AuditEvent") == ["of others", "of them", "of us", "taken"]
    two = Unit()
    for id in ("1", "taken"):
        two.insert("b", {"_id": id})
    with pytest.raises(Conflict):
        await committer.commit(two)
    assert await stored(database, "b") == ["taken"]
