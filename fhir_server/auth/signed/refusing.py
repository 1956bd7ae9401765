"""What is told of a row that does not verify: a line on the log, and an AuditEvent, now and then and not at every look."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from fhir_server.audit.event import Happening, Outcome
from fhir_server.audit.log import AuditLog
from fhir_server.auth.signed.rows import TABLES, Fault, named

LOG = logging.getLogger(__name__)
OWN_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
Refused = Callable[[str, str, Fault], Awaitable[None]]
AGAIN = 3_600.0  # seconds
MOST_KEPT = 1_000
HAPPENED = "access-data"


async def logged(table: str, id: str, fault: Fault) -> None:
    """Say on the log that a row does not verify. An id that the server never gave may be anything: it is not repeated."""
    name = named(table, id) if OWN_ID.fullmatch(id) else f"{table}/(an id that is not the server's)"
    LOG.error("%s %s.%s", name, fault, " See: fhir-facade keys check-access" if table in TABLES else "")


class Refusing:
    """Tells of rows that do not verify. at: the present instant in microseconds since 1970."""

    def __init__(self, log: AuditLog, at: Callable[[], int]) -> None:
        self._log = log
        self._at = at
        self._told: OrderedDict[tuple[str, str, Fault], float] = OrderedDict()

    async def __call__(self, table: str, id: str, fault: Fault) -> None:
        """Tell of one, unless it was told within the last hour; raises what storing the AuditEvent raises."""
        found, now = (table, id, fault), time.monotonic()
        if now - self._told.get(found, -AGAIN) < AGAIN:
            return
        await logged(table, id, fault)
        note = f"{named(table, id) if OWN_ID.fullmatch(id) else table} {fault}"
        await self._log.record(Happening(HAPPENED, Outcome.REFUSED, 403, note=note), None, at=self._at())
        self._told[found] = now
        while len(self._told) > MOST_KEPT:
            self._told.popitem(last=False)
