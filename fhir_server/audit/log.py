"""The audit log: AuditEvents are stored like every resource, sealed, in the unit of what they tell of."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from fhir_server.audit.event import Happening, audit_event
from fhir_server.auth.policy import SERVER
from fhir_server.auth.requester import Requester
from fhir_server.fhir_json import dump
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.ids import new_id
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.resources import sealed
from fhir_server.store.shadow import Document, Shadows

OWNER = Owner(None, "audit")
# The elements in which events of one kind differ.
VARYING = ("id", "meta", "recorded", "entity")
KNOWN_KINDS = 10_000


class AuditLog:
    """Writes AuditEvents. One data key seals them all: they are the server's own records, not a person's."""

    def __init__(self, shadows: Shadows, keys: DataKeys, committer: Committer) -> None:
        self._shadows = shadows
        self._keys = keys
        self._committer = committer
        self._key = keys.name(OWNER)
        self._shared: dict[Hashable, dict[str, Any]] = {}

    async def add(self, happening: Happening, requester: Requester | None, unit: Unit, *, at: int) -> None:
        """Add to the unit of what happens the AuditEvents that tell of it: all is stored, or nothing.

        There is one for the institution of the requester, and one for every other whose records it is about.
        """
        keys = await self._keys.for_writing([OWNER])
        for institution, share in happening.shares(requester.organization if requester else SERVER):
            event = audit_event(share, requester, id=new_id(), at=at)
            document = {
                "_id": event["id"],
                "v": 1,
                "at": at,
                "org": institution,
                "w": {"lo": at, "hi": at},
                "k": self._key,
                "body": sealed(keys[self._key], "AuditEvent", event["id"], 1, dump(event)),
            }
            unit.insert("AuditEvent", document | self._index(event, share, requester))

    def _index(self, event: dict[str, Any], happening: Happening, requester: Requester | None) -> dict[str, Any]:
        """Return the index fields of an event: what all events of a kind share is worked out once.

        The projection of a resource is the union of those of its parts, so the parts can be taken apart.
        """
        kind = (happening.interaction, happening.outcome, happening.status, happening.note, requester)
        shared = self._shared.get(kind)
        if shared is None:
            same = {name: value for name, value in event.items() if name not in VARYING}
            if len(self._shared) > KNOWN_KINDS:
                self._shared.clear()
            shared = self._shared[kind] = self._shadows.index(same)
        differing = {name: event[name] for name in ("resourceType", *VARYING) if name in event}
        own = self._shadows.index(differing)
        # Only the time of an event has a range and a sort value, and it differs.
        return {**own, **{field: sorted({*shared[field], *own[field]}) for field in ("ix", "has")}, **_led(shared, own)}

    def refiled(self, type: str, document: Document, event: dict[str, Any]) -> Document:
        """Return a stored event filed anew: sealed as it is."""
        kept = {key: document[key] for key in ("_id", "v", "at", "org", "w", "k", "body")}
        return {**kept, **self._shadows.index(event)}

    async def record(self, happening: Happening, requester: Requester | None, *, at: int) -> None:
        """Store the AuditEvent of what happened; return when it is durable."""
        unit = Unit()
        await self.add(happening, requester, unit, at=at)
        await self._committer.commit(unit)


def _led(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the field of what both parts lead to, if they lead anywhere."""
    first, second = shared.get("to", {}), own.get("to", {})
    joined = {code: [*first.get(code, ()), *second.get(code, ())] for code in {**first, **second}}
    return {"to": {code: sorted(set(led)) for code, led in joined.items()}} if joined else {}
