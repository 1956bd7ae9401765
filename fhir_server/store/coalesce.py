"""Coalesced reads: what is asked for while a fetch is under way goes into the next fetch.

The driver's cost for each call, not MongoDB, is what limits this server; so calls are shared. A fetch never serves
somebody who asked after it began: whoever asks sees everything that was stored before they asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from itertools import chain, islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_AT_ONCE = 1_000


class Coalesced(Generic[K, V]):
    """Looks values up by key, many waiters at a time.

    fetch: takes keys, returns the values found; a key it leaves out has none.
    """

    def __init__(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._running: asyncio.Task[None] | None = None

    def get(self, key: K) -> asyncio.Future[V | None]:
        """Return a future of the value for a key, None when there is none; it is the caller's own, to be cancelled too."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return future

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the values found for keys."""
        waiting = {key: self.get(key) for key in keys}
        return {key: value for key, future in waiting.items() if (value := await future) is not None}

    async def _run(self) -> None:
        try:
            while self._waiting:
                taken = dict(islice(self._waiting.items(), MOST_AT_ONCE))
                for key in taken:
                    del self._waiting[key]
                await self._serve(taken)
        finally:
            self._running = None

    async def _serve(self, taken: dict[K, list[asyncio.Future[V | None]]]) -> None:
        try:
            found = await self._fetch(list(taken))
        except Exception as error:
            for future in chain.from_iterable(taken.values()):
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a waiter may have left; its error is not lost for the others
        else:
            for key, futures in taken.items():
                value = found.get(key)
                for future in futures:
                    if not future.done():
                        future.set_result(value)
