"""The audit log: AuditEvents are stored like every resource, sealed, in the unit of what they tell of."""

from __future__ import annotations

from typing import Any

from fhir_server.audit.event import Happening, audit_event
from fhir_server.audit.filing import Filing
from fhir_server.audit.links import COVERED
from fhir_server.audit.where import address
from fhir_server.auth.policy import SERVER
from fhir_server.auth.requester import Requester
from fhir_server.fhir_json import dump
from fhir_server.search.project import Projector
from fhir_server.store.bodies import sealed
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.common import common, split
from fhir_server.store.ids import new_id
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.shadow import Document, Shadows

OWNER = Owner(None, "audit")


class AuditLog:
    """Writes AuditEvents. One data key seals them all: they are the server's own records, not a person's."""

    def __init__(self, projector: Projector, shadows: Shadows, keys: DataKeys, committer: Committer) -> None:
        self._shadows = shadows
        self._filed = Filing(projector, shadows.term)
        self._keys = keys
        self._committer = committer
        self._key = keys.name(OWNER)

    async def add(self, happening: Happening, requester: Requester | None, unit: Unit, *, at: int) -> None:
        """Add to the unit of what happens the AuditEvents that tell of it: all is stored, or nothing.

        There is one for the institution of the requester, and one for every other whose records it is about.
        """
        keys = await self._keys.for_writing([OWNER])
        theirs, where = requester.organization if requester else SERVER, address()
        for institution, share in happening.shares(theirs):
            event = audit_event(share, requester, id=new_id(), at=at, own=institution == theirs, address=where)
            document = {
                "_id": event["id"],
                "v": 1,
                "at": at,
                "org": institution,
                "w": {"lo": at, "hi": at},
                "k": self._key,
                "body": sealed(keys[self._key], "AuditEvent", event["id"], 1, dump(event)),
            }
            kind = (share.interaction, share.outcome, share.status, share.note, requester, where)
            marked = self._keys.marks.marked("AuditEvent", document)
            unit.insert("AuditEvent", marked | self._filed(event, kind, at=at))

    def refiled(self, type: str, document: Document, event: dict[str, Any]) -> Document:
        """Return a stored event filed anew: sealed as it is."""
        kept = {key: value for key, value in document.items() if key in COVERED}
        return self._keys.marks.marked(type, {**kept, **self.filed_under(event)})

    def filed_under(self, event: dict[str, Any]) -> Document:
        """Return what an event is filed under."""
        return split(self._shadows.index(event), common("AuditEvent", self._shadows.term))

    async def record(self, happening: Happening, requester: Requester | None, *, at: int) -> None:
        """Store the AuditEvent of what happened; return when it is durable."""
        unit = Unit()
        await self.add(happening, requester, unit, at=at)
        await self._committer.commit(unit)
