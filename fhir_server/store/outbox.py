"""The outbox: what others must be told of, stored in the unit of what happened, and seen by each consumer once and in order.

A consumer is somebody outside who must know, such as one bridge; its workers are processes that do its work. Each consumer
is told of each entry by itself, at least once, and of each person's entries in the order in which they were stored:

    consumer = await outbox.register("province", since=at, kinds={"consent-active", "consent-revoked"})
    while entry := await outbox.take("province", worker):
        ...                                          # tell the platform: entry.id is the same if it comes again
        await outbox.done("province", entry, worker)     # or put_off(…, until=…), to try again later

Processes outside the server go by fhir_server/interactions/outbox.py, which does this for them and records it.

`register` is the stated point at which a consumer begins: it is told of what happened from `since` on and is still kept; to
register again changes nothing. An entry is gone when the last of those who are told of it is through, or after its
retention time (`purge`), whoever still waits for it. One that no consumer wants is kept for that time too, so that a bridge
that comes later can begin in the past.

The place of an entry (`place`) is its time, and behind that of every entry of its person that was stored when it was made
(Lamport 1978): so what follows from another entry comes after it, whatever the clocks say, and units of one person that
know nothing of each other need not wait for each other. To whom an entry goes (`to`) is written by the first who looks, in
a transaction that conflicts with every registration: so no consumer is forgotten by an entry that is stored while it
registers. The bodies are sealed under the data key of the person's records.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from fhir_server.crypto.sealing import seal, unseal
from fhir_server.fhir_json import dump, parse
from fhir_server.store.commit import DURABLE, Unit
from fhir_server.store.ids import new_id
from fhir_server.store.keys import DataKeys, Owner, Unreadable

OUTBOX = "outbox"
CONSUMERS = "outbox_consumers"
REGISTRY = {"_id": ""}  # the row that whoever registers or addresses changes; no consumer can have this name
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
LEASE = timedelta(seconds=60)
IN_ORDER = [("place", ASCENDING), ("_id", ASCENDING)]
LOOKED_AT = 200  # entries at once
# The indexes of when there was one consumer, by the numbers that each person's entries had.
FORMER = frozenset({"waiting", "person"})

Document = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody must be told of.

    id: of the entry. at: µs since 1970 UTC. body: None if its key was destroyed. person: key of whom it is about. tries: how
    often it was put off by whom it is told.
    """

    id: str
    at: int
    kind: str
    body: Mapping[str, Any] | None
    person: int | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who is told. since: of what happened from then on (µs since 1970 UTC). kinds: of which entries; none: of all."""

    name: str
    since: int
    kinds: frozenset[str] = frozenset()

    def wants(self, entry: Document) -> bool:
        return entry["at"] >= self.since and (not self.kinds or entry["kind"] in self.kinds)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a consumer. oldest: of when (µs since 1970 UTC); None: nothing waits."""

    consumer: Consumer
    entries: int
    oldest: int | None


