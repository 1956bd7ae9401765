"""Messages: sent after they are durable, at least once, each once to whoever takes their id for what it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import LEASE, QUEUE, Message, Queue, Sending, StandIn, Unsent
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.instants import microseconds
from tests.live import Clock

Database = AsyncDatabase[dict[str, Any]]
pytestmark = pytest.mark.anyio
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


class Broken:
    """A transport that hands a message over and then dies, or cannot hand it over."""

    def __init__(self, to: StandIn, *, before: bool) -> None:
        self._to = to
        self._before = before

    async def send(self, message: Message) -> None:
        if not self._before:
            await self._to.send(message)
        raise Unsent("broken")


class World:
    def __init__(self, database: Database, folder: Path) -> None:
        box, self.clock = Box(Keyring.open(folder / "keyring.json")), Clock(NOW)
        self.database, self.committer = database, Committer(database.client, database)
        self.queue, self.stand_in = Queue(database, box), StandIn(database, box, self.clock)
        self.sending = Sending(self.queue, self.stand_in, self.clock)

    async def post(self, text: str, until: datetime | None = None) -> Unit:
        unit = Unit()
        ends = microseconds(until) if until else None
        self.queue.add(Message("sms", "13800000000", text, "p1", microseconds(NOW), ends), unit)
        return unit

    async def delivered(self) -> list[str]:
        return [each.text for each in await self.stand_in.delivered()]


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


async def test_nothing_is_sent_before_the_unit_is_stored(world: World) -> None:
    unit = await world.post("a")
    assert (await world.sending.once(), await world.delivered()) == (0, [])
    await world.committer.commit(unit)
    assert (await world.sending.once(), await world.delivered()) == (1, ["a"])
    assert await world.database[QUEUE].count_documents({}) == 0


@pytest.mark.parametrize("before", [True, False])
async def test_a_message_that_was_not_acknowledged_is_sent_again_as_the_same_one(world: World, *, before: bool) -> None:
    await world.committer.commit(await world.post("a"))
    broken = Sending(world.queue, Broken(world.stand_in, before=before), world.clock)
    with pytest.raises(Unsent):
        await broken.once()
    assert await world.sending.once() == 0  # it is the other's for a while
    world.clock.now = NOW + LEASE
    assert await world.sending.once() == 1
    assert await world.delivered() == ["a"]


async def test_several_processes_send_each_message_once(world: World) -> None:
    for number in range(12):
        await world.committer.commit(await world.post(str(number)))
    sent = await asyncio.gather(*(world.sending.once() for _ in range(4)))
    assert sum(sent) == 12
    assert sorted(await world.delivered()) == sorted(map(str, range(12)))


async def test_what_is_of_no_use_any_more_is_not_sent(world: World) -> None:
    await world.committer.commit(await world.post("code", NOW + timedelta(minutes=5)))
    world.clock.now = NOW + timedelta(minutes=5)
    assert (await world.sending.once(), await world.delivered()) == (0, [])
    assert await world.database[QUEUE].count_documents({}) == 0


async def test_the_stand_in_shows_messages_for_a_day(world: World) -> None:
    await world.committer.commit(await world.post("a"))
    await world.sending.once()
    world.clock.now = NOW + timedelta(hours=23)
    assert await world.delivered() == ["a"]
    world.clock.now = NOW + timedelta(hours=24)
    assert await world.delivered() == []
