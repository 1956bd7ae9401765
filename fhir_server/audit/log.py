"""The audit log: AuditEvents are stored like every resource, sealed, in the unit of what they tell of."""

from __future__ import annotations

import uuid

from fhir_server.audit.event import Happening, audit_event
from fhir_server.auth.requester import Requester
from fhir_server.fhir_json import dump
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.resources import sealed
from fhir_server.store.shadow import Membership, Shadows

OWNER = Owner(None, "audit")


class AuditLog:
    """Writes AuditEvents. One data key seals them all: they are the server's own records, not a person's."""

    def __init__(self, shadows: Shadows, keys: DataKeys, committer: Committer) -> None:
        self._shadows = shadows
        self._keys = keys
        self._committer = committer
        self._key = keys.name(OWNER)

    async def add(self, happening: Happening, requester: Requester | None, unit: Unit, *, at: int) -> None:
        """Add the AuditEvent of what happens to the unit of what it writes: both are stored, or neither."""
        event = audit_event(happening, requester, id=str(uuid.uuid4()), at=at)
        concerned = happening.concerned | ({requester.organization} if requester else set())
        document = self._shadows.of(event, at=at, custodian="", members=Membership(), labels=(), extra=())
        keys = await self._keys.for_writing([OWNER])
        body = sealed(keys[self._key], "AuditEvent", event["id"], 1, dump(event))
        unit.insert("AuditEvent", {**document, "org": sorted(concerned), "k": self._key, "body": body})

    async def record(self, happening: Happening, requester: Requester | None, *, at: int) -> None:
        """Store the AuditEvent of what happened; return when it is durable."""
        unit = Unit()
        await self.add(happening, requester, unit, at=at)
        await self._committer.commit(unit)
