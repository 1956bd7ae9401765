"""Data keys: one for each person and origin, made when first needed, wrapped by the keyring's master key.

Destroying a wrapped key makes every copy of what it sealed unreadable, history and backups included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from fhir_server.crypto.sealing import WrappedKey, Wrapping, new_key
from fhir_server.crypto.tokens import Tokens
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import DUPLICATE_KEY, DURABLE

KEYS = "keys"
KNOWN_KEYS = 100_000


class Owner(NamedTuple):
    """Whose records a key seals: the person (key; None for records of nobody) and where they come from."""

    person: int | None
    origin: str


class Unreadable(Exception):
    """A data key is gone: what it sealed was purged."""


class DataKeys:
    """The data keys of this installation, opened keys kept in memory."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], wrapping: Wrapping, tokens: Tokens) -> None:
        self._collection = database.get_collection(KEYS, write_concern=DURABLE)
        self._wrapping = wrapping
        self._tokens = tokens
        self._opened: dict[int, bytes] = {}
        self._found: Coalesced[int, bytes] = Coalesced(self._fetch)
        self._made: Coalesced[Owner, bytes] = Coalesced(self._make)

    def name(self, owner: Owner) -> int:
        """Return the id of an owner's data key."""
        return self._tokens(f"{'' if owner.person is None else owner.person}|{owner.origin}")

    async def for_writing(self, owners: Iterable[Owner]) -> Mapping[int, bytes]:
        """Return the data keys of these owners by id; those that do not exist are made and stored durably first."""
        owner_of = {self.name(owner): owner for owner in owners}
        missing = [owner for name, owner in owner_of.items() if name not in self._opened]
        if missing:
            self._keep({self.name(owner): key for owner, key in (await self._made.get_many(missing)).items()})
        return {name: self._opened[name] for name in owner_of}

    async def for_reading(self, names: Iterable[int]) -> Mapping[int, bytes]:
        """Return the data keys of these ids that exist."""
        wanted = set(names)
        missing = [name for name in wanted if name not in self._opened]
        if missing:
            self._keep(await self._found.get_many(missing))
        return {name: self._opened[name] for name in wanted if name in self._opened}

    def _keep(self, opened: Mapping[int, bytes]) -> None:
        if len(self._opened) > KNOWN_KEYS:
            self._opened = dict(islice(self._opened.items(), KNOWN_KEYS // 2, None))
        self._opened.update(opened)

    async def _fetch(self, names: list[int]) -> dict[int, bytes]:
        documents = await self._collection.find({"_id": {"$in": names}}).to_list()
        return {each["_id"]: self._wrapping.unwrap(_wrapped(each), _bound_to(each["_id"])) for each in documents}

    async def _make(self, owners: list[Owner]) -> dict[Owner, bytes]:
        names = {owner: self.name(owner) for owner in owners}
        found = await self._fetch(list(names.values()))
        if missing := [name for name in names.values() if name not in found]:
            found |= await self._stored({name: new_key() for name in missing})
        return {owner: found[name] for owner, name in names.items()}

    async def _stored(self, made: dict[int, bytes]) -> dict[int, bytes]:
        """Store new keys durably; of several workers that make the same key, the first wins for all: return the winners."""
        try:
            await self._collection.insert_many([self._document(name, key) for name, key in made.items()], ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(each["code"] != DUPLICATE_KEY for each in failed):
                raise
            lost = {each["op"]["_id"] for each in failed}
            return {name: key for name, key in made.items() if name not in lost} | await self._fetch(list(lost))
        return made

    def _document(self, name: int, key: bytes) -> dict[str, Any]:
        wrapped = self._wrapping.wrap(key, _bound_to(name))
        return {"_id": name, "master": wrapped.master, "sealed": wrapped.sealed}


def _bound_to(name: int) -> bytes:
    return b"%d" % name


def _wrapped(document: Mapping[str, Any]) -> WrappedKey:
    return WrappedKey(document["master"], document["sealed"])
