"""Who brings what a patient gave them: whether a code is theirs to enter, and which scans they may read.

A code is for who asked, a person of an institution, or a system by its client: what the patient was told is who that is. A
colleague asks anew. The patient, and who speaks for them, may enter it as well (holding.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.auth.requester import INSTITUTIONAL, Requester, Role
from fhir_server.consenting.asked import Request
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call, Services, disclosed, gate_for
from fhir_server.interactions.notice import record
from fhir_server.redaction.showing import shown
from fhir_server.store.keys import Unreadable
from fhir_server.store.resources import Document


def in_name_of(requester: Requester, request: Request) -> Request:
    """Return a request as this requester asks it."""
    client = requester.client if requester.role is Role.SYSTEM else None
    return replace(request, organization=requester.organization, user=requester.user, client=client)


@dataclass(frozen=True, slots=True)
class Bringing:
    """One request that brings something."""

    use: Services
    call: Call

    def may_enter(self, request: Request) -> bool:
        """Return whether a code to this request is theirs to enter: if they asked, or answer as the patient."""
        requester = self.call.requester
        return requester.role not in INSTITUTIONAL or in_name_of(requester, request) == request

    async def read(self, type: str, id: str) -> tuple[Document, Mapping[str, Any]] | None:
        """Return a record as the requester is shown it, recorded as a read; None if there is none that they may read.

        Raises Forbidden if their scopes allow to read nothing of the type.
        """
        gate = gate_for(self.use, self.call, type, "r")
        document = await self.use.resources.read(type, id, gate)
        if document is None:
            return None
        try:
            (body,) = await shown(self.use, gate, type, [document])
        except Unreadable:
            return None
        await record(self.use, self.call, disclosed("read", type, [document], gate))
        return document, parse(body)
