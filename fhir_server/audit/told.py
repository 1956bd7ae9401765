"""The log as those write to it who tell of what happens: what no institution is to learn by it does not reach it.

A person who acts for themselves is named to each institution by the Patient that it knows (ADR 36): which other Patients they
are, and by which institution they came, would tell it who else knows them. That the glass was broken, and why, is told
to the requester's institution and to those whose records it has opened, who review it (ADR 38): to any other it would tell
that there are records elsewhere which nothing else opened, and the reason is about somebody whom it may not know. Refusals
of nobody known are gathered (gathering.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fhir_server.audit.basis import NOT_TOLD
from fhir_server.audit.event import Happening, Outcome
from fhir_server.audit.filing import Filing
from fhir_server.audit.gathering import Gathering
from fhir_server.audit.happenings import BROKEN
from fhir_server.audit.log import AuditLog
from fhir_server.audit.refiling import Refiling
from fhir_server.auth.requester import Requester, Role
from fhir_server.search.project import Projector
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.keys import DataKeys
from fhir_server.store.persons import Persons
from fhir_server.store.shadow import Shadows

# Who acts for nobody but patients. What they see elsewhere is no business of the institution that they came by, which would
# learn by it who else keeps records of the patient; of its own users an institution knows all that they were told.
PRIVATE = frozenset({Role.PATIENT, Role.RELATED_PERSON})
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
        if requester is None or not (requester.role in PRIVATE or requester.reason):
            await super().add(happening, requester, unit, at=at)
            return
        own = requester.organization
        if not happening.withheld:
            told = _without_others(happening, own) if requester.role in PRIVATE else happening
            await super().add(_of_nobody_else(told), requester, unit, at=at)
        for institution, share in happening.shares(own):
            if institution != own:
                known, told = await self._as_told(requester, institution, share)
                told = replace(told, concerned=frozenset({institution}), withheld=True)
                await super().add(told, known, unit, at=at)

    async def _as_told(self, requester: Requester, institution: str, share: Happening) -> tuple[Requester, Happening]:
        """Return who another institution is told that it was, and what."""
        if requester.role is Role.PATIENT:
            return replace(requester, user=await self._known(requester, share), organization=ELSEWHERE), share
        if any(custodian == institution for _, custodian in share.notified):
            return requester, share
        return replace(requester, reason=requester.reason and NOT_TOLD), _without_emergency(share)

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


def _without_emergency(share: Happening) -> Happening:
    """Return what happened to records that no emergency has opened: whether one lasts is told by what it opened elsewhere."""
    note = " ".join(each for each in (share.note or "").split() if each != BROKEN) or None
    return replace(share, note=note, basis=share.basis and replace(share.basis, closed=False))


def _without_others(happening: Happening, own: str) -> Happening:
    """Return what happened without the names of records that other institutions keep; each is told of its own."""
    kept = tuple(each for each in happening.touched if each.custodian in (own, None))
    if len(kept) == len(happening.touched) and not happening.concerned - {own}:
        return happening
    count = len(happening.touched) if happening.count is None else happening.count
    return replace(happening, touched=kept, count=count, query=happening.query and unnamed(happening.query))


def unnamed(query: str) -> str:
    """Return what was asked, without the ids and values by which it was.

    >>> unnamed("Patient/q/Observation?date=2026&_count=5"), unnamed("Patient/q/$everything")
    ('Observation?date=&_count=', '$everything')
    """
    path, _, asked = query.partition("?")
    names = [(name, "") for name, _ in parse_qsl(asked, keep_blank_values=True)]
    return path.rpartition("/")[2] + (f"?{urlencode(names)}" if names else "")


def _of_nobody_else(happening: Happening) -> Happening:
    """Return what happened as the auditors of the requester's institution alone are to know of it."""
    touched = tuple(each._replace(custodian=None) for each in happening.touched)
    return replace(happening, touched=touched, concerned=frozenset())
