"""Refusals of nobody known: of one address the first of a minute is an event at once, how many more came is another.

Whoever sends bad tokens without end would fill a log of which nothing may be deleted. What is gathered is in memory: of a
process that is killed, the number of the last minute is lost, never the first event. An IPv6 network of 64 bits counts as
one address, since who has one address there has all of them.
"""

from __future__ import annotations

import asyncio
import contextvars
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from pymongo.errors import PyMongoError

from fhir_server.audit.event import Happening
from fhir_server.audit.where import address

MINUTE = 60.0
LOOKED_AFTER_SECONDS = 5.0
# Of more than these at once the numbers are written before their minute is over.
MOST_HELD = 10_000

Kind = tuple[str, Happening]
Write = Callable[[Happening, int], Awaitable[None]]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What came after a first one. since: of the first, seconds of the monotonic clock. at: of the last, µs since 1970 UTC.

    of: the context of the first request, in which the log knows where it came from. stored: done once the first is durable.
    """

    since: float
    at: int
    of: contextvars.Context
    stored: asyncio.Future[None]
    more: int = 0


class Gathering:
    """What one process has gathered. write: stores the AuditEvent of something that happened at an instant (µs)."""

    def __init__(self, write: Write, *, lasting: float = MINUTE) -> None:
        self._write = write
        self._lasting = lasting
        self._held: dict[Kind, _Held] = {}

    async def record(self, happening: Happening, *, at: int) -> None:
        """Store a refusal of nobody known, or count it; return when the first of its kind and minute is durable.

        Raises what keeps the first from being stored, to all who wait for it.
        """
        kind, now = (source(address()), happening), time.monotonic()
        held = self._held.get(kind)
        if held is not None and now - held.since < self._lasting and not _failed(held.stored):
            held.more, held.at = held.more + 1, at
            await asyncio.shield(held.stored)
            return
        stored: asyncio.Future[None] = asyncio.ensure_future(self._write(happening, at))
        fresh = self._held[kind] = _Held(now, at, contextvars.copy_context(), stored)
        try:
            await asyncio.shield(stored)
        except Exception:
            if self._held.get(kind) is fresh:  # the next one is the first again
                del self._held[kind]
            raise
        finally:
            if held is not None:
                await self._tell(kind, held)
        if len(self._held) > MOST_HELD:
            await self.settle()

    async def forever(self) -> None:
        """Store the numbers of the minutes that are over, now and from now on."""
        while True:
            await asyncio.sleep(LOOKED_AFTER_SECONDS)
            try:
                await self.settle(before=time.monotonic() - self._lasting)
            except PyMongoError as error:  # tried again
                log.warning("refusals could not be counted in the log: %s", type(error).__name__)

    async def settle(self, *, before: float | None = None) -> None:
        """Store the numbers of all that is gathered. before: of what began by then, seconds of the monotonic clock."""
        for kind, held in [each for each in self._held.items() if before is None or each[1].since <= before]:
            if self._held.get(kind) is held:
                del self._held[kind]
                await self._tell(kind, held)

    async def _tell(self, kind: Kind, held: _Held) -> None:
        """Store how many more there were, as of the address of the first."""
        if not held.more:
            return
        _, happening = kind
        note = f"{happening.note or ''} {held.more} more within a minute".strip()
        telling = self._write(replace(happening, note=note), held.at)
        try:
            await asyncio.create_task(_awaited(telling), context=held.of)
        except PyMongoError:
            self._held.setdefault(kind, held)
            raise


def _failed(stored: asyncio.Future[None]) -> bool:
    return stored.done() and (stored.cancelled() or stored.exception() is not None)


async def _awaited(work: Awaitable[None]) -> None:
    await work


def source(address: str) -> str:
    """Return what counts as one address.

    >>> source("2001:db8::1") == source("2001:db8::ffff"), source("10.1.2.3"), source("testclient")
    (True, '10.1.2.3', 'testclient')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return found.ipv4_mapped.compressed if found.ipv4_mapped else str(ipaddress.ip_network((int(found), 64), False))
    return address
