"""An audit log of one's own on a real database, and what somebody with raw access to the database does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.audit.anchors import ANCHORS, Anchor
from fhir_server.audit.event import Happening, Touched
from fhir_server.audit.findings import Report
from fhir_server.audit.verifying import verified
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Scopes
from fhir_server.crypto.keyring import Keyring
from fhir_server.settings import Settings

Json = dict[str, Any]
DOCTOR = Requester(Role.PRACTITIONER, "Practitioner/dr", "org1", "TREAT", Scopes.parse("user/*.rs"), client="chart")


@dataclass
class Log:
    """A process that writes events, and the raw collections behind its back."""

    parts: Parts
    keyring: Keyring

    @property
    def events(self) -> Any:
        return self.parts.database["AuditEvent"]

    @property
    def anchors(self) -> Any:
        return self.parts.database[ANCHORS]

    async def write(self, count: int, *, together: bool = True) -> None:
        """Store events: all at once, so that they share rounds, or one after the other."""
        done = [self.record(n) for n in range(count)]
        if together:
            await asyncio.gather(*done)
        else:
            for each in done:
                await each

    async def record(self, n: int, at: int | None = None) -> None:
        use = self.parts.services
        happening = Happening("read", touched=(Touched(f"Patient/p{n}/_history/1", "org1", (f"p{n}",)),))
        await use.audit.record(happening, DOCTOR, at=at or use.now())

    async def chained(self) -> list[Json]:
        """Return the events of the chain, in its order."""
        return list(await self.events.find({"chain": {"$exists": True}}).sort("chain.n", 1).to_list())

    async def event(self, n: int) -> Json:
        found: Json = await self.events.find_one({"chain.n": n})
        return found

    async def put(self, document: Json) -> None:
        await self.events.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def verified(self, **asked: Any) -> Report:
        return await verified(self.parts.database, self.keyring, **asked)

    async def found(self, **asked: Any) -> list[tuple[str, int, int]]:
        """Return kind, first and last number of what a verification finds."""
        report = await self.verified(**asked)
        return sorted((str(each.kind), each.first, each.last) for each in report.findings)

    async def newest(self) -> Anchor:
        (row,) = await self.anchors.find().sort("_id", -1).limit(1).to_list()
        anchor = Anchor.read(row)
        assert anchor
        return anchor


@asynccontextmanager
async def opened(uri: str, folder: Path, database: str, *, closed: bool = True) -> AsyncIterator[Log]:
    """Yield the log of a new process. closed: it ends in order, else as if it were killed."""
    settings = Settings.load(folder, database=database, zone="UTC", mongodb_uri=uri)
    keyring = keyring_of(settings)
    parts = assemble(settings, keyring, uri=uri)
    await parts.collections.ensure("AuditEvent")
    try:
        yield Log(parts, keyring)
    finally:
        await (parts.close() if closed else parts.client.close())
