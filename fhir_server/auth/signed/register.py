"""The signed rows of access-control data: whoever reads one gets it verified, whoever changes one signs it.

A change of a row, of its bucket and of the head are one transaction. A row is held against the register as of one time: the
last one read, if its count is still the present one, else one read together with the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from fhir_server.auth.signed.refusing import Refused, logged
from fhir_server.auth.signed.rows import (
    BEGINNING,
    HEAD,
    REGISTER,
    SIGNATURE,
    TABLES,
    Document,
    Entries,
    Fault,
    Found,
    Head,
    State,
    bucket_digest,
    bucket_of,
    bucket_row,
    digest_of,
    faults,
    head_row,
    judged,
    named,
    opened,
)
from fhir_server.crypto.sm2 import Signer, verify
from fhir_server.store.commit import DURABLE, TRIES

SNAPSHOT_UNAVAILABLE = 246
KNOWN_SIGNATURES = 20_000
PURPOSE = "access"  # of the installation's SM2 key that signs here
T = TypeVar("T")


class AccessRefused(RuntimeError):
    """Access-control data cannot be used as it is; the message names the row, and says what to do."""

    def __init__(self, table: str, id: str, fault: Fault) -> None:
        remedy = "sign-access" if fault is Fault.UNSIGNED else "check-access"
        super().__init__(f"{named(table, id)} {fault}. See: fhir-facade keys {remedy}")
        self.found: Found = (table, id, fault)


class Register:
    """Reads and writes the rows of the tables in `TABLES`. refused: is told of each row that does not verify."""

    def __init__(self, database: AsyncDatabase[Document], signer: Signer, refused: Refused = logged) -> None:
        self._client = database.client
        self.tables = {name: database.get_collection(name, write_concern=DURABLE) for name in TABLES}
        self.own = database.get_collection(REGISTER, write_concern=DURABLE)
        self._signer = signer
        self._refused = refused
        self._head: Head | None = None
        self._entries: dict[int, tuple[bytes, Entries]] = {}
        self._highest = 0  # count of a head that was stored for certain: an older one is not believed again
        self._valid = lru_cache(KNOWN_SIGNATURES)(lambda digest, sig: verify(signer.public_key, digest, sig))

    async def row(self, table: str, found_by: Document) -> Document | None:
        """Return the row that is found by something, None if there is none that verifies."""
        found, head = await asyncio.gather(
            self.tables[table].find_one(found_by), self.own.find_one({"_id": HEAD}, {"n": 1})
        )
        if found is None:
            return None
        known = self._known(head, [bucket_of(table, str(found["_id"]))])
        if known is not None and judged(table, found, known, self.verified) is None:
            return found
        return await self._held_against(table, found_by)

    async def rows(self, table: str) -> list[Document]:
        """Return the rows of a table that verify, in the order of their ids; what does not, or is missing, is told of."""
        found, head = await asyncio.gather(
            self.tables[table].find().sort("_id").to_list(), self.own.find_one({"_id": HEAD}, {"n": 1})
        )
        state = self._known(head, TABLES[table])
        if state is None or faults(table, found, state, self.verified):
            found, wrong = await self.checked(table)
            for each in wrong:
                await self._refused(*each)
            bad = {id for _, id, _ in wrong}
            return [row for row in found if str(row["_id"]) not in bad]
        return found

    async def checked(self, table: str) -> tuple[list[Document], list[Found]]:
        """Return all rows of a table, and what is wrong with which, all as of one time."""

        async def within(session: AsyncClientSession) -> tuple[list[Document], State | Fault]:
            rows = await self.tables[table].find({}, session=session).sort("_id").to_list()
            return rows, await self._read(TABLES[table], session)

        rows, state = await self._as_of_one_time(within)
        self._remember(state)
        if isinstance(state, Fault):
            return rows, [(table, str(row["_id"]), state) for row in rows]
        return rows, faults(table, rows, state, self.verified)

    async def insert(self, table: str, row: Document) -> None:
        """Store a new row. Raises DuplicateKeyError, AccessRefused."""

        async def within(session: AsyncClientSession) -> int:
            state = await self._present(table, row["_id"], session)
            await self.tables[table].insert_one(await self.signed(table, row), session=session)
            return await self._list(table, row["_id"], digest_of(table, row), state, session)

        self._stored(await self.transaction(within))

    async def change(self, table: str, id: str, to: Callable[[Document], Document | None]) -> bool:
        """Store what `to` makes of a row, unless it makes nothing of it; return whether it was there and was changed.

        Raises AccessRefused: what does not verify is not signed anew.
        """

        async def within(session: AsyncClientSession) -> int | None:
            state = await self._present(table, id, session)
            row = await self.tables[table].find_one({"_id": id}, session=session)
            if row is None:
                return None
            if fault := judged(table, row, state, self.verified):
                raise AccessRefused(table, id, fault)
            new = to({name: value for name, value in row.items() if name != SIGNATURE})
            if new is None:
                return None
            await self.tables[table].replace_one({"_id": id}, await self.signed(table, new), session=session)
            return await self._list(table, id, digest_of(table, new), state, session)

        stored = await self.transaction(within)
        self._stored(stored or 0)
        return stored is not None

    async def remove(self, table: str, id: str) -> None:
        """Delete a row, whether it verifies or not."""

        async def within(session: AsyncClientSession) -> int:
            state = await self._present(table, id, session)
            await self.tables[table].delete_one({"_id": id}, session=session)
            return await self._list(table, id, None, state, session)

        self._stored(await self.transaction(within))

    async def signed(self, table: str, row: Mapping[str, Any]) -> Document:
        """Return a row with its signature. Whoever keeps the key may take a while, so another thread waits for them."""
        content = {name: value for name, value in row.items() if name != SIGNATURE}
        return {**content, SIGNATURE: await asyncio.to_thread(self._signer.sign, digest_of(table, content))}

    async def signed_head(self, head: Head) -> Document:
        """Return the row of a head."""
        return head_row(head, await asyncio.to_thread(self._signer.sign, head.digest))

    def verified(self, digest: bytes, signature: Any) -> bool:
        """Return whether a signature as it was read is this installation's over a digest; what was verified is remembered."""
        return isinstance(signature, bytes) and self._valid(digest, signature)

    async def transaction(self, work: Callable[[AsyncClientSession], Coroutine[Any, Any, T]]) -> T:
        """Return what work returns, which reads as of one time; what it writes is stored together and durably."""
        async with self._client.start_session() as session:
            return await session.with_transaction(work, ReadConcern("snapshot"), DURABLE)

    async def _as_of_one_time(self, work: Callable[[AsyncClientSession], Coroutine[Any, Any, T]]) -> T:
        """Return what work, which only reads, returns as of one time: of what is durable, and of all that was so before."""
        for left in range(TRIES - 1, -1, -1):
            try:
                async with self._client.start_session(snapshot=True) as session:
                    return await work(session)
            except OperationFailure as error:
                if error.code != SNAPSHOT_UNAVAILABLE or not left:
                    raise
            await asyncio.sleep(0.05)  # a collection or an index was made just now
        raise AssertionError

    async def _held_against(self, table: str, found_by: Document) -> Document | None:
        """Return a row that is read together with the register."""

        async def within(session: AsyncClientSession) -> tuple[Document | None, State | Fault]:
            row = await self.tables[table].find_one(found_by, session=session)
            return row, await self._read([bucket_of(table, str(row["_id"]))] if row else [], session)

        row, state = await self._as_of_one_time(within)
        if row is None:
            return None
        self._remember(state)
        fault = state if isinstance(state, Fault) else judged(table, row, state, self.verified)
        if fault is None:
            return row
        await self._refused(table, str(row["_id"]), fault)
        return None

    async def _present(self, table: str, id: str, session: AsyncClientSession) -> State:
        """Return the register as far as one row needs it, which is to be changed; it begins with the first row of all."""
        bucket = bucket_of(table, id)
        state = await self._read([bucket], session)
        if state is Fault.UNSIGNED and not await self._any(session):
            return State(BEGINNING, {bucket: {}})
        if isinstance(state, Fault):
            raise AccessRefused(table, id, state)
        return state

    async def _any(self, session: AsyncClientSession) -> bool:
        """Return whether there is any row in any table."""
        for rows in self.tables.values():
            if await rows.find_one({}, {"_id": 1}, session=session) is not None:
                return True
        return False

    async def _read(self, buckets: Iterable[int], session: AsyncClientSession) -> State | Fault:
        """Return these buckets of the register."""
        wanted, highest = list(buckets), self._highest
        rows = await self.own.find({"_id": {"$in": [HEAD, *wanted]}}, session=session).to_list()
        state = opened(rows, wanted, self.verified)
        if isinstance(state, Fault):
            return state
        if state.head.n < highest:
            return Fault.ROLLED_BACK
        return state

    async def _list(self, table: str, id: str, digest: bytes | None, state: State, session: AsyncClientSession) -> int:
        """List a row under its new digest, or no longer (None); return the new count."""
        bucket, name = bucket_of(table, id), named(table, id)
        entries = {other: value for other, value in state.entries[bucket].items() if other != name}
        if digest is not None:
            entries[name] = digest
        head = state.head.changed(bucket, bucket_digest(entries))
        await self.own.replace_one({"_id": bucket}, bucket_row(bucket, entries), upsert=True, session=session)
        await self.own.replace_one({"_id": HEAD}, await self.signed_head(head), upsert=True, session=session)
        return head.n

    def _remember(self, state: State | Fault) -> None:
        """Keep what was read as of one time; what was read before a newer one is not kept."""
        if isinstance(state, Fault) or state.head.n < self._highest:
            return
        self._stored(state.head.n)
        self._head = state.head
        self._entries.update({each: (state.head.of(each), found) for each, found in state.entries.items()})

    def _stored(self, n: int) -> None:
        self._highest = max(self._highest, n)

    def _known(self, head: Document | None, buckets: Iterable[int]) -> State | None:
        """Return the buckets as they were read before, if the count says that they are still so."""
        if head is None or self._head is None or head.get("n") != self._head.n or self._head.n < self._highest:
            return None
        found = {each: self._entries.get(each, (b"", {})) for each in buckets}
        if any(digest != self._head.of(each) for each, (digest, _) in found.items()):
            return None
        return State(self._head, {each: entries for each, (_, entries) in found.items()})
