"""The chain of this process: its events are numbered, and bound to each other, at the moment at which they are stored.

A round of the group commit (store/commit.py) numbers what it is about to store. If none of it was stored for certain, the
numbers are given again. If nobody knows, as when the connection broke, what is there is looked up before anything else is
stored, and a signed anchor says which numbers may stand for nothing: no answer has left that rested on them. So a number
that is missing without such an anchor is an event that was taken away.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.audit.anchors import Anchors, Kind, Unanchored
from fhir_server.audit.links import FIELD, LOG, Links, Position
from fhir_server.crypto.keyring import Keyring, KeyringError

ANCHORED_EVERY_EVENTS = 10_000
ANCHORED_EVERY_SECONDS = 60.0
LOOKED_AFTER_SECONDS = 1.0
WRITER_BYTES = 8

Document = dict[str, Any]
Database = AsyncDatabase[Document]
log = logging.getLogger(__name__)


class Chain:
    """Numbers the AuditEvents that one process stores. Rounds come one after the other, never two at once."""

    collection = LOG

    def __init__(self, database: Database, keyring: Keyring, anchors: Anchors) -> None:
        # What a majority has is not lost any more when the primary changes.
        self._events = database.get_collection(LOG, read_concern=ReadConcern("majority"))
        self._keyring = keyring
        self._anchors = anchors
        self._links: Links | None = None
        self._stored = self._given = Position()
        self._doubted: dict[int, bytes] = {}
        self._anchored = 0
        self._anchored_at = time.monotonic()

    @property
    def writer(self) -> str | None:
        """This process's writer; None before its first event."""
        return self._links.writer if self._links else None

    async def begin(self, documents: Sequence[Document]) -> None:
        """Number documents that are about to be stored, in their order.

        Raises PyMongoError if the first of them, or what failed last, cannot be anchored: then nothing is to be stored.
        """
        if self._doubted:
            await self._clear_up()
        links = self._links or await self._open()
        n, m, count = self._stored
        for document in documents:
            n += 1
            code = links.code(m, n, document)
            document[FIELD] = {"by": links.writer, "n": n, "p": m, "m": code}
            m = code
        self._given = Position(n, m, count + len(documents))

    def end(self) -> None:
        """Take note that what was numbered last is stored."""
        self._stored = self._given

    def doubt(self, documents: Iterable[Document]) -> None:
        """Take note that nobody knows whether what was numbered last is stored, or which of it."""
        self._doubted = {each[FIELD]["n"]: each[FIELD]["m"] for each in documents if FIELD in each}

    async def anchor(self, kind: Kind = Kind.STANDS) -> None:
        """Anchor how far the chain reaches, unless that is done."""
        n, m, count = self._stored
        if self._links is None or (n == self._anchored and kind is Kind.STANDS):
            return
        await self._anchors.add(kind, by=self._links.writer, n=n, m=m.hex(), count=count)
        self._anchored, self._anchored_at = n, time.monotonic()

    async def forever(self) -> None:
        """Anchor now and then, as long as the process lives."""
        while True:
            await asyncio.sleep(LOOKED_AFTER_SECONDS)
            many = self._stored.n - self._anchored >= ANCHORED_EVERY_EVENTS
            if many or time.monotonic() - self._anchored_at >= ANCHORED_EVERY_SECONDS:
                try:
                    await self.anchor()
                except PyMongoError as error:  # tried again
                    log.warning("the audit log could not be anchored: %s", type(error).__name__)

    async def close(self) -> None:
        """Anchor the end of the chain. Whatever is stored later has another writer."""
        try:
            if self._doubted:
                await self._clear_up()
            await self.anchor(Kind.CLOSED)
        except PyMongoError as error:  # another process will anchor what is left
            log.warning("the end of the audit log could not be anchored: %s", type(error).__name__)
        self._links = None

    async def _open(self) -> Links:
        """Return the links of a new writer, of which an anchor tells before its first event is stored."""
        try:
            links = await asyncio.to_thread(Links, self._keyring, secrets.token_hex(WRITER_BYTES))
        except (KeyringError, OSError) as error:
            raise Unanchored("The key of the audit log cannot be used.") from error
        self._stored = self._given = Position()
        await self._anchors.add(Kind.OPENS, by=links.writer, m=self._stored.m.hex())
        self._links, self._anchored, self._anchored_at = links, 0, time.monotonic()
        return links

    async def _clear_up(self) -> None:
        """Find out what of the doubted is stored, and say of the other numbers that they may stand for nothing.

        Their documents may still come in, if MongoDB was only slow: an anchored number may have an event or none.
        """
        links = self._links
        if links is None:
            return
        behind = {f"{FIELD}.by": links.writer, f"{FIELD}.n": {"$gt": self._stored.n}}
        found = await self._events.find(behind, {FIELD: 1}).to_list()
        there = {each[FIELD]["n"]: each[FIELD]["m"] for each in found if _is_one_of(each[FIELD], self._doubted)}
        n, m = max(self._doubted), there[max(there)] if there else self._stored.m
        position = Position(n, m, self._stored.size + len(there))
        if missing := self._doubted.keys() - there.keys():
            said = {"n": n, "m": m.hex(), "count": position.size, "ranges": ranges(missing)}
            await self._anchors.add(Kind.VOID, by=links.writer, **said)
            self._anchored = n
        self._stored, self._doubted = position, {}


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return numbers as ranges (from, to).

    >>> ranges({4, 1, 2, 3, 7})
    ((1, 4), (7, 7))
    """
    made: list[tuple[int, int]] = []
    for n in sorted(numbers):
        if made and made[-1][1] == n - 1:
            made[-1] = (made[-1][0], n)
        else:
            made.append((n, n))
    return tuple(made)


def _is_one_of(link: Document, doubted: dict[int, bytes]) -> bool:
    code = link.get("m")
    return isinstance(code, bytes) and doubted.get(link.get("n", 0)) == code
