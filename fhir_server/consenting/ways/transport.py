"""Messages to patients: queued in the unit of what they tell of, and sent after it is durable, at least once.

A row of the queue is taken for a while, sent, and deleted; if the process dies in between, another sends it again under the
same id. A message that says something for some minutes only, such as a code, is dropped once they are over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from fhir_server.consenting.ways.box import Box
from fhir_server.crypto.sealing import Unsealable
from fhir_server.store.commit import DURABLE, Unit
from fhir_server.store.ids import new_id
from fhir_server.store.instants import moment

QUEUE = "message_queue"
MESSAGES = "messages"
LEASE = timedelta(seconds=30)
LOOKED_AFTER_SECONDS = 0.5
SHOWN_FOR = timedelta(days=1)
MOST_SHOWN = 200

Database = AsyncDatabase[dict[str, Any]]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    channel: "sms", "message" (a third party's) or "app". to: telephone number, handle at the third party, or "Patient/…".
    patient: id of whom it is about. at, until: µs since 1970 UTC; until when it is of use, None for always.
    """

    channel: str
    to: str = field(repr=False)
    text: str = field(repr=False)
    patient: str
    at: int
    until: int | None = None
    id: str = field(default_factory=new_id)


class Unsent(Exception):
    """The message could not be handed over; it is tried again. It says why, without the message."""


class Transport(Protocol):
    """Hands messages to whoever brings them to people."""

    async def send(self, message: Message) -> None:
        """Hand a message over; what has the id of one that was handed over before is the same one. Raises Unsent."""
        ...


class StandIn:
    """A transport for trials: messages go to a collection, and from there to a page for operators, for a day."""

    def __init__(self, database: Database, box: Box, clock: Callable[[], datetime]) -> None:
        self._rows = database.get_collection(MESSAGES, write_concern=DURABLE)
        self._box = box
        self._clock = clock

    async def send(self, message: Message) -> None:
        body = self._box.sealed(f"message|{message.id}", asdict(message))
        row = {"at": self._clock(), "kept": datetime.now(UTC), "body": body}
        await self._rows.update_one({"_id": message.id}, {"$setOnInsert": row}, upsert=True)

    async def delivered(self) -> list[Message]:
        """Return the messages of the last day, newest first."""
        lately = {"at": {"$gt": self._clock() - SHOWN_FOR}}
        rows = await self._rows.find(lately).sort([("at", -1), ("_id", -1)]).limit(MOST_SHOWN).to_list()
        return [Message(**self._box.opened(f"message|{each['_id']}", each["body"])) for each in rows]


class Queue:
    """The messages that wait to be sent."""

    def __init__(self, database: Database, box: Box) -> None:
        self._rows = database.get_collection(QUEUE, write_concern=DURABLE)
        self._box = box

    def add(self, message: Message, unit: Unit) -> None:
        """Add to a unit that a message is sent once the unit is stored."""
        body = self._box.sealed(_place(message.id), asdict(message))
        unit.insert(QUEUE, {"_id": message.id, "due": moment(message.at), "body": body})

    async def take(self, now: datetime) -> Message | None:
        """Return the message that waits longest, nobody else's for a while; None if none waits."""
        taken = {"$set": {"due": now + LEASE}}
        row = await self._rows.find_one_and_update({"due": {"$lte": now}}, taken, sort=[("due", ASCENDING)])
        return Message(**self._box.opened(_place(row["_id"]), row["body"])) if row else None

    async def done(self, message: Message) -> None:
        """Forget a message that was handed over, or is of no use any more."""
        await self._rows.delete_one({"_id": message.id})


class Sending:
    """Sends what waits, as long as the process lives."""

    def __init__(self, queue: Queue, transport: Transport, clock: Callable[[], datetime]) -> None:
        self._queue = queue
        self._transport = transport
        self._clock = clock

    async def forever(self) -> None:
        """Send whatever waits, now and from now on."""
        while True:
            try:
                await self.once()
            except (PyMongoError, Unsent, Unsealable) as error:  # what was taken is tried again when its time is over
                log.warning("sending messages stopped: %s", type(error).__name__)
            await asyncio.sleep(LOOKED_AFTER_SECONDS)

    async def once(self) -> int:
        """Send what waits now; return how many messages were handed over."""
        sent = 0
        while (message := await self._queue.take(self._clock())) is not None:
            if message.until is None or moment(message.until) > self._clock():
                await self._transport.send(message)
                sent += 1
            await self._queue.done(message)
        return sent


async def ensure(database: Database) -> None:
    """Make the indexes of what waits, and of what was delivered, which MongoDB drops after a day."""
    await database[QUEUE].create_indexes([IndexModel([("due", ASCENDING)], name="due")])
    dropped = IndexModel([("kept", ASCENDING)], name="kept", expireAfterSeconds=int(SHOWN_FOR.total_seconds()))
    await database[MESSAGES].create_indexes([dropped, IndexModel([("at", ASCENDING)], name="at")])


def _place(id: str) -> str:
    return f"queued|{id}"
