"""What happens to authorizations by the clock: a request that nobody answers expires; before one ends, the patient is told;
when it has ended, those outside are.

One worker does it at a time (store/lease.py). Each version of a Consent is reminded of once, and its end told once: the row
that says so is stored in the unit of the message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from consent_engine.elements import relative_reference
from fhir_server.audit.happenings import Step, consent_step
from fhir_server.consenting.ends import End
from fhir_server.consenting.following import Kind, Version, denies, tell, version_of
from fhir_server.consenting.life_cycle import LifeCycle
from fhir_server.consenting.names import NAMED, name_of
from fhir_server.consenting.renewing import mend, renewed
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
from fhir_server.store.instants import moment
from fhir_server.store.keys import Unreadable
from fhir_server.store.lease import Lease
from fhir_server.store.resources import Ungated

LOOKED_AFTER_SECONDS = 30.0
LEASE = timedelta(seconds=120)
WHY = "a reminder before an authorization ends"
SENDER = "【健康数据授权】"
SOMEBODY = "您指定的人"
DAY = 86_400_000_000  # µs
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """How many requests expired, how many patients were reminded, how many authorizations have ended."""

    expired: int = 0
    reminded: int = 0
    ended: int = 0


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
        self._renewed_at: int | None = None  # when the rows were last held to the Consents, by this process

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
            now, use = self._services().now(), self._services()
            await self._renew(use, now)
            expired = await self._each(self._cycle.rows.overdue(now), self._cycle.expire)
            ended = await self._each(self._cycle.ends.past(now), self._end)
            soon = now + use.settings.remind_days * DAY
            reminded = await self._each(self._cycle.ends.coming(now, soon), self._remind)
            await self._cycle.outbox.purge(now - use.settings.outbox_retention_days * DAY)
            return Done(expired, reminded, ended)
        finally:
            await self._lease.give_up()

    async def _each(self, rows: AsyncIterator[T], done: Callable[[T], Awaitable[bool]]) -> int:
        """Return how many rows something was done for. What one of them meets with does not keep the others."""
        count = 0
        async for row in rows:
            if not await self._lease.taken():
                break
            try:
                count += await done(row)
            # Answered meanwhile, or purged: looked at again next time.
            except (Problem, Unreadable, Unsealable) as error:
                log.info("an authorization is looked at again: %s", type(error).__name__)
        return count

    async def _renew(self, use: Services, now: int) -> None:
        """Once a day, and at the start, hold the rows of ends to the Consents that they tell of."""
        if self._renewed_at is not None and now < self._renewed_at + DAY:
            return
        count = 0
        async for mended in renewed(use):
            count += mended
            if not await self._lease.taken():
                return
        self._renewed_at = now
        if count:
            log.warning("%d authorizations had no note of their end, or another one than they say", count)

    async def _end(self, end: End) -> bool:
        """Tell those outside that an authorization has ended by itself."""
        use, unit = self._services(), Unit()
        at, found = use.now(), await self._at(end)
        if found and await mend(use, found, end):
            return False
        if found:
            await tell(use, Kind.EXPIRED, found, found, unit, at=at)
            event = consent_step(Step.EXPIRED, touched("Consent", found.document), note="authorization: it has ended")
            await use.audit.add(event, None, unit, at=at)
        self._cycle.ends.close(end, unit)
        await use.committer.commit(unit)
        return found is not None

    async def _remind(self, end: End) -> bool:
        """Tell the patient that what lets somebody in ends soon; that a denial does opens records by itself to nobody."""
        use, unit = self._services(), Unit()
        at, found = use.now(), await self._at(end)
        if found and await mend(use, found, end):
            return False
        tells = found is not None and not denies(found.resource)
        if found and tells:
            await self._tell(use, found, end, unit, at)
        self._cycle.ends.remind(end, unit)
        await use.committer.commit(unit)
        return tells

    async def _at(self, end: End) -> Version | None:
        """Return the version of which an end was noted, None if there is another one by now or nobody is concerned."""
        use = self._services()
        document = await use.resources.read("Consent", end.consent, Ungated(WHY))
        if document is None or document["v"] != end.version:
            return None
        found = await version_of(use, document)
        return found if found and found.person is not None else None

    async def _tell(self, use: Services, found: Version, end: End, unit: Unit, at: int) -> None:
        """Add to the unit the notice among the patient's records, the message if one can be sent, and the AuditEvent."""
        patient, place = found.document["pr"][0], f"Consent/{found.id}/_history/{found.number}"
        text = reminder(moment(end.until), await self._who(use, found), zone=use.zone)
        notice = Draft(reminder_notice(patient, place, text, at=at), new_id(), found.document["org"])
        made, *_ = await use.writer.store([notice], at=at)
        unit.join(made)
        if self._queue:
            self._queue.add(await self._message(use, patient, text, at), unit)
        event = consent_step(Step.REMINDED, touched("Consent", found.document), note="authorization: reminder")
        await use.audit.add(event, None, unit, at=at)

    async def _who(self, use: Services, found: Version) -> str:
        """Return who is let in, by names; people who are no staff are not named in a message."""
        actors = (each.get("reference", {}) for each in found.resource.get("provision", {}).get("actor", ()))
        named = [each for actor in actors if (each := relative_reference(actor))]
        told = [await name_of(use.resources, each) for each in named if each.partition("/")[0] in NAMED]
        return "、".join([*told, *([SOMEBODY] if len(told) < len(named) or not named else [])])

    async def _message(self, use: Services, patient: str, text: str, at: int) -> Message:
        """Return the message: to the telephone number that is known of the patient, else to their page or app."""
        read = await use.resources.read("Patient", patient, Ungated(WHY))
        bodies = await use.resources.opened("Patient", [read]) if read else []
        number = next((number_of(parse(each), moment(at), use.zone) for each in bodies), None)
        channel, to = ("sms", number) if number else ("app", f"Patient/{patient}")
        return Message(channel, to, SENDER + text, patient, at)