class Outbox:
    """The entries of all persons, and who is told of them."""

    def __init__(self, database: AsyncDatabase[Document], keys: DataKeys) -> None:
        self._client = database.client
        self._entries = database.get_collection(OUTBOX, write_concern=DURABLE)
        self._consumers = database.get_collection(CONSUMERS, write_concern=DURABLE)
        self._keys = keys

    async def ensure(self) -> None:
        """Make the indexes: of what waits for each, oldest first; of each person's entries; of what is too old."""
        for former in FORMER & (await self._entries.index_information()).keys():
            await self._entries.drop_index(former)
        await self._entries.create_index([("to", ASCENDING), *IN_ORDER], name="addressed")
        await self._entries.create_index([("person", ASCENDING), *IN_ORDER], name="in_order")
        await self._entries.create_index([("at", ASCENDING)], name="at")
        await self._consumers.update_one(REGISTRY, {"$inc": {"n": 1}}, upsert=True)

    async def add(self, kind: str, owner: Owner, body: Mapping[str, Any], unit: Unit, *, at: int) -> None:
        """Add an entry to the unit of what it tells of. owner: whose records it is about, and who keeps them."""
        place = max(at, await self._last(owner.person, unit) + 1)
        id, name = new_id(), self._keys.name(owner)
        key = (await self._keys.for_writing([owner]))[name]
        entry = {"_id": id, "person": owner.person, "place": place, "at": at, "kind": kind, "k": name}
        unit.insert(OUTBOX, {**entry, "body": seal(key, dump(body), _bound(id, kind)), "to": None})

    async def register(self, name: str, *, since: int, kinds: Collection[str] = ()) -> Consumer:
        """Return the consumer of a name, made if there is none: told of what is kept since an instant, and of what follows.

        Raises ValueError for what is no name: small letters, digits and hyphens, a letter first.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a consumer: {NAME.pattern}")
        made = Consumer(name, since, frozenset(kinds))

        async def registered(session: AsyncClientSession) -> Consumer:
            await self._alone(session)
            if known := await self._consumers.find_one({"_id": name}, session=session):
                return _consumer(known)
            row = {"_id": name, "since": since, "kinds": sorted(made.kinds)}
            await self._consumers.insert_one(row, session=session)
            kept = {"to": {"$ne": None}, "at": {"$gte": since}, **({"kind": {"$in": row["kinds"]}} if kinds else {})}
            await self._entries.update_many(kept, {"$addToSet": {"to": name}}, session=session)
            return made

        return await self._in_one(registered)

    async def forget(self, name: str) -> bool:
        """Take a consumer out, and what waits for nobody else; return whether there was one."""

        async def forgotten(session: AsyncClientSession) -> bool:
            await self._alone(session)
            found = await self._consumers.delete_one({"_id": name}, session=session)
            await self._entries.delete_many({"to": [name]}, session=session)
            taken = {"$pull": {"to": name}, "$unset": {f"taken.{name}": ""}}
            await self._entries.update_many({"to": name}, taken, session=session)
            return bool(found.deleted_count)

        return await self._in_one(forgotten) if NAME.fullmatch(name) else False

    async def consumers(self) -> list[Waiting]:
        """Return who is told, and how much waits for each, by name."""
        await self._address()
        rows = await self._consumers.find({"_id": {"$ne": REGISTRY["_id"]}}).sort("_id", 1).to_list()
        return [await self._waiting(_consumer(row)) for row in rows]

    async def take(self, consumer: str, worker: str, *, lease: timedelta = LEASE) -> Entry | None:
        """Return the oldest entry that waits for a consumer and comes first of its person's, now this worker's for a while.

        None: nothing can be taken now. If the worker dies, another takes the entry again when the lease ends.
        """
        await self._address()
        now, passed = datetime.now(UTC), set[int]()
        waiting = self._entries.find({"to": consumer}, {"person": 1}).sort(IN_ORDER)
        async for each in waiting.batch_size(LOOKED_AT):
            if each["person"] in passed:
                continue
            passed.add(each["person"])
            # One that nobody has addressed yet may be this consumer's too, and comes before those that follow it.
            theirs = {"person": each["person"], "$or": [{"to": consumer}, {"to": None}]}
            first = await self._entries.find_one(theirs, sort=IN_ORDER)
            if first and first["to"] and await self._taken(first["_id"], consumer, worker, now, lease):
                return await self._opened(first, first.get("taken", {}).get(consumer, {}).get("tries", 0))
        return None

    async def done(self, consumer: str, entry: Entry, worker: str) -> bool:
        """Note that a consumer is through with an entry; return False if meanwhile it became another worker's, or is done."""
        mine = {"_id": entry.id, f"taken.{consumer}.by": worker}
        if (await self._entries.delete_one({**mine, "to": [consumer]})).deleted_count:
            return True
        through = {"$pull": {"to": consumer}, "$unset": {f"taken.{consumer}": ""}}
        found = await self._entries.update_one({**mine, "to": consumer}, through)
        await self._entries.delete_one({"_id": entry.id, "to": []})
        return bool(found.matched_count)

    async def put_off(self, consumer: str, entry: Entry, worker: str, *, until: datetime) -> bool:
        """Let nobody take an entry again before an instant, nor what follows it of its person; return as done does."""
        mine = {"_id": entry.id, "to": consumer, f"taken.{consumer}.by": worker}
        held = f"taken.{consumer}"
        later = {"$set": {f"{held}.by": None, f"{held}.until": until}, "$inc": {f"{held}.tries": 1}}
        return bool((await self._entries.update_one(mine, later)).matched_count)

    async def purge(self, before: int) -> int:
        """Remove the entries of before an instant (µs since 1970 UTC), whoever waits for them; return how many."""
        return (await self._entries.delete_many({"at": {"$lt": before}})).deleted_count

    async def _last(self, person: int | None, unit: Unit) -> int:
        """Return the place of a person's last entry, those of the unit included."""
        here = [int(each["place"]) for each in unit.inserts.get(OUTBOX, ()) if each["person"] == person]
        last = await self._entries.find_one({"person": person}, {"place": 1}, sort=[("place", DESCENDING)])
        return max([0, *here, *([int(last.get("place", 0))] if last else [])])

    async def _address(self) -> None:
        """Write into the entries that have come to whom they go."""

        async def addressed(session: AsyncClientSession) -> bool:
            await self._alone(session)
            rows = await self._consumers.find({"_id": {"$ne": REGISTRY["_id"]}}, session=session).to_list()
            told = [_consumer(row) for row in rows]
            shown = {"at": 1, "kind": 1}
            new = await self._entries.find({"to": None}, shown, session=session).limit(LOOKED_AT).to_list()
            to = {each["_id"]: [one.name for one in told if one.wants(each)] for each in new}
            written = [UpdateOne({"_id": id}, {"$set": {"to": names}}) for id, names in to.items()]
            if written:
                await self._entries.bulk_write(written, ordered=False, session=session)
            return len(new) == LOOKED_AT

        while await self._entries.find_one({"to": None}, {"_id": 1}):
            if not await self._in_one(addressed):
                return

    async def _alone(self, session: AsyncClientSession) -> None:
        """Make a transaction conflict with all others that register or address."""
        await self._consumers.update_one(REGISTRY, {"$inc": {"n": 1}}, session=session)

    async def _in_one(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """Return what work returns in one transaction, begun again if another one came first."""
        async with self._client.start_session() as session:
            return await session.with_transaction(work, ReadConcern("snapshot"), DURABLE)

    async def _waiting(self, consumer: Consumer) -> Waiting:
        theirs = {"to": consumer.name}
        oldest = await self._entries.find_one(theirs, {"at": 1}, sort=[("at", ASCENDING)])
        return Waiting(consumer, await self._entries.count_documents(theirs), oldest["at"] if oldest else None)

    async def _taken(self, id: str, consumer: str, worker: str, now: datetime, lease: timedelta) -> bool:
        held = f"taken.{consumer}"
        free = {"_id": id, "to": consumer, "$or": [{held: None}, {f"{held}.until": {"$lte": now}}]}
        take = {"$set": {f"{held}.by": worker, f"{held}.until": now + lease}}
        return bool((await self._entries.update_one(free, take)).matched_count)

    async def _opened(self, entry: Document, tries: int) -> Entry:
        keys = await self._keys.for_reading([entry["k"]])
        try:
            body = self._body(entry, keys)
        except Unreadable:
            body = None
        return Entry(entry["_id"], entry["at"], entry["kind"], body, entry["person"], tries)

    def _body(self, entry: Document, keys: Mapping[int, bytes]) -> Mapping[str, Any]:
        if entry["k"] not in keys:
            raise Unreadable("The data key of this entry was destroyed.")
        found: Mapping[str, Any] = parse(unseal(keys[entry["k"]], entry["body"], _bound(entry["_id"], entry["kind"])))
        return found


def _consumer(row: Document) -> Consumer:
    return Consumer(row["_id"], row["since"], frozenset(row["kinds"]))


def _bound(id: str, kind: str) -> bytes:
    """Return what a body is bound to."""
    return f"outbox/{id}/{kind}".encode()
