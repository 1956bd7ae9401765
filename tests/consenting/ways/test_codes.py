"""Codes: how long they are good, how often they can be tried, and that many at once are not more than five."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.asked import NotVerified, Request
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.codes import MOST_AN_HOUR, TRIES, Codes, Holder, TooManyCodes
from fhir_server.crypto.keyring import Keyring
from fhir_server.errors import Conflict
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.instants import microseconds
from tests.consenting.ways.reading import wrong

Database = AsyncDatabase[dict[str, Any]]
pytestmark = pytest.mark.anyio
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOLDER = Holder("Patient/p1", own=True)
ASKED = Request(
    "c1", "p1", "org1", "Practitioner/dr1", "TREAT", ("Observation",), None, None, NOW + timedelta(days=30), "sms"
)


class World:
    """The codes of two processes on one store."""

    def __init__(self, database: Database, folder: Path) -> None:
        box = Box(Keyring.open(folder / "keyring.json"))
        self.committer = Committer(database.client, database)
        self.codes, self.others = Codes(database, box), Codes(database, box)

    async def issue(self, request: Request = ASKED, at: datetime = NOW) -> str:
        unit = Unit()
        code = await self.codes.issue(request, HOLDER, unit, at=microseconds(at))
        await self.committer.commit(unit)
        return code

    async def take(self, code: str, request: Request = ASKED, at: datetime = NOW) -> Holder:
        unit = Unit()
        holder = await self.others.take(request, code, unit, at=microseconds(at))
        await self.committer.commit(unit)
        return holder


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


async def test_a_code_has_six_digits_and_says_whose_it_is_once(world: World) -> None:
    code = await world.issue()
    assert (len(code), code.isdecimal()) == (6, True)
    assert await world.take(code) == HOLDER
    with pytest.raises(NotVerified):
        await world.take(code)


async def test_it_is_good_for_five_minutes(world: World) -> None:
    code = await world.issue()
    with pytest.raises(NotVerified, match="已失效"):
        await world.take(code, at=NOW + timedelta(minutes=5))
    assert await world.take(code, at=NOW + timedelta(minutes=5, microseconds=-1_000)) == HOLDER


async def test_of_many_tries_at_once_no_more_than_five_are_compared(world: World) -> None:
    code = await world.issue()
    tries = await asyncio.gather(*(world.take(wrong(code)) for _ in range(40)), return_exceptions=True)
    left = [each.left for each in tries if isinstance(each, NotVerified) and "不正确" in each.reason]
    assert sorted(left) == list(range(TRIES))
    with pytest.raises(NotVerified):
        await world.take(code)


async def test_of_many_that_come_with_the_right_code_at_once_one_is_taken(world: World) -> None:
    code = await world.issue()
    tries = await asyncio.gather(*(world.take(code) for _ in range(TRIES)), return_exceptions=True)
    assert [each for each in tries if isinstance(each, Holder)] == [HOLDER]
    assert all(isinstance(each, Holder | Conflict | NotVerified) for each in tries)


async def test_only_the_newest_code_for_the_same_counts(world: World) -> None:
    first = await world.issue()
    newest = await world.issue(replace(ASKED, consent="c2"))
    if first != newest:
        with pytest.raises(NotVerified):
            await world.take(first)
    assert await world.take(newest, replace(ASKED, consent="c2")) == HOLDER


OTHERS = [
    {"consent": "c2"},
    {"patient": "p2"},
    {"organization": "org2"},
    {"user": "Practitioner/dr2"},
    {"client": "booking"},
    {"purpose": "HRESCH"},
    {"types": ()},
    {"since": date(2020, 1, 1)},
    {"until": date(2020, 1, 1)},
    {"expires": NOW + timedelta(days=31)},
    {"way": "guardian"},
]


@pytest.mark.parametrize("other", OTHERS)
async def test_it_proves_nothing_else_than_what_was_asked(world: World, other: dict[str, Any]) -> None:
    code = await world.issue()
    with pytest.raises(NotVerified):
        await world.take(code, replace(ASKED, **other))
    assert await world.take(code) == HOLDER


async def test_no_patient_is_sent_codes_without_end(world: World) -> None:
    for _ in range(MOST_AN_HOUR):
        await world.issue()
    with pytest.raises(TooManyCodes):
        await world.issue()
    with pytest.raises(TooManyCodes):  # whatever is asked
        await world.issue(replace(ASKED, types=(), user="Practitioner/dr2"), NOW + timedelta(minutes=59))
    await world.issue(replace(ASKED, organization="org2"))
    await world.issue(replace(ASKED, patient="p2"))
    await world.issue(at=NOW + timedelta(hours=1))
