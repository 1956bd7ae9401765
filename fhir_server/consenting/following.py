"""What follows from a version of a Consent, whoever has written it and how: the one rule for steps and for plain writes.

A Consent that holds is told to those outside, in each version that holds, and so is that it holds no more; of one that
holds and has an end it is noted when. Both go into the unit of the write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from consent_engine.vocabulary import DIRECTIVES, Effect
from fhir_server.consenting.asked import State, last_moment, read_request, read_state
from fhir_server.consenting.ends import End
from fhir_server.fhir_json import parse
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft, Removal, Written
from fhir_server.store.instants import microseconds, moment
from fhir_server.store.keys import Owner, Unreadable
from fhir_server.store.resources import Document

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Json = Mapping[str, Any]
OUT = frozenset(code for code, effect in DIRECTIVES.items() if effect is Effect.DENY)


class Kind(StrEnum):
    """What those outside are told of a Consent."""

    ACTIVE = "consent-active"
    REVOKED = "consent-revoked"
    EXPIRED = "consent-expired"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a Consent with the fields of its document (org, pat, pr, v)."""

    resource: Json
    document: Document

    @property
    def id(self) -> str:
        return str(self.document["_id"])

    @property
    def number(self) -> int:
        return int(self.document["v"])

    @property
    def person(self) -> int | None:
        """The person whose Consent it is, None if it is nobody's or of several."""
        key = self.document.get("pat")
        return None if key is None or "pats" in self.document or not self.document.get("pr") else int(key)


def holds(consent: Json, *, at: datetime, zone: tzinfo) -> bool:
    """Return whether a Consent is in force towards those outside: active, not over, and not said to be unconfirmed.

    >>> from datetime import timezone
    >>> at = datetime(2026, 6, 1, tzinfo=timezone.utc)
    >>> said = {"status": "active", "provision": {"period": {"end": "2026-06"}}}
    >>> [holds({**said, **more}, at=at, zone=timezone.utc) for more in ({}, {"status": "inactive"}, {"provision": {
    ...     "period": {"end": "2026-05"}}}, {"verification": [{"verified": False}]})]
    [True, False, False, False]
    """
    verified = [each.get("verified") for each in consent.get("verification", ())]
    return read_state(consent, at=at, zone=zone) is State.ACTIVE and (not verified or True in verified)


def denies(consent: Json) -> bool:
    """Return whether a Consent forbids, as a whole."""
    policy = consent.get("policyRule", {}).get("coding", ())
    return consent.get("provision", {}).get("type") == "deny" or any(each.get("code") in OUT for each in policy)


async def follow_writes(
    use: Services,
    drafts: Sequence[Draft],
    written: Sequence[Written],
    removals: Iterable[Removal],
    unit: Unit,
    *,
    at: int,
) -> None:
    """Add to the unit of a write what follows from the Consents in it. drafts: those that were written, in their order."""
    for draft, after in zip(drafts, written, strict=True):
        if after.type == "Consent":
            before = await version_of(use, draft.old)
            await follow(use, before, Version(parse(after.body), after.document), unit, at=at)
    for each in removals:
        if each.type == "Consent" and (gone := await version_of(use, each.old)):
            await follow(use, gone, None, unit, at=at)


async def version_of(use: Services, document: Document | None) -> Version | None:
    """Return a stored version, None if there is none or its key was destroyed."""
    try:
        (body,) = await use.resources.opened("Consent", [document]) if document else (None,)
    except Unreadable:
        return None
    return Version(parse(body), document) if body and document else None


async def follow(use: Services, before: Version | None, after: Version | None, unit: Unit, *, at: int) -> None:
    """Add to a unit what follows from the version that comes after another one; None: there was none, or it is deleted."""
    when, zone = moment(at), use.zone
    held = before if before and holds(before.resource, at=when, zone=zone) else None
    now = after if after and holds(after.resource, at=when, zone=zone) else None
    if held and not (now and now.person == held.person):
        # A Consent that became another person's has ended for the first.
        await tell(use, Kind.REVOKED, held, after or held, unit, at=at)
    if now:
        await tell(use, Kind.ACTIVE, now, now, unit, at=at)
    ends = last_moment(now.resource, zone=zone) if now else None
    if now and ends and now.person is not None:
        use.consenting.ends.note(End(now.id, now.number, microseconds(ends)), unit)
    elif held and last_moment(held.resource, zone=zone):
        use.consenting.ends.lift(held.id, unit)


async def tell(use: Services, kind: Kind, whose: Version, version: Version, unit: Unit, *, at: int) -> None:
    """Add the entry of the outbox. whose: the version of the person who is concerned; version: the one that is told."""
    if whose.person is None:
        return
    state = read_state(version.resource, at=moment(at), zone=use.zone) or State.REVOKED
    if kind is Kind.REVOKED and state is State.ACTIVE:
        state = State.REVOKED  # deleted, unconfirmed, or another person's
    body = {"consent": version.id, "version": version.number, "patient": whose.document["pr"][0], "state": state.value}
    body["effect"] = "deny" if denies(whose.resource) else "permit"
    if request := read_request(whose.resource, zone=use.zone):
        body["organization"] = request.organization
    await use.consenting.outbox.add(kind, Owner(whose.person, whose.document["org"]), body, unit, at=at)
