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

from consent_engine.elements import literal_references
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


async def follow_ends(
    use: Services, drafts: Sequence[Draft], written: Sequence[Written], unit: Unit, *, at: int
) -> None:
    """Add to a unit when the Consents in it end by themselves, and tell nobody: they bring what was known before."""
    for draft, after in zip(drafts, written, strict=True):
        if after.type == "Consent":
            before = await version_of(use, draft.old)
            follow_end(use, before, Version(parse(after.body), after.document), unit, at=at)


async def version_of(use: Services, document: Document | None) -> Version | None:
    """Return a stored version, None if there is none or its key was destroyed."""
    try:
        (body,) = await use.resources.opened("Consent", [document]) if document else (None,)
    except Unreadable:
        return None
    return Version(parse(body), document) if body and document else None


async def follow(use: Services, before: Version | None, after: Version | None, unit: Unit, *, at: int) -> None:
    """Add to a unit what follows from the version that comes after another one; None: there was none, or it is deleted."""
    held, now = _holding(use, before, at), _holding(use, after, at)
    if held and not (now and now.person == held.person):
        # A Consent that became another person's has ended for the first.
        await tell(use, Kind.REVOKED, held, after or held, unit, at=at)
    if now:
        await tell(use, Kind.ACTIVE, now, now, unit, at=at, before=before)
    follow_end(use, before, after, unit, at=at)


def follow_end(use: Services, before: Version | None, after: Version | None, unit: Unit, *, at: int) -> None:
    """Add to a unit when what holds now ends by itself, or that what held has no end any more. Nobody is told."""
    held = _holding(use, before, at)
    if after and (end := end_of(use, after, at=at)):
        use.consenting.ends.note(end, unit)
    elif held and last_moment(held.resource, zone=use.zone):
        use.consenting.ends.lift(held.id, unit)


def end_of(use: Services, version: Version, *, at: int) -> End | None:
    """Return when a version ends by itself; None if it does not hold at an instant, has no end, or is nobody's."""
    ends = last_moment(version.resource, zone=use.zone)
    if ends is None or version.person is None or _holding(use, version, at) is None:
        return None
    return End(version.id, version.number, microseconds(ends))


def _holding(use: Services, version: Version | None, at: int) -> Version | None:
    """Return a version if it holds at an instant (µs since 1970 UTC)."""
    return version if version and holds(version.resource, at=moment(at), zone=use.zone) else None


async def tell(
    use: Services, kind: Kind, whose: Version, version: Version, unit: Unit, *, at: int, before: Version | None = None
) -> None:
    """Add the entry of the outbox.

    whose: the version of the person who is concerned; version: the one that is told; before: the one that it follows, since
    whom that one named has to know too.
    """
    if whose.person is None:
        return
    state = read_state(version.resource, at=moment(at), zone=use.zone) or State.REVOKED
    if kind is Kind.REVOKED and state is State.ACTIVE:
        state = State.REVOKED  # deleted, unconfirmed, or another person's
    custodian = whose.document["org"]
    named = institutions(whose.resource) | (institutions(before.resource) if before else set())
    body = {
        "consent": version.id,
        "version": version.number,
        "state": state.value,
        "effect": "deny" if denies(whose.resource) else "permit",
        "patient": whose.document["pr"][0],
        "custodian": custodian,
        "institutions": sorted({custodian, *named}),
    }
    if request := read_request(whose.resource, zone=use.zone):
        body["organization"] = request.organization
    await use.consenting.outbox.add(kind, Owner(whose.person, custodian), body, unit, at=at)


def institutions(consent: Json) -> set[str]:
    """Return the ids of all Organizations that a Consent names, at any depth.

    >>> sorted(institutions({"provision": {"actor": [{"reference": {"reference": "Organization/a"}}]}}))
    ['a']
    """
    found = (each.partition("/") for each in literal_references(consent))
    return {id for type, _, id in found if type == "Organization"}
