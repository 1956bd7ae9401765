"""Group commit: what must be stored before responses leave is gathered and stored by one transaction that all wait for.

A unit is what one interaction writes: all of it or nothing. Units that wait together go into one transaction; when
that fails, each unit is tried alone, so that one unit's conflict is only its own.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pymongo import AsyncMongoClient, DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server.errors import Conflict
from fhir_server.store.numbers import Fence

Document = dict[str, Any]
DURABLE = WriteConcern("majority", j=True)
MOST_OPERATIONS = 2_000
TRIES = 20
# Of several events about one request some may be stored although the others fail: then nothing is disclosed, and the log
# says too much rather than too little.
EACH_FOR_ITSELF = frozenset({"AuditEvent"})
DUPLICATE_KEY, WRITE_CONFLICT = 11000, 112
CAME_FIRST = "Another write to the same resource came first: read it again."


class Change(NamedTuple):
    """A document, found by its id and what it was read as, that is replaced, or deleted (None)."""

    found_by: Document
    document: Document | None

    @property
    def operation(self) -> ReplaceOne[Document] | DeleteOne:
        return DeleteOne(self.found_by) if self.document is None else ReplaceOne(self.found_by, self.document)


@dataclass(slots=True)
class Unit:
    """Operations by collection that are stored together or not at all.

    changes: operations each of which must find exactly one document; if one does not, another write came first.
    touches: upserts that may or may not find one. filed_under: the number of the definitions that the unit's resources
    are filed under (store/numbers.py); None if it has none that clients search.
    """

    inserts: dict[str, list[Document]] = field(default_factory=lambda: defaultdict(list))
    changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    touches: dict[str, list[UpdateOne]] = field(default_factory=lambda: defaultdict(list))
    filed_under: int | None = None

    def insert(self, collection: str, document: Document) -> None:
        self.inserts[collection].append(document)

    def replace(self, collection: str, found_by: Document, document: Document) -> None:
        self.changes[collection].append(Change(found_by, document))

    def delete(self, collection: str, found_by: Document) -> None:
        self.changes[collection].append(Change(found_by, None))

    def touch(self, collection: str, found_by: Document, update: Document) -> None:
        self.touches[collection].append(UpdateOne(found_by, update, upsert=True))

    def join(self, other: Unit) -> None:
        """Add another unit's operations to this one's."""
        for collection, documents in other.inserts.items():
            self.inserts[collection].extend(documents)
        for collection, changes in other.changes.items():
            self.changes[collection].extend(changes)
        for collection, touches in other.touches.items():
            self.touches[collection].extend(touches)
        numbers = [each for each in (self.filed_under, other.filed_under) if each is not None]
        self.filed_under = min(numbers, default=None)

    def changed(self, collection: str) -> set[Any]:
        """Return the ids of the documents of a collection that the unit replaces or deletes."""
        return {change.found_by["_id"] for change in self.changes.get(collection, ())}

    @property
    def is_apart(self) -> bool:
        """Whether the unit needs no transaction and no fence: it is one new document, or new ones of the log alone."""
        if self.filed_under is not None or any(self.changes.values()) or any(self.touches.values()):
            return False
        inserted = [(name, len(documents)) for name, documents in self.inserts.items() if documents]
        return len(inserted) == 1 and (inserted[0][1] == 1 or inserted[0][0] in EACH_FOR_ITSELF)

    def __len__(self) -> int:
        return sum(sum(map(len, part.values())) for part in (self.inserts, self.changes, self.touches) if part)


class Numbering(Protocol):
    """Numbers the documents of one collection in the order in which they are stored (audit/chain.py)."""

    collection: str

    async def begin(self, documents: Sequence[Document]) -> None:
        """Number documents that are about to be stored, as if those before that neither ended nor are in doubt never were."""

    def end(self) -> None:
        """Take note that they are stored."""

    def doubt(self, documents: Iterable[Document]) -> None:
        """Take note that nobody knows which of them are stored."""


class Committer:
    """Stores units durably: majority write concern, journaled."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        database: AsyncDatabase[Document],
        numbering: Numbering | None = None,
    ) -> None:
        self._client = client
        self._database = database
        self._numbering = numbering
        self._waiting: list[tuple[Unit, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None
        self.fence = Fence(database)

    async def commit(self, unit: Unit) -> None:
        """Store a unit; return when it is durable.

        Raises Conflict if another write came first, Outdated if the definitions changed that its resources are filed
        under; then nothing of the unit is stored.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((unit, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # The future is this caller's own: one that goes away takes back neither its unit nor what others wait for.
        await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # let requests that are ready to write join this round
                await self._round(self._take())
        finally:
            self._running = None

    def _take(self) -> list[tuple[Unit, asyncio.Future[None]]]:
        size, count = 0, 0
        for unit, _ in self._waiting:
            size += len(unit)
            if count and size > MOST_OPERATIONS:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _round(self, taken: list[tuple[Unit, asyncio.Future[None]]]) -> None:
        if all(unit.is_apart for unit, _ in taken):
            await self._insert_each(taken)
            return
        if len(taken) > 1:
            together = Unit()
            for unit, _ in taken:
                together.join(unit)
            try:
                await self._store(together)
            except Exception:
                pass  # one of them is at fault: each alone finds out which
            else:
                for _, future in taken:
                    _settle(future, None)
                return
        for unit, future in taken:
            try:
                await self._store(unit)
            except Exception as error:
                _settle(future, error)
            else:
                _settle(future, None)

    async def _store(self, unit: Unit) -> None:
        numbered = unit.inserts.get(self._numbering.collection) if self._numbering else None
        async with self._numbered(numbered or ()):
            await self._store_all(unit)

    @asynccontextmanager
    async def _numbered(self, documents: Sequence[Document]) -> AsyncIterator[None]:
        """Have documents numbered while they are stored within. After some errors none of them is stored for certain."""
        numbering = self._numbering
        if numbering is None or not documents:
            yield
            return
        await numbering.begin(documents)
        try:
            yield
        except BaseException as error:
            if not _none_stored(error, len(documents)):
                numbering.doubt(documents)
            raise
        numbering.end()

    async def _store_all(self, unit: Unit) -> None:
        for left in range(TRIES - 1, -1, -1):
            try:
                async with (
                    self._client.start_session() as session,
                    await session.start_transaction(ReadConcern("snapshot"), DURABLE),
                ):
                    await self._apply(unit, session)
                return
            except PyMongoError as error:
                if isinstance(error, DuplicateKeyError) or _code(error) == DUPLICATE_KEY:
                    raise Conflict(CAME_FIRST) from error
                if not left or not (
                    error.has_error_label("TransientTransactionError") or _code(error) == WRITE_CONFLICT
                ):
                    raise
                await asyncio.sleep(0.002 * (TRIES - left))

    async def _insert_each(self, taken: list[tuple[Unit, asyncio.Future[None]]]) -> None:
        """Store units of new documents that need not be stored together."""
        by_collection: dict[str, list[tuple[Document, asyncio.Future[None]]]] = defaultdict(list)
        for unit, future in taken:
            for name, documents in unit.inserts.items():
                by_collection[name] += [(document, future) for document in documents]
        for name, waiting in by_collection.items():
            collection = self._database.get_collection(name, write_concern=DURABLE)
            failed: dict[int, Exception] = {}
            new = [document for document, _ in waiting]
            numbered = new if self._numbering and name == self._numbering.collection else ()
            try:
                async with self._numbered(numbered):
                    await collection.insert_many(new, ordered=False)
            except BulkWriteError as error:
                failed = {each["index"]: _failure(each, error) for each in error.details["writeErrors"]}
                if error.details["writeConcernErrors"]:
                    failed = dict.fromkeys(range(len(waiting)), error)
            except Exception as error:
                failed = dict.fromkeys(range(len(waiting)), error)
            errors = {waiting[index][1]: error for index, error in failed.items()}
            for future in dict.fromkeys(future for _, future in waiting):
                _settle(future, errors.get(future))

    async def _apply(self, unit: Unit, session: AsyncClientSession) -> None:
        if unit.filed_under is not None:
            await self.fence.let_through(unit.filed_under, session)
        for name, documents in unit.inserts.items():
            await self._database[name].bulk_write([InsertOne(each) for each in documents], session=session)
        for name, changes in unit.changes.items():
            result = await self._database[name].bulk_write([each.operation for each in changes], session=session)
            if result.matched_count + result.deleted_count != len(changes):
                raise Conflict(CAME_FIRST)
        for name, touches in unit.touches.items():
            await self._database[name].bulk_write(list(touches), session=session)


def _none_stored(error: BaseException, count: int) -> bool:
    """Return whether an error says that none of so many documents was stored: the transaction ended, or each was refused."""
    if isinstance(error, BulkWriteError):
        return len(error.details["writeErrors"]) == count and not error.details["writeConcernErrors"]
    return isinstance(error, Conflict)


def _failure(refused: Document, error: Exception) -> Exception:
    """Return what the writer of a refused document is told: a store that refuses for another reason has failed."""
    return Conflict(CAME_FIRST) if refused["code"] == DUPLICATE_KEY else error


def _code(error: PyMongoError) -> int | None:
    if isinstance(error, BulkWriteError):
        errors: Iterable[Document] = error.details.get("writeErrors", ())
        return next((each.get("code") for each in errors), None)
    return getattr(error, "code", None)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # the waiter may have gone; asyncio need not complain
