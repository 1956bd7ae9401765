"""Loading resources from files for an institution: what is prepared is stored in the order of the files.

While one unit is being stored, the next ones are prepared, by other processes where there are any
(fhir_server/loading/processes.py). What was prepared on a state of the store that has changed is prepared anew.
Loading the same again changes nothing: what is stored already, as the same content, is left as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from pymongo.errors import PyMongoError

from fhir_server.errors import Conflict
from fhir_server.interactions.call import Services
from fhir_server.loading.files import Chunk, Reject
from fhir_server.loading.preparing import MOST, Place, Prepared
from fhir_server.store.numbers import Outdated

TRIES = 3
PATIENCE_SECONDS = 90.0  # MongoDB's limit for a transaction is 60


@dataclass(slots=True)
class Tally:
    """How many resources were stored, were there already, and were rejected; and the bytes of files that they took."""

    stored: int = 0
    unchanged: int = 0
    rejected: int = 0
    consumed: int = 0

    @property
    def seen(self) -> int:
        return self.stored + self.unchanged + self.rejected


class Prepare(Protocol):
    """Prepares a chunk, here or elsewhere."""

    async def __call__(self, chunk: Chunk, most: int = MOST) -> Prepared: ...


class Loader:
    """Loads chunks in their order.

    ahead: chunks that are prepared, or being prepared, while one is stored. reject: told of what is not loaded.
    progress: told after each unit that is durable.
    """

    def __init__(
        self,
        use: Services,
        prepare: Prepare,
        *,
        ahead: int = 1,
        reject: Callable[[Reject], None],
        progress: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._use = use
        self._prepare = prepare
        self._ahead = ahead
        self._reject = reject
        self._progress = progress
        self._number = 0
        # What was stored lately: the number of the chunk, and the places.
        self._lately: deque[tuple[int, frozenset[Place]]] = deque()
        self.tally = Tally()

    async def load(self, chunks: Iterable[Chunk]) -> Tally:
        """Load all chunks; return the tally when the last of them is durable."""
        coming = iter(chunks)
        reading = self._read(coming)
        waiting: deque[tuple[int, Chunk, asyncio.Task[Prepared]]] = deque()
        try:
            while True:
                while len(waiting) <= self._ahead and (chunk := await reading):
                    waiting.append((self._number, chunk, asyncio.ensure_future(self._prepare(chunk))))
                    reading = self._read(coming)
                if not waiting:
                    return self.tally
                await self._next(*waiting.popleft())
        finally:
            for each in (reading, *(task for _, _, task in waiting)):
                each.cancel()

    @staticmethod
    def _read(coming: Iterator[Chunk]) -> asyncio.Task[Chunk | None]:
        """Begin to read the next chunk beside everything else."""
        return asyncio.ensure_future(asyncio.to_thread(next, coming, None))

    async def _next(self, since: int, chunk: Chunk, task: asyncio.Task[Prepared]) -> None:
        """Store a chunk. since: the number of chunks that were stored when its preparation began."""
        consumed = sum(raw.consumed for raw in chunk)
        prepared = await task
        if self._stale(prepared, since):
            prepared = await self._prepare(chunk)
        while chunk := await self._stored(chunk, prepared):
            prepared = await self._prepare(chunk)
        self._number += 1
        self.tally.consumed += consumed
        self._progress(self.tally)

    def _stale(self, prepared: Prepared, since: int) -> bool:
        """Return whether something that a chunk was prepared on has been stored since."""
        places = {*prepared.drafted, *prepared.seen}
        return any(number >= since and not places.isdisjoint(stored) for number, stored in self._lately)

    async def _stored(self, chunk: Chunk, prepared: Prepared) -> Chunk:
        """Store what was prepared of a chunk; return what is left of the chunk.

        If others write at the same time, it is prepared anew, and in the end by single resources, so that only what is
        being written by others all the time is rejected.
        """
        for most in (*(MOST,) * (TRIES - 1), *(1,) * TRIES):
            try:
                await self._commit(prepared)
            except Conflict as conflict:
                if isinstance(conflict, Outdated):
                    await self._use.definitions.renew(entering=True)
                problem = conflict.diagnostics
                prepared = await self._prepare(chunk, most)
            else:
                self._done(prepared)
                return prepared.rest
        lost = tuple(Reject(*where, *place, problem) for place, where in prepared.drafted.items())
        self._done(replace(prepared, drafted={}, rejected=(*prepared.rejected, *lost)))
        return prepared.rest

    async def _commit(self, prepared: Prepared) -> None:
        """Store a unit. A load that was killed may have left a transaction open: MongoDB ends it after a minute."""
        until = time.monotonic() + PATIENCE_SECONDS
        while prepared.drafted:
            try:
                return await self._use.committer.commit(prepared.unit)
            except PyMongoError as error:
                if not error.has_error_label("TransientTransactionError") or time.monotonic() > until:
                    raise
            await asyncio.sleep(1)

    def _done(self, prepared: Prepared) -> None:
        """Count what is durable now, and tell of it."""
        for reject in prepared.rejected:
            self._reject(reject)
        self._lately.append((self._number, frozenset(prepared.drafted)))
        while self._lately[0][0] < self._number - self._ahead - 1:
            self._lately.popleft()
        self.tally.stored += len(prepared.drafted)
        self.tally.unchanged += prepared.unchanged
        self.tally.rejected += len(prepared.rejected)
        self._progress(self.tally)
