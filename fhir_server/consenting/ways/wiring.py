"""How the ways of verification are joined, once for each process, and the page on which messages are seen in trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.ways import transport
from fhir_server.consenting.ways.app import App
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.coded import sms, third_party
from fhir_server.consenting.ways.codes import Codes
from fhir_server.consenting.ways.desk import Desk, PersonKeys
from fhir_server.consenting.ways.guardian import Guardian
from fhir_server.consenting.ways.paper import Paper
from fhir_server.consenting.ways.transport import Queue, Sending, StandIn
from fhir_server.consenting.ways.way import Way
from fhir_server.crypto.keyring import Keyring
from fhir_server.settings import Settings
from fhir_server.store.resources import Resources

Database = AsyncDatabase[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways by their codes, and what sends their messages.

    sending, stand_in: None where no messages can be sent.
    """

    by_code: Mapping[str, Way]
    codes: Codes
    database: Database
    sending: Sending | None
    stand_in: StandIn | None

    async def ensure(self) -> None:
        """Make the indexes of what the ways store."""
        await self.codes.ensure()
        await transport.ensure(self.database)


def opened(
    settings: Settings,
    keyring: Keyring,
    database: Database,
    *,
    resources: Resources,
    persons: PersonKeys,
    clock: Callable[[], datetime],
) -> Ways:
    """Return the ways of an installation."""
    box = Box(keyring)
    queue, codes = Queue(database, box), Codes(database, box)
    stand_in = StandIn(database, box, clock) if settings.message_stand_in else None
    desk = Desk(
        database=database,
        resources=resources,
        persons=persons,
        codes=codes,
        queue=queue,
        zone=ZoneInfo(settings.zone),
        origin=settings.origin,
        sends=stand_in is not None,
    )
    ways: tuple[Way, ...] = (App(desk), sms(desk), third_party(desk), Paper(desk, box), Guardian(desk))
    sending = Sending(queue, stand_in, clock) if stand_in else None
    return Ways({each.code: each for each in ways}, codes, database, sending, stand_in)
