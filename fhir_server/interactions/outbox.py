"""What a process outside the server, such as a bridge, is told of authorizations: the outbox, for one consumer.

    async for told in follow(definitions, "province", since=at):
        ...                         # tell the platform: told.entry.id is the same if it comes again
        await told.done()           # or, if the platform does not take it now: await told.put_off()

Each entry comes at least once and, of each person, in the order of what happened: the next one of a person comes after
the one before it is done. What was put off comes again after a while, the longer the more often it was put off; other
persons' entries go on meanwhile. What was yielded and neither done nor put off, as by a process that was killed, comes again
when its lease ends. Several processes may follow for one consumer; each entry is one process's for the lease, which has to be
longer than it takes to tell.

`Entry.body` says: consent, version, state, effect (permit, deny), patient (the Patient whom the Consent names), custodian
(who keeps the Consent), institutions (all that this version or the one before it names, and the custodian) and, of what was
asked for, organization. It is None where the key of the records was destroyed. That a consumer is told is an AuditEvent,
stored before: a process that lives long has its chain anchored (audit/chain.py, `forever`). A consumer sees all of its
entries, for it is a part of the installation and no user: what it passes on is decided where it reads records.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pymongo.errors import PyMongoError

from fhir_server.audit.event import Touched
from fhir_server.audit.happenings import Direction, transfer
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Scopes
from fhir_server.errors import Conflict
from fhir_server.reindexing.definitions import Definitions
from fhir_server.store.commit import Unit
from fhir_server.store.numbers import Outdated
from fhir_server.store.outbox import LEASE, Consumer, Entry, Outbox, Waiting

__all__ = ["Consumer", "Entry", "Told", "Waiting", "follow"]

LOOKED_AFTER = timedelta(seconds=1)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=15)
SERVER = "Device/fhir-facade"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """An entry that a consumer is told of, and how it says what came of it."""

    entry: Entry
    _outbox: Outbox
    _consumer: str
    _worker: str

    async def done(self) -> bool:
        """Note that the consumer is through with it; return False if its lease had ended and it became another's."""
        return await self._outbox.done(self._consumer, self.entry, self._worker)

    async def put_off(self) -> datetime:
        """Let it come again, later each time; return when."""
        until = datetime.now(UTC) + pause_after(self.entry.tries)
        await self._outbox.put_off(self._consumer, self.entry, self._worker, until=until)
        return until


def pause_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries before.

    >>> [int(pause_after(tries).total_seconds()) for tries in (0, 1, 5, 50)]
    [1, 2, 32, 900]
    """
    return min(FIRST_PAUSE * (1 << min(tries, 20)), LONGEST_PAUSE)


async def follow(
    definitions: Definitions,
    consumer: str,
    *,
    since: int | None = None,
    kinds: Collection[str] = (),
    lease: timedelta = LEASE,
    looked_after: timedelta | None = LOOKED_AFTER,
) -> AsyncGenerator[Told, None]:
    """Yield what a consumer is told, the oldest first; one that is not known yet is registered.

    since: of what happened from then on (µs since 1970 UTC), None: from now on; kinds: of which entries, none: of all. Of a
    consumer that is known already both are as they were. looked_after: how long to wait when nothing is left; None: then
    end. MongoDB that cannot be reached is waited for. Raises ValueError for what is no name of a consumer.
    """
    use, worker, failures = definitions.services, uuid4().hex, 0
    outbox = use.consenting.outbox
    await outbox.register(consumer, since=use.now() if since is None else since, kinds=kinds)
    while True:
        try:
            entry = await outbox.take(consumer, worker, lease=lease)
            if entry is not None:
                await _recorded(definitions, consumer, entry)
        except (PyMongoError, Conflict) as error:  # what was taken comes again when its lease ends
            log.warning("the outbox cannot be followed at this moment: %s", type(error).__name__)
            await asyncio.sleep(pause_after(failures).total_seconds())
            failures += 1
            continue
        failures = 0
        if entry is not None:
            yield Told(entry, outbox, consumer, worker)
        elif looked_after is None:
            return
        else:
            await asyncio.sleep(looked_after.total_seconds())


async def _recorded(definitions: Definitions, consumer: str, entry: Entry) -> None:
    """Store the AuditEvent that a consumer is told; of an entry that says nothing any more there is nothing to tell."""
    if entry.body is None:
        return
    consent = f"Consent/{entry.body['consent']}/_history/{entry.body['version']}"
    custodian = entry.body["custodian"]
    told = transfer(Direction.OUT, [Touched(consent, custodian, (entry.body["patient"],))], consumer, note=entry.kind)
    requester = Requester(Role.SYSTEM, SERVER, custodian, "HOPERAT", Scopes.parse(""))

    async def recorded() -> None:
        use, unit = definitions.services, Unit()
        await use.audit.add(told, requester, unit, at=use.now())
        await use.committer.commit(unit)

    try:
        await recorded()
    except Outdated:
        await definitions.renew(entering=True)
        await recorded()
