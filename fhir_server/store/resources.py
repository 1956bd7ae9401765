"""Reading the store: by id, by versions, by query; never without a gate.

A gate says what may be seen given the persons whose records are looked at; a document that it does not admit is the
same as one that does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Protocol

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ExecutionTimeout

from fhir_server.errors import TooCostly
from fhir_server.store import bodies, queries
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.collections import history_of
from fhir_server.store.keys import DataKeys, Unreadable
from fhir_server.store.marks import Earlier, Marks
from fhir_server.store.permitted import Permitted, persons_of

Document = dict[str, Any]
Sort = Sequence[tuple[str, int]]

# What a read does not need.
WITHOUT_RANGES = {"r": 0, "s": 0, "e": 0, "ix": 0, "cx": 0, "has": 0, "to": 0, "g": 0}
WITHOUT_BODY = {**WITHOUT_RANGES, "body": 0, "h": 0}
SIZE_STANDS_SECONDS = 5.0


class Gate(Protocol):
    """What a requester may see; it is asked again for every request."""

    async def among(self, persons: Iterable[Hashable]) -> Permitted:
        """Return what may be seen of records that belong to no persons but these."""
        ...

    async def overall(self) -> Permitted:
        """Return what may be seen of all records."""
        ...


class Ungated:
    """The gate of internal work: everything, for a stated reason, which is logged."""

    def __init__(self, why: str) -> None:
        self._permitted = Permitted.everything(why)

    async def among(self, persons: Iterable[Hashable]) -> Permitted:
        return self._permitted

    async def overall(self) -> Permitted:
        return self._permitted


class Resources:
    """The resources of the store."""

    def __init__(self, database: AsyncDatabase[Document], keys: DataKeys, *, strictest_label: bool = True) -> None:
        self._database = database
        # Making one anew takes as long as asking it; their names are those of the types served.
        self._collection = cache(database.get_collection)
        self._keys = keys
        self.strictest_label = strictest_label
        self._current: dict[str, Coalesced[str, Document]] = {}
        self._sizes: dict[str, tuple[int, float]] = {}

    @property
    def marks(self) -> Marks:
        """What marks the documents."""
        return self._keys.marks

    async def read(self, type: str, id: str, gate: Gate) -> Document | None:
        """Return the current version, or None if there is none that the gate admits."""
        return (await self.many(type, [id], gate)).get(id)

    async def many(self, type: str, ids: Iterable[str], gate: Gate) -> dict[str, Document]:
        """Return, by id, the current versions that the gate admits."""
        return await self._admitted(type, await self._source(type).get_many(ids), gate)

    async def versions(self, type: str, id: str, gate: Gate) -> list[Document]:
        """Return all versions of a resource that the gate admits, newest first, without their bodies.

        Each version is judged by the patients it names and by the labels of the whole life of the resource
        (consent.md, D21), which the newest version carries.
        """
        current = await self._source(type).get_many([id])
        # In this order: what becomes an earlier version meanwhile is then found twice, never missed.
        earlier = await self._database[history_of(type)].find({"id": id}, WITHOUT_BODY).to_list()
        by_version: dict[int, Document] = {each["v"]: Earlier({**each, "_id": id}) for each in earlier}
        by_version |= {each["v"]: each for each in current.values()}
        if not by_version:
            return []
        newest = by_version[max(by_version)]
        lived = {"lab": newest.get("lab", [])} if self.strictest_label else {}
        judged = {str(v): {**each, **lived} for v, each in by_version.items()}
        admitted = await self._admitted(type, judged, gate)
        if admitted:
            self.check(type, [newest, *(by_version[each["v"]] for each in admitted.values())])
        return sorted(admitted.values(), key=lambda each: -each["v"])

    async def tombstones(self, type: str, ids: Iterable[str]) -> dict[str, Document]:
        """Return, by id, the last tombstone of each resource that was ever deleted. For writing alone: nobody is shown it.

        Raises ChangedInStore.
        """
        last = await self.buried(type, ids)
        self.check(type, [Earlier({**each, "_id": id}) for id, each in last.items()])
        return last

    async def buried(self, type: str, ids: Iterable[str]) -> dict[str, Document]:
        """Return the same; their marks are the caller's to look at."""
        filter = {"id": {"$in": list(ids)}, "deleted": True}
        found = await self._database[history_of(type)].find(filter).sort("v", 1).to_list()
        return {each["id"]: each for each in found}

    async def find(
        self,
        type: str,
        filter: Document,
        gate: Gate,
        *,
        sort: Sort,
        limit: int,
        shown: Mapping[str, Any] | None = None,
        few: bool = False,
    ) -> list[Document]:
        """Return the first documents, in this order, that the filter finds and the gate admits.

        limit: 0 for all. few: the filter finds records of a few persons, and of nobody else.
        """
        permitted, shown = await gate.overall(), shown or WITHOUT_RANGES
        with _in_time():
            return await queries.find(
                self._collection(type), filter, permitted, sort=sort, limit=limit, shown=shown, few=few
            )

    async def count(
        self, type: str, filter: Document, gate: Gate, *, limit: int | None = None, few: bool = False
    ) -> int:
        """Return how many documents the filter finds and the gate admits; no more than the limit are counted.

        few: as for `find`.
        """
        permitted = await gate.overall()
        # A count with a limit takes MongoDB up to twice as long; it is left out where there is nothing to be cut.
        cut = limit is not None and await self.size(type) >= limit
        with _in_time():
            counted = await queries.count(
                self._collection(type), filter, permitted, limit=limit if cut else None, few=few
            )
        return counted if limit is None else min(counted, limit)

    async def found_among(
        self, type: str, within: Document, filter: Document, gate: Gate, *, sort: Sort, among: int, limit: int
    ) -> int:
        """Return how many the filter finds of the first documents, in this order, that `within` finds and the gate admits.

        among: so many first documents. No more than the limit are counted, nor looked for. It may be fewer: documents of
        persons of whom very much is said do not count.
        """
        permitted = await gate.overall()
        steps: list[Document] = [
            {"$match": queries.both(within, permitted.filter(type, upwards=False))},
            {"$sort": dict(sort)},
            {"$limit": among},
            {"$match": filter},
            {"$limit": limit},
            {"$count": "found"},
        ]
        with _in_time():
            cursor = await self._database[type].aggregate(steps, maxTimeMS=queries.MOST_MILLISECONDS)
            return sum([each["found"] async for each in cursor])

    async def pointed_to(self, type: str, param: str, filter: Document, gate: Gate, *, limit: int) -> list[int]:
        """Return the keyed terms, at most as many as the limit, of what those refer to by a parameter that the filter finds.

        They come in no order. The gate admits those that refer; what they refer to is not looked at.
        """
        permitted = await gate.overall()
        with _in_time():
            return await queries.pointed_to(self._collection(type), param, filter, permitted, limit=limit)

    async def explained(self, type: str, filter: Document, gate: Gate, *, sort: Sort, limit: int) -> Document:
        """Return how MongoDB finds the first documents, with what it examined. For operators alone: it speaks of all."""
        gated = queries.both(filter, (await gate.overall()).filter(type))
        find = {"find": type, "filter": gated, "sort": dict(sort), "limit": limit}
        found: Document = await self._database.command("explain", find, verbosity="executionStats")
        return found

    async def size(self, type: str) -> int:
        """Return about how many resources of a type there are, or were some seconds ago, for everybody together.

        It is not to be shown to anybody, nor to decide what is shown.
        """
        size, until = self._sizes.get(type, (0, 0.0))
        if time.monotonic() > until:
            size = await self._database[type].estimated_document_count()
            self._sizes[type] = (size, time.monotonic() + SIZE_STANDS_SECONDS)
        return size

    async def stored(self) -> frozenset[str]:
        """Return the names of the collections that there are, those of resource types among them."""
        return frozenset(await self._database.list_collection_names())

    async def count_by_custodian(
        self, type: str, filter: Document, gate: Gate, *, limit: int, few: bool = False
    ) -> dict[str, int]:
        """Return, by institution, how many documents the filter finds and the gate admits.

        limit: beyond it they need not be counted. few: as for `find`.
        """
        permitted = await gate.overall()
        with _in_time():
            return await queries.count_by_custodian(self._collection(type), filter, permitted, limit=limit, few=few)

    async def opened(self, type: str, documents: Sequence[Document]) -> list[bytes]:
        """Return the JSON of each document's resource; of the history they are `Earlier`.

        Raises Unreadable if its key was destroyed, Unsealable if it, or what decides who sees it, was changed in the store.
        """
        self.check(type, documents)
        return await self.unsealed(type, documents)

    async def unsealed(self, type: str, documents: Sequence[Document]) -> list[bytes]:
        """Return the JSON of each document's resource, of which no more is needed than _id, v, k and body.

        For documents whose marks were looked at before. Raises as `opened` does.
        """
        keys = await self._keys.for_reading({each["k"] for each in documents})
        return [self._open(type, each, keys) for each in documents]

    def check(self, type: str, documents: Iterable[Document]) -> None:
        """Raise ChangedInStore if what decides who sees one of these documents was changed in the store."""
        self._keys.marks.check(type, documents)

    def _open(self, type: str, document: Document, keys: Mapping[int, bytes]) -> bytes:
        if (key := keys.get(document["k"])) is None:
            raise Unreadable("The data key of this record was destroyed.")
        return bodies.opened(key, type, document["_id"], document["v"], document["body"])

    async def _admitted(self, type: str, found: Mapping[str, Document], gate: Gate) -> dict[str, Document]:
        persons = frozenset(person for each in found.values() for person in persons_of(each))
        permitted = await gate.among(persons)  # asked even when nothing was found, so that both take alike
        return {id: each for id, each in found.items() if permitted.admits(type, each)}

    def _source(self, type: str) -> Coalesced[str, Document]:
        if type not in self._current:
            self._current[type] = Coalesced(partial(self._fetch, type))
        return self._current[type]

    async def _fetch(self, type: str, ids: list[str]) -> dict[str, Document]:
        documents = await self._collection(type).find({"_id": {"$in": ids}}, WITHOUT_RANGES).to_list()
        return {each["_id"]: each for each in documents}


@contextmanager
def _in_time() -> Iterator[None]:
    """Raise TooCostly if MongoDB stops what is done within, since it took too long.

    What is permitted was found few enough before (interactions/searching/costs.py), so that this is a matter of how busy
    the machines are, and of how much is hidden that fits what an index was asked for. Whoever meets with it can learn, as
    by any clock, that this is very much: nothing of one record or one person (ADR 20).
    """
    try:
        yield
    except ExecutionTimeout as error:
        raise TooCostly(
            "This search took too long, and was stopped. Ask for less at once: add a parameter that is looked up by "
            "equality, such as patient, identifier or code, or a shorter range."
        ) from error
