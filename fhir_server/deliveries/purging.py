"""Purging what was received for a visit, so many days after it: one process does it; if it dies, another goes on.

The steps of one delivery, each durable before the next, each the same if it is done again:

    begun      its row says so: no unit of the delivery is stored any more
    buried     its records are gone, history and index terms included, and tombstones stand in their place
    destroyed  its wrapped keys are gone: no copy of the records opens again, wherever it lies
    finished   its row and an AuditEvent say what was purged

A delivery that was begun is gone on with, whoever began it. What a copy of the database brings back that was made before
is due as it stands there, and purged again as soon as a server runs on it.

When a delivery is due is worked out from the visit. Its row says only when to look next: once a day, and at the start, all
are looked at of which a record or a key is left. A row that is not as it was stored is believed in nothing; then the day
counts on which the records came, as their own documents say, which are marked.

The same process removes the emergency accesses whose time on file is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from fhir_server.audit.event import Happening, Touched
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Scopes
from fhir_server.crypto.sealing import Unsealable
from fhir_server.deliveries.burying import burial
from fhir_server.deliveries.delivery import PURGED, PURGING, Delivery, due
from fhir_server.errors import Conflict
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services
from fhir_server.interactions.storing import again
from fhir_server.store.commit import Unit
from fhir_server.store.instants import moment
from fhir_server.store.keys import DataKeys, Unreadable
from fhir_server.store.lease import Lease
from fhir_server.store.received import DELIVERIES, HELD, delivery_of
from fhir_server.store.resources import Document, Ungated

JOB = "purging"
LOOKED_AFTER_SECONDS = 60.0
LOOKED_AGAIN = timedelta(days=1)  # a visit's end may be written, or changed, after it was looked at
WHY = Ungated("when what was received for a visit is purged")
LEASE = timedelta(seconds=60)
DAY = 86_400_000_000  # µs
BATCH = 100  # resources in one unit
SERVER = "Device/fhir-facade"
UNKNOWN = "unknown"  # stands for an institution of which nothing is left

log = logging.getLogger(__name__)


class Purging:
    """Looks after what is due, as long as the process lives; the command line has it done once."""

    def __init__(
        self, database: AsyncDatabase[dict[str, Any]], keys: DataKeys, services: Callable[[], Services]
    ) -> None:
        self._database = database
        self._keys = keys
        self._services = services
        self._lease = Lease(database, JOB, LEASE)
        self._looked: datetime | None = None  # when all were last looked at, by this process

    async def forever(self) -> None:
        """Purge whatever is due, now and from now on."""
        while True:
            try:
                await self.once()
            except (PyMongoError, Conflict, Unsealable) as error:  # tried again: what was done is not done twice
                log.warning("purging stopped: %s", type(error).__name__)
            await asyncio.sleep(LOOKED_AFTER_SECONDS)

    async def once(self) -> list[Delivery] | None:
        """Purge what is due now; return the deliveries that were purged, None if another process is at it."""
        if not await self._lease.taken():
            return None
        done: list[Delivery] = []
        async for each in self.due():
            try:
                async for _ in self.steps(each):
                    if not await self._lease.taken():
                        return done
            except (Conflict, Unsealable) as error:  # it keeps no other from being purged, and is tried again
                log.warning("a delivery was not purged: %s", type(error).__name__)
            else:
                done.append(each)
        await self._reviewed()
        await self._lease.give_up()
        return done

    async def _reviewed(self) -> None:
        """Remove the emergency accesses that were reviewed and have been on file for long enough."""
        use = self._services()
        if count := await use.emergencies.expire(use.now() - use.settings.emergencies_kept_days * DAY):
            log.info("%d emergency accesses were on file for long enough", count)

    async def due(self, *, looking: bool = False) -> AsyncIterator[Delivery]:
        """Yield the deliveries that are due by what is known of their visits now. looking: nothing is noted."""
        use, now = self._services(), self._services().clock()
        whole = looking or self._looked is None or not self._looked <= now < self._looked + LOOKED_AGAIN
        for id in await (use.deliveries.every() if whole else use.deliveries.ripe(now)):
            each = await self._known(use, id)
            if each is None:
                continue
            if each.state == PURGED and not await use.deliveries.brought(id, most=1):
                if not looking:  # a copy brought it back, or a write made it that was refused: it is no use to anybody
                    await self._keys.destroy(id)
                continue
            until = await self._until(use, each)
            if each.state != HELD or until <= now:
                yield replace(each, due=until)
            elif until != each.due and not looking:
                await use.deliveries.put_off(each, until)
        if whole and not looking:
            self._looked = now

    async def _known(self, use: Services, id: str) -> Delivery | None:
        """Return a delivery as its row says, or its records; None for one that is just coming, or never came."""
        known, row = await use.deliveries.read(id)
        return known or await told_by_records(use, id, row)

    async def steps(self, delivery: Delivery) -> AsyncIterator[str]:
        """Purge a delivery; yield the name of each step once it is durable."""
        use = self._services()
        await use.deliveries.begin(delivery)
        yield "begun"
        while brought := await use.deliveries.brought(delivery.id, most=BATCH):
            await self._bury(use, delivery, brought)
            yield "buried"
        _, names = await use.deliveries.noted(delivery.id)
        await self._keys.destroy(delivery.id, names)
        yield "destroyed"
        await self._finish(use, delivery)
        yield "finished"

    async def _bury(self, use: Services, delivery: Delivery, brought: list[str]) -> None:
        async def buried() -> None:
            await use.committer.commit(await burial(self._database, delivery.id, brought, self._keys, at=use.now()))

        await again(buried)

    async def _finish(self, use: Services, delivery: Delivery) -> None:
        """Store that the delivery was purged, together with the AuditEvents for who received it and for who sent it."""
        (counts, _), at, unit = await use.deliveries.noted(delivery.id), use.now(), Unit()
        row = use.deliveries.row(replace(delivery, state=PURGED))
        found = {"_id": delivery.id, "state": PURGING}
        unit.replace(DELIVERIES, found, {**row, "counts": counts, "purged": use.clock()})
        await use.audit.add(happened(delivery, counts), requester(delivery), unit, at=at)
        await use.committer.commit(unit)
        log.info("delivery %s purged: %d records", delivery.id, sum(counts.values()))

    async def _until(self, use: Services, delivery: Delivery) -> datetime:
        """Return when a delivery is due by its visit as it stands now."""
        found = (await use.resources.many("Encounter", [delivery.visit], WHY)).get(delivery.visit)
        try:
            (body,) = await use.resources.opened("Encounter", [found]) if found else [b"null"]
        except (Unsealable, Unreadable):  # as if there were none: what was changed keeps nothing from being purged
            body = b"null"
        return due(parse(body), delivery.received, zone=use.zone, days=use.settings.received_days)


async def told_by_records(use: Services, id: str, row: Mapping[str, Any] | None) -> Delivery | None:
    """Return what the records of a delivery say of it, whose row is not to be believed; None if there is neither.

    The visit is not known then. Where no record says when it came, it is as if that were long ago.
    """
    wanted = defaultdict[str, list[str]](list)
    for each in await use.deliveries.brought(id):
        type, _, name = each.partition("/")
        wanted[type].append(name)
    found: list[Document] = []
    for type, ids in wanted.items():
        there = (await use.resources.many(type, ids, WHY)).values()
        found += [each for each in there if delivery_of(each) == id and use.resources.marks.fits(type, each)]
    if row is None and not found:
        return None
    said = row or {}
    source = found[0]["org"] if found else said.get("source", UNKNOWN)
    patient = next((patient for each in found for patient in each.get("pr", ())), "")
    received = moment(min((each["at"] for each in found), default=0))
    return Delivery(id, said.get("org", source), source, patient, "", received, received, said.get("state", HELD))


def happened(delivery: Delivery, counts: Mapping[str, int]) -> Happening:
    """Return what is recorded of a purge: which delivery and how many records of each type, nothing of what they said."""
    said = ", ".join(f"{type} {number}" for type, number in counts.items())
    visits = (Touched(f"Encounter/{delivery.visit}", None, (delivery.patient,)),) if delivery.visit else ()
    note = f"delivery {delivery.id} purged: {said or 'nothing was left'}"
    return Happening("purge", touched=visits, concerned=frozenset({delivery.source}), note=note)


def requester(delivery: Delivery) -> Requester:
    """Return in whose name a delivery is purged: the server's, for the institution that received it."""
    return Requester(Role.SYSTEM, SERVER, delivery.institution, "HOPERAT", Scopes.parse(""))
