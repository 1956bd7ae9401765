"""The log as those write to it who tell of what happens: what no institution is to learn by it does not reach it.

A person who acts for themselves is named to each institution by the Patient that it knows (ADR 36): which other Patients they
are, and by which institution they came, would tell it who else knows them. Refusals of nobody known are gathered
(gathering.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fhir_server.audit.event import Happening, Outcome
from fhir_server.audit.filing import Filing
from fhir_server.audit.gathering import Gathering
from fhir_server.audit.log import AuditLog
from fhir_server.audit.refiling import Refiling
from fhir_server.auth.requester import Requester, Role
from fhir_server.search.project import Projector
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.keys import DataKeys
from fhir_server.store.persons import Persons
from fhir_server.store.shadow import Shadows

# Who acted, told to an institution that knows none of their Patients by what it was about; and where they came from.
SOMEBODY, ELSEWHERE = "Patient/not-told", "fhir-facade"


class ToldLog(AuditLog):
    """The audit log that is told no more than each institution may know."""

    def __init__(
        self, projector: Projector, shadows: Shadows, keys: DataKeys, committer: Committer, persons: Persons
    ) -> None:
        super().__init__(projector, shadows, keys, committer)
        self._files = (projector, shadows.term)
        self._persons = persons
        self.gathering = Gathering(lambda happening, at: self._strangers(happening, at=at))

    def refiling(self) -> Refiling:
        """Return what works out, for one verification, what stored events are filed under."""
        return Refiling(Filing(*self._files))

    async def record(self, happening: Happening, requester: Requester | None, *, at: int) -> None:
        """Store the AuditEvent of what happened; return when it is durable, or gathered with others of its minute."""
        if requester is None and happening.outcome is Outcome.REFUSED:
            await self.gathering.record(happening, at=at)
        else:
            await super().record(happening, requester, at=at)

    async def add(self, happening: Happening, requester: Requester | None, unit: Unit, *, at: int) -> None:
        """Add to the unit of what happens the AuditEvents that tell of it: all is stored, or nothing."""
        if requester is None or requester.role is not Role.PATIENT:
            await super().add(happening, requester, unit, at=at)
            return
        own = requester.organization
        if not happening.withheld:
            await super().add(_of_nobody_else(happening), requester, unit, at=at)
        for institution, share in happening.shares(own):
            if institution != own:
                known = replace(requester, user=await self._known(requester, share), organization=ELSEWHERE)
                told = replace(share, concerned=frozenset({institution}), withheld=True)
                await super().add(told, known, unit, at=at)

    async def _known(self, requester: Requester, share: Happening) -> str:
        """Return by which Patient an institution knows a person: one that its records here name; else nobody's."""
        own = requester.user.removeprefix("Patient/")
        named = sorted({patient for each in share.touched for patient in each.patients})
        if not named:
            return SOMEBODY
        keys: Mapping[str, Any] = await self._persons.keys([own, *named])
        return next((f"Patient/{each}" for each in named if keys[each] == keys[own]), SOMEBODY)

    async def _strangers(self, happening: Happening, *, at: int) -> None:
        await super().record(happening, None, at=at)


def _of_nobody_else(happening: Happening) -> Happening:
    """Return what happened as the auditors of the requester's institution alone are to know of it."""
    touched = tuple(each._replace(custodian=None) for each in happening.touched)
    return replace(happening, touched=touched, concerned=frozenset())
