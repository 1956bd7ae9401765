"""What the Consents of persons say to one kind of request, as they stand now: compiled, joined, and kept while they do."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from consent_engine.consent import Consent
from consent_engine.digest import Digest
from consent_engine.predicate import NOTHING, Attribute, Predicate, bound
from consent_engine.rules import AccessRequest, Compiled, obligations, rules_for
from consent_engine.vocabulary import Mode
from fhir_server.auth.policy import Group
from fhir_server.crypto.tokens import Tokens
from fhir_server.store.consents import ByPerson
from fhir_server.store.permitted import Due, Permitted

Digests = Mapping[Hashable, Digest]
Said = tuple[Predicate, Predicate, Due]  # permitted, forbidden, obliged to
KNOWN = 50_000
KNOWN_REQUESTS = 1_000

# Under which plain index term a consent's value is filed in `c` (store/terms.py).
FILED = {
    Attribute.CODE: ":code|",
    Attribute.PROFILE: ":profile|",
    Attribute.AUTHOR: ":author|",
    Attribute.REFERS: ":refers|",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the Consents say to one kind of requester: until when, in groups, and person by person.

    permitted: what follows from it for each requester, worked out once. lapsed: id and version of the Consents whose giver
    may no longer speak for the patient.
    """

    until: datetime | None = None
    groups: tuple[Group, ...] = ()
    digests: Digests = field(default_factory=dict)
    lapsed: frozenset[tuple[str, str]] = frozenset()
    permitted: dict[Hashable, Permitted] = field(default_factory=dict, compare=False)

    def holds_at(self, now: datetime) -> bool:
        return self.until is None or now < self.until


class _Heard(NamedTuple):
    """What the Consents of one person say to one request, from `since` on and before `until`."""

    consents: tuple[Consent, ...]
    since: datetime
    until: datetime | None
    digest: Digest
    said: Said

    def holds(self, consents: tuple[Consent, ...], now: datetime) -> bool:
        """Return whether it is still so."""
        if self.consents is not consents and not _same(self.consents, consents):
            return False
        return self.since <= now and (self.until is None or now < self.until)


def _same(some: tuple[Consent, ...], others: tuple[Consent, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _standing(heard: Mapping[Hashable, _Heard]) -> Standing:
    """Return what follows from what the Consents of each person say."""
    said: dict[Said, set[Hashable]] = {}
    for person, each in heard.items():
        said.setdefault(each.said, set()).add(person)
    groups = tuple(
        Group(frozenset(persons), permit, forbid, obliged)
        for (permit, forbid, obliged), persons in said.items()
        if permit != NOTHING or forbid != NOTHING or obliged
    )
    digests = {person: each.digest for person, each in heard.items()}
    return Standing(
        min((each.until for each in heard.values() if each.until), default=None),
        groups,
        digests,
        frozenset(one for each in digests.values() for one in each.lapsed),
    )


class Standings:
    """Works out what Consents say; what it gives is the same object for as long as they say the same.

    silence: where nothing was said. What follows from that is kept in it too, so each gatekeeper has its own: what one
    policy permits must not be handed out under another.
    """

    def __init__(self, mode: Mode, *, index: Tokens, labels: Tokens) -> None:
        self.silence = Standing()
        self._mode = mode
        self._index = index
        self._labels = labels
        self._heard: dict[Hashable, _Heard] = {}
        self._of: dict[Hashable, tuple[Mapping[Hashable, _Heard], Standing]] = {}
        self._overall: dict[AccessRequest, tuple[ByPerson, Standing]] = {}

    def of(self, by_person: ByPerson, request: AccessRequest, now: datetime, *, overall: bool = False) -> Standing:
        """Return what these persons' Consents say to a request now.

        overall: the Consents are those that may bear on the requester, not all that the persons have.
        """
        if not any(by_person.values()):
            return self.silence
        heard = {
            person: self._heard_of(person, consents, request, now, overall=overall)
            for person, consents in by_person.items()
        }
        key = (request, frozenset(heard), overall)
        known = self._of.get(key)
        if known and all(known[0][person] is each for person, each in heard.items()):
            return known[1]
        if len(self._of) > KNOWN:
            self._of.clear()
        found = _standing(heard)
        self._of[key] = (heard, found)
        return found

    def overall(self, by_person: ByPerson, request: AccessRequest, now: datetime) -> Standing:
        """Return what all Consents that may bear on a request say to it now; worked out anew only if they are others."""
        known = self._overall.get(request)
        if known and known[0] is by_person and known[1].holds_at(now):
            return known[1]
        found = self.of(by_person, request, now, overall=True)
        if len(self._overall) > KNOWN_REQUESTS:
            self._overall.clear()
        self._overall[request] = (by_person, found)
        return found

    def _heard_of(
        self, person: Hashable, consents: tuple[Consent, ...], request: AccessRequest, now: datetime, *, overall: bool
    ) -> _Heard:
        """Return what the Consents of one person say to a request now; worked out once for the same Consents."""
        key = (person, request, overall)
        known = self._heard.get(key)
        if known and known.holds(consents, now):
            return known
        rules = self.compiled(consents, request, now)
        digest = Digest(rules, self._mode)
        said = (digest.permit, digest.forbid, tuple(obligations(rules).items()))
        until = min((each.until for each in rules if each.until), default=None)
        if len(self._heard) > KNOWN:
            self._heard.clear()
        found = self._heard[key] = _Heard(consents, now, until, digest, said)
        return found

    def compiled(self, consents: Iterable[Consent], request: AccessRequest, at: datetime) -> tuple[Compiled, ...]:
        """Return what each Consent says to a request at an instant, over records as the store has them."""
        plain = (rules_for(each, request, at) for each in consents)
        return tuple(
            replace(each, rules=tuple(replace(rule, when=bound(rule.when, self._keyed)) for rule in each.rules))
            for each in plain
        )

    def _keyed(self, attribute: Attribute, value: Hashable) -> Hashable:
        """Return the value of an attribute as the store has it."""
        if attribute is Attribute.LABEL:
            return self._labels(str(value))
        return self._index(FILED[attribute] + str(value)) if attribute in FILED else value
