"""Data keys: one for each person and origin, made when first needed, wrapped by the keyring's master key.

Destroying a wrapped key makes every copy of what it sealed unreadable, history and backups included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from fhir_server.crypto.sealing import Bound, Held, Unsealable, WrappedKey, Wrapping, new_key
from fhir_server.crypto.tokens import Tokens
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import DUPLICATE_KEY, DURABLE
from fhir_server.store.marks import PURPOSE, Marks

KEYS = "keys"
KNOWN_KEYS = 100_000
PAUSES = (0.0, 0.05, 0.2)  # seconds until a key that does not open is read again
# What the origin of records begins with that were received for a visit; no id of an Organization has a colon.
DELIVERY = "delivery:"
# The field in which such a record's key names its delivery.
DELIVERED = "delivery"


class Owner(NamedTuple):
    """Whose records a key seals: the person (key; None for records of nobody) and where they come from."""

    person: int | None
    origin: str

    @property
    def delivery(self) -> str | None:
        """The id of the delivery that the records came with, None if they are an institution's own."""
        return self.origin.removeprefix(DELIVERY) if self.origin.startswith(DELIVERY) else None


class Opened(NamedTuple):
    """An opened data key. passing: it is a delivery's, and will be destroyed: it is never kept in memory."""

    key: bytes
    passing: bool


class Unreadable(Exception):
    """A data key is gone: what it sealed was purged."""


class DataKeys:
    """The data keys of this installation, opened keys kept in memory.

    Those of deliveries are not kept: each use finds them in the store, so that no process opens anything by a key that was
    destroyed.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], wrapping: Wrapping, tokens: Tokens) -> None:
        self._collection = database.get_collection(KEYS, write_concern=DURABLE)
        self._wrapping = wrapping
        self._tokens = tokens
        self._opened: dict[int, bytes] = {}
        self._found: Coalesced[int, Opened] = Coalesced(self._fetch)
        self._made: Coalesced[Owner, Opened] = Coalesced(self._make)

    @cached_property
    def marks(self) -> Marks:
        """What marks the documents of what these keys seal."""
        return Marks(self._wrapping.derive(PURPOSE))

    def name(self, owner: Owner) -> int:
        """Return the id of an owner's data key."""
        return self._tokens(f"{'' if owner.person is None else owner.person}|{owner.origin}")

    async def for_writing(self, owners: Iterable[Owner]) -> Mapping[int, bytes]:
        """Return the data keys of these owners by id; those that do not exist are made and stored durably first."""
        owner_of = {self.name(owner): owner for owner in owners}
        found = {name: self._opened[name] for name in owner_of if name in self._opened}
        if missing := [owner for name, owner in owner_of.items() if name not in found]:
            made = await self._made.get_many(missing)
            found |= self._kept({self.name(owner): opened for owner, opened in made.items()})
        return found

    async def for_reading(self, names: Iterable[int]) -> Mapping[int, bytes]:
        """Return the data keys of these ids that exist."""
        wanted = set(names)
        found = {name: self._opened[name] for name in wanted if name in self._opened}
        if missing := wanted - found.keys():
            found |= self._kept(await self._found.get_many(missing))
        return found

    async def destroy(self, delivery: str, names: Iterable[int] = ()) -> int:
        """Destroy the wrapped keys of a delivery, whosever they are; return how many there were when that is durable.

        names: of those that are known, which need not say themselves that they are its.
        """
        found = {"$or": [{DELIVERED: delivery}, {"_id": {"$in": list(names)}}]}
        return (await self._collection.delete_many(found)).deleted_count

    def _kept(self, opened: Mapping[int, Opened]) -> dict[int, bytes]:
        """Return opened keys, and keep those that last."""
        self._keep({name: each.key for name, each in opened.items() if not each.passing})
        return {name: each.key for name, each in opened.items()}

    def _keep(self, opened: Mapping[int, bytes]) -> None:
        if len(self._opened) > KNOWN_KEYS:
            self._opened = dict(islice(self._opened.items(), KNOWN_KEYS // 2, None))
        self._opened.update(opened)

    async def _fetch(self, names: list[int]) -> dict[int, Opened]:
        for pause in PAUSES:
            try:
                return await self._read(names)
            except (
                Unsealable
            ):  # perhaps a rotation is passing: between reading and opening, or storing and looking again
                await asyncio.sleep(pause)
        return await self._read(names)

    async def _read(self, names: list[int]) -> dict[int, Opened]:
        documents = await self._collection.find({"_id": {"$in": names}}).to_list()
        keys = await self._wrapping.unwrap_all([Held(_wrapped(each), bound_to(each["_id"])) for each in documents])
        return {each["_id"]: Opened(key, DELIVERED in each) for each, key in zip(documents, keys, strict=True)}

    async def _make(self, owners: list[Owner]) -> dict[Owner, Opened]:
        names = {owner: self.name(owner) for owner in owners}
        found = await self._fetch(list(names.values()))
        if missing := [owner for owner, name in names.items() if name not in found]:
            found |= await self._stored({owner: new_key() for owner in missing})
        return {owner: found[name] for owner, name in names.items()}

    async def _stored(self, made: Mapping[Owner, bytes]) -> dict[int, Opened]:
        """Store new keys durably; of several workers that make the same key, the first wins for all: return the winners."""
        documents = await self._documents(made)
        lost: set[int] = set()
        try:
            await self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(each["code"] != DUPLICATE_KEY for each in failed):
                raise
            lost = {each["op"]["_id"] for each in failed}
        won = {owner: key for owner, key in made.items() if self.name(owner) not in lost}
        await self._kept_up(won, [each for each in documents if each["_id"] not in lost])
        opened = {self.name(owner): Opened(key, owner.delivery is not None) for owner, key in won.items()}
        return opened | await self._fetch(list(lost)) if lost else opened

    async def _kept_up(self, keys: Mapping[Owner, bytes], documents: list[dict[str, Any]]) -> None:
        """See that new keys, before anything is sealed under them, are not wrapped under a master key that is going.

        A rotation may have begun, and even ended, between wrapping and storing: it has not seen these keys.
        """
        if documents and await self._wrapping.latest() != documents[0]["master"]:
            again = await self._documents(keys)
            changes = [exchanged(old, _wrapped(new)) for old, new in zip(documents, again, strict=True)]
            await self._collection.bulk_write(changes, ordered=False)

    async def _documents(self, keys: Mapping[Owner, bytes]) -> list[dict[str, Any]]:
        bound = [Bound(key, bound_to(self.name(owner))) for owner, key in keys.items()]
        wrapped = await self._wrapping.wrap_all(bound)
        return [self._document(owner, each) for owner, each in zip(keys, wrapped, strict=True)]

    def _document(self, owner: Owner, wrapped: WrappedKey) -> dict[str, Any]:
        document = {"_id": self.name(owner), "master": wrapped.master, "sealed": wrapped.sealed}
        return document if owner.delivery is None else document | {DELIVERED: owner.delivery}


def bound_to(name: int) -> bytes:
    """Return the owner of a data key for its wrapping."""
    return b"%d" % name


def _wrapped(document: Mapping[str, Any]) -> WrappedKey:
    return WrappedKey(document["master"], document["sealed"])


def exchanged(document: Mapping[str, Any], wrapped: WrappedKey) -> UpdateOne:
    """Return what puts another wrapping of the same key in its place, unless the key was destroyed or exchanged since."""
    found_by = {each: document[each] for each in ("_id", "master", "sealed")}
    return UpdateOne(found_by, {"$set": {"master": wrapped.master, "sealed": wrapped.sealed}})
