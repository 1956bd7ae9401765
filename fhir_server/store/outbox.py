"""The outbox: what others must be told of, stored in the unit of what happened, and consumed in order, at least once.

Each entry of a person has the next number of that person, and is found by both: two units that would take the same number
conflict, so that the order of the entries is the order in which the units were stored. A consumer takes an entry for a
while; if it dies, another takes it again. The bodies are sealed under the data key of the person's records.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.sealing import seal, unseal
from fhir_server.fhir_json import dump, parse
from fhir_server.store.commit import DURABLE, Unit
from fhir_server.store.keys import DataKeys, Owner, Unreadable

OUTBOX = "outbox"
LEASE = timedelta(seconds=60)
LOOKED_AT = 200  # entries at once

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody must be told of.

    id: of the entry. number: which one of its person's. at: µs since 1970 UTC. body: None if its key was destroyed.
    """

    id: str
    number: int
    at: int
    kind: str
    body: Mapping[str, Any] | None


class Outbox:
    """The entries of all persons."""

    def __init__(self, database: AsyncDatabase[Document], keys: DataKeys) -> None:
        self._entries = database.get_collection(OUTBOX, write_concern=DURABLE)
        self._keys = keys

    async def ensure(self) -> None:
        """Make the indexes: of what waits, oldest first, and of each person's entries."""
        await self._entries.create_index([("done", ASCENDING), ("at", ASCENDING)], name="waiting")
        await self._entries.create_index([("person", ASCENDING), ("number", DESCENDING)], name="person", unique=True)

    async def add(self, kind: str, owner: Owner, body: Mapping[str, Any], unit: Unit, *, at: int) -> None:
        """Add an entry to the unit of what it tells of. owner: whose records it is about, and who keeps them."""
        last = await self._entries.find_one({"person": owner.person}, {"number": 1}, sort=[("number", DESCENDING)])
        number = last["number"] + 1 if last else 0
        id, name = f"{owner.person}/{number}", self._keys.name(owner)
        key = (await self._keys.for_writing([owner]))[name]
        entry = {"_id": id, "person": owner.person, "number": number, "at": at, "kind": kind, "k": name}
        entry |= {"body": seal(key, dump(body), _place(id, kind)), "done": None, "taken": None}
        unit.insert(OUTBOX, entry)

    async def take(self, consumer: str, *, kinds: Collection[str] = (), lease: timedelta = LEASE) -> Entry | None:
        """Return the oldest entry that waits and comes first of its person's, now this consumer's for a while.

        kinds: those that are consumed; none: all. None: nothing can be taken now.
        """
        now, passed = datetime.now(UTC), set[int]()
        wanted: Document = {"done": None, **({"kind": {"$in": sorted(kinds)}} if kinds else {})}
        async for each in (
            self._entries.find(wanted).sort([("at", ASCENDING), ("number", ASCENDING)]).batch_size(LOOKED_AT)
        ):
            if each["person"] in passed:
                continue
            passed.add(each["person"])
            first = await self._entries.find_one({**wanted, "person": each["person"]}, sort=[("number", ASCENDING)])
            if first and await self._taken(first["_id"], consumer, now, lease):
                return await self._opened(first)
        return None

    async def done(self, entry: Entry, consumer: str) -> bool:
        """Put away an entry that was delivered; return False if meanwhile it became another consumer's, or is put away."""
        mine = {"_id": entry.id, "done": None, "taken.by": consumer}
        put = {"$set": {"done": datetime.now(UTC), "taken": None}}
        return bool((await self._entries.update_one(mine, put)).matched_count)

    async def _taken(self, id: str, consumer: str, now: datetime, lease: timedelta) -> bool:
        free = {"_id": id, "done": None, "$or": [{"taken": None}, {"taken.until": {"$lte": now}}]}
        take = {"$set": {"taken": {"by": consumer, "until": now + lease}}}
        return bool((await self._entries.update_one(free, take)).matched_count)

    async def _opened(self, entry: Document) -> Entry:
        keys = await self._keys.for_reading([entry["k"]])
        try:
            body = self._body(entry, keys)
        except Unreadable:
            body = None
        return Entry(entry["_id"], entry["number"], entry["at"], entry["kind"], body)

    def _body(self, entry: Document, keys: Mapping[int, bytes]) -> Mapping[str, Any]:
        if entry["k"] not in keys:
            raise Unreadable("The data key of this entry was destroyed.")
        found: Mapping[str, Any] = parse(unseal(keys[entry["k"]], entry["body"], _place(entry["_id"], entry["kind"])))
        return found


def _place(id: str, kind: str) -> bytes:
    """Return what a body is bound to."""
    return f"outbox/{id}/{kind}".encode()
