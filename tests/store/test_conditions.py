"""Rows of conditions: of two units that found the same nothing, one fails; what the condition says is not stored."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.errors import Conflict
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.conditions import CONDITIONS, KEPT_SECONDS, Conditions, Guard

Database = AsyncDatabase[dict[str, Any]]
pytestmark = pytest.mark.anyio
TEXT = "org1|Patient?identifier=secret"


def conditions(database: Database) -> Conditions:
    """Return the conditions as one more worker process has them."""
    return Conditions(database, Tokens(bytes(32)).of("condition"))


async def holding(database: Database, guard: Guard) -> None:
    unit = Unit()
    guard.hold(unit)
    await Committer(database.client, database).commit(unit)


async def test_of_two_that_read_a_row_before_either_wrote_one_fails(database: Database) -> None:
    for _ in range(3):  # the first time there is no row yet
        one = (await conditions(database).guards([TEXT]))[TEXT]
        other = (await conditions(database).guards([TEXT]))[TEXT]
        await holding(database, one)
        with pytest.raises(Conflict):
            await holding(database, other)


async def test_conditions_that_differ_do_not_meet(database: Database) -> None:
    guards = await conditions(database).guards([TEXT, TEXT.replace("org1", "org2"), TEXT + "2"])
    assert len({guard.key for guard in guards.values()}) == 3
    for guard in guards.values():
        await holding(database, guard)


async def test_a_row_says_nothing_and_does_not_stay(database: Database) -> None:
    await holding(database, (await conditions(database).guards([TEXT]))[TEXT])
    (row,) = await database[CONDITIONS].find().to_list()
    assert set(row) == {"_id", "n", "at"}
    assert not any("secret" in str(value) for value in row.values())
    indexes = await database[CONDITIONS].index_information()
    assert [each["expireAfterSeconds"] for each in indexes.values() if "expireAfterSeconds" in each] == [KEPT_SECONDS]


async def test_a_row_that_is_gone_by_then_fails_the_unit(database: Database) -> None:
    await holding(database, (await conditions(database).guards([TEXT]))[TEXT])
    guard = (await conditions(database).guards([TEXT]))[TEXT]
    await database[CONDITIONS].delete_many({})
    with pytest.raises(Conflict):
        await holding(database, guard)


async def test_nothing_is_read_for_no_condition(database: Database) -> None:
    assert await conditions(database).guards([]) == {}
    assert CONDITIONS not in await database.list_collection_names()
