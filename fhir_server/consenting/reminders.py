"""What happens to authorizations by the clock: a request that nobody answers expires; before one ends, the patient is told.

One worker does it at a time (store/lease.py). Each version of a Consent is reminded of once: the row that says so is stored
in the unit of the message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from fhir_server.audit.event import Happening
from fhir_server.consenting.asked import Request, State
from fhir_server.consenting.holding import Held, held
from fhir_server.consenting.life_cycle import LifeCycle
from fhir_server.consenting.names import name_of
from fhir_server.consenting.rows import Row
from fhir_server.consenting.versions import reminder_notice
from fhir_server.consenting.ways.addresses import number_of
from fhir_server.consenting.ways.transport import Message, Queue
from fhir_server.consenting.words import reminder
from fhir_server.crypto.sealing import Unsealable
from fhir_server.errors import Problem
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services, touched
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft
from fhir_server.store.ids import new_id
from fhir_server.store.instants import microseconds, moment
from fhir_server.store.keys import Unreadable
from fhir_server.store.lease import Lease
from fhir_server.store.resources import Ungated

LOOKED_AFTER_SECONDS = 30.0
LEASE = timedelta(seconds=120)
WHY = "a reminder before an authorization ends"
SENDER = "【健康数据授权】"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """How many requests expired, how many patients were reminded."""

    expired: int = 0
    reminded: int = 0


class Reminders:
    """Looks after what is due, as long as the process lives; the command line has it done once."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        services: Callable[[], Services],
        queue: Queue | None,
    ) -> None:
        """queue: of messages to patients; None where none can be sent: then the notice on their page is all."""
        self._services = services
        self._queue = queue
        self._lease = Lease(database, "authorizations", LEASE)

    @property
    def _cycle(self) -> LifeCycle:
        return self._services().consenting

    async def forever(self) -> None:
        """Do what is due, now and from now on."""
        while True:
            try:
                await self.once()
            except (PyMongoError, Problem) as error:  # tried again: what was done is not done twice
                log.warning("reminders stopped: %s", type(error).__name__)
            await asyncio.sleep(LOOKED_AFTER_SECONDS)

    async def once(self) -> Done | None:
        """Do what is due now; return how much it was, None if another process is at it."""
        if not await self._lease.taken():
            return None
        try:
            expired = await self._each(self._cycle.rows.overdue(self._services().now()), self._expire)
            return Done(expired, await self._each(self._ending(), self._remind))
        finally:
            await self._lease.give_up()

    def _ending(self) -> AsyncIterator[Row]:
        use = self._services()
        soon = use.clock() + timedelta(days=use.settings.remind_days)
        return self._cycle.rows.ending(use.now(), microseconds(soon))

    async def _each(self, rows: AsyncIterator[Row], done: Callable[[Row], Any]) -> int:
        """Return how many rows something was done for. What one of them meets with does not keep the others."""
        count = 0
        async for row in rows:
            if not await self._lease.taken():
                break
            try:
                count += bool(await done(row))
            # Answered meanwhile, or purged: looked at again next time.
            except (Problem, Unreadable, Unsealable) as error:
                log.info("an authorization is looked at again: %s", type(error).__name__)
        return count

    async def _expire(self, row: Row) -> bool:
        await self._cycle.expire(row)
        return True

    async def _remind(self, row: Row) -> bool:
        use, unit = self._services(), Unit()
        at, found = use.now(), await held(use, self._cycle.rows, row.consent)
        tells = found is not None and found.request is not None and self._stands(found, row)
        if found is not None and found.request is not None and tells:
            await self._tell(use, found, found.request, unit, at)
        self._cycle.rows.put(row, replace(row, reminded=row.version), unit)
        await use.committer.commit(unit)
        return tells

    async def _tell(self, use: Services, found: Held, request: Request, unit: Unit, at: int) -> None:
        """Add to the unit the notice among the patient's records, the message if one can be sent, and the AuditEvent."""
        who = await name_of(use.resources, f"Organization/{request.organization}")
        text, place = reminder(request, who, zone=use.zone), f"Consent/{request.consent}/_history/{found.document['v']}"
        notice = Draft(reminder_notice(request.patient, place, text, at=at), new_id(), found.document["org"])
        made, *_ = await use.writer.store([notice], at=at)
        unit.join(made)
        if self._queue:
            self._queue.add(await self._message(use, request, text, at), unit)
        note = Happening("operation", touched=(touched("Consent", found.document),), note="authorization: reminder")
        await use.audit.add(note, None, unit, at=at)

    async def _message(self, use: Services, request: Request, text: str, at: int) -> Message:
        """Return the message: to the telephone number that is known of the patient, else to their page or app."""
        read = await use.resources.read("Patient", request.patient, Ungated(WHY))
        bodies = await use.resources.opened("Patient", [read]) if read else []
        number = next((number_of(parse(each), moment(at), use.zone) for each in bodies), None)
        channel, to = ("sms", number) if number else ("app", f"Patient/{request.patient}")
        return Message(channel, to, SENDER + text, request.patient, at)

    def _stands(self, found: Held, row: Row) -> bool:
        """Return whether the Consent is still as the server wrote it, and holds."""
        return (
            found.document["v"] == row.version
            and row.state is State.ACTIVE
            and moment(row.until) > self._services().clock()
        )
