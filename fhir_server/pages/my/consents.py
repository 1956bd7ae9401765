"""Consents as pages show them: what is permitted or denied to whom, for what, of which records, from when until when.

Pure: JSON in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from consent_engine.vocabulary import DIRECTIVES, Effect
from fhir_server.consenting.asked import Request, State, read_request, read_state
from fhir_server.consenting.records import types_asked

Json = Mapping[str, Any]
# In which order lists show them: what waits for an answer comes first.
ORDER = (State.VERIFYING, State.REQUESTED, State.ACTIVE, State.DECLINED, State.EXPIRED, State.REVOKED)
WAITING = frozenset({State.REQUESTED, State.VERIFYING})
# Under which headings (words_zh.py) lists show them; what nobody asked for, and does not hold yet, has one of its own.
GROUPED = {
    "group_waiting": WAITING,
    "group_active": frozenset({State.ACTIVE}),
    "group_ended": frozenset({State.DECLINED, State.EXPIRED, State.REVOKED}),
}
PREPARED = "group_prepared"
GROUPS = ("group_waiting", "group_active", PREPARED, "group_ended")
DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Clause:
    """One provision. depth: 0 for the first, more for its exceptions. permits: None if it does not say.

    actors: relative references, () = everybody. purposes: codes, types: of resources, () = all. more: whether it narrows
    by something else (codes, labels, single records). since, until: of the records; begins, ends: of the provision itself.
    """

    depth: int
    permits: bool | None
    actors: tuple[str, ...]
    purposes: tuple[str, ...]
    types: tuple[str, ...]
    more: bool
    since: str | None
    until: str | None
    begins: str | None
    ends: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A Consent. clauses: the first is what it says, the others are its exceptions. asked: if an institution asked for it.

    given: when it was given or asked for; institutions: whom it is addressed to.
    """

    id: str
    state: State
    clauses: tuple[Clause, ...]
    asked: Request | None
    given: str | None
    institutions: tuple[str, ...]

    @property
    def first(self) -> Clause:
        return self.clauses[0]

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def answerable(self) -> bool:
        """Whether the patient has been asked, and has not answered."""
        return self.waits and self.asked is not None

    @property
    def prepared(self) -> bool:
        """Whether it was written down, and nobody has asked for it: there is nothing to answer."""
        return self.waits and self.asked is None

    @property
    def group(self) -> str:
        """Under which of GROUPS it stands."""
        return PREPARED if self.prepared else next(title for title, states in GROUPED.items() if self.state in states)

    @property
    def ends(self) -> bool:
        """Whether it can be revoked: what permits, and holds. To end a denial would open records."""
        return self.state is State.ACTIVE and self.first.permits is not False

    @property
    def begins(self) -> str | None:
        """Since when it holds; of what nobody has agreed to, nothing."""
        return None if self.waits else self.first.begins or self.given

    @property
    def references(self) -> frozenset[str]:
        """Everybody who is named in it."""
        named = {actor for clause in self.clauses for actor in clause.actors} | {*self.institutions}
        return frozenset(
            named | ({self.asked.user, f"Organization/{self.asked.organization}"} if self.asked else set())
        )


def shown(consent: Json, *, at: datetime, zone: tzinfo) -> Shown | None:
    """Return a Consent as pages show it, None for one that says nothing yet or was entered in error."""
    state = read_state(consent, at=at, zone=zone)
    if state is None:
        return None
    return Shown(
        id=consent["id"],
        state=state,
        clauses=tuple(_clauses(consent.get("provision") or {}, 0, _base(consent))),
        asked=read_request(consent, zone=zone),
        given=consent.get("dateTime"),
        institutions=_references(consent.get("organization", ())),
    )


def listed(consents: Iterable[Json], *, at: datetime, zone: tzinfo) -> list[Shown]:
    """Return Consents in the order of a list: by state, and of each state as they came."""
    found = (shown(each, at=at, zone=zone) for each in consents)
    return sorted((each for each in found if each), key=lambda each: ORDER.index(each.state))


def _base(consent: Json) -> bool | None:
    """Return whether the base rule permits, None if it does not say."""
    codes = (each.get("code") for each in (consent.get("policyRule") or {}).get("coding", ()))
    said = {DIRECTIVES[code] for code in codes if code in DIRECTIVES}
    return next(iter(said)) is Effect.PERMIT if len(said) == 1 else None


def _clauses(provision: Json, depth: int, otherwise: bool | None) -> Iterator[Clause]:
    said = {"permit": True, "deny": False}.get(str(provision.get("type")), otherwise if depth == 0 else None)
    data, period = provision.get("dataPeriod") or {}, provision.get("period") or {}
    yield Clause(
        depth,
        said,
        actors=_references(each.get("reference") or {} for each in provision.get("actor", ())),
        purposes=_codes(provision.get("purpose", ())),
        types=types_asked(_codes(provision.get("class", ()))),
        more=any(provision.get(name) for name in ("code", "securityLabel", "data")),
        since=data.get("start"),
        until=data.get("end"),
        begins=period.get("start"),
        ends=period.get("end"),
    )
    for each in provision.get("provision", ()) if depth < DEEPEST else ():
        yield from _clauses(each, depth + 1, None)


def _references(found: Iterable[Json]) -> tuple[str, ...]:
    return tuple(str(each["reference"]) for each in found if each.get("reference"))


def _codes(codings: Sequence[Json]) -> tuple[str, ...]:
    return tuple(str(each["code"]) for each in codings if each.get("code"))
