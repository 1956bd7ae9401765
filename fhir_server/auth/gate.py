"""The gate: a requester's permissions on stored documents, with the Consents that bear on them as they stand now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from consent_engine.consent import Consent
from consent_engine.decision import Decision, Effect, joint
from consent_engine.digest import Digest
from consent_engine.predicate import NOTHING, Attribute, Predicate, bound
from consent_engine.rules import AccessRequest, Compiled, obligations, rules_for
from consent_engine.vocabulary import Mode
from fhir_server.auth.memberships import Memberships
from fhir_server.auth.policy import DIRECTORY, Group, Policy, breaks_glass, due, permission, reports
from fhir_server.auth.requester import Requester, Role
from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry
from fhir_server.store.consents import ByPerson, Consents, Epochs
from fhir_server.store.numbers import Outdated
from fhir_server.store.permitted import Due, Permitted, persons_of, record_of
from fhir_server.store.persons import Persons
from fhir_server.store.shadow import personal_types

Digests = Mapping[Hashable, Digest]
Said = tuple[Predicate, Predicate, Due]  # permitted, forbidden, obliged to
NOTHING_SAID = Digest(())
KNOWN_RULES = 50_000
KNOWN_REQUESTERS = 1_000

# Under which plain index term a consent's value is filed in `c` (store/shadow.py).
FILED = {
    Attribute.CODE: ":code|",
    Attribute.PROFILE: ":profile|",
    Attribute.AUTHOR: ":author|",
    Attribute.REFERS: ":refers|",
}

Revoked = Callable[[Requester, Epochs], Awaitable[None]]  # raises Unauthenticated


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


class Gatekeeper:
    """Makes the gate of each request."""

    def __init__(
        self,
        registry: Registry,
        consents: Consents,
        persons: Persons,
        memberships: Memberships,
        *,
        policy: Policy,
        mode: Mode,
        revoked: Revoked,
        index: Tokens,
        labels: Tokens,
        clock: Callable[[], datetime],
    ) -> None:
        self.personal = personal_types(registry)
        self.consents = consents
        self.persons = persons
        self.memberships = memberships
        self.policy = policy
        self.mode = mode
        self.revoked = revoked
        self.clock = clock
        self.definitions = 0
        self.term = index
        self._labels = labels
        self._heard: dict[Hashable, _Heard] = {}
        self._standings: dict[Hashable, tuple[Mapping[Hashable, _Heard], Standing]] = {}
        self._overall: dict[AccessRequest, tuple[ByPerson, Standing]] = {}
        self.silence = Standing()

    def under(self, definitions: int) -> Gatekeeper:
        """Return the gatekeeper of requests that are read under the definitions of this number (store/numbers.py)."""
        made = copy(self)
        made.definitions = definitions
        return made

    def gate(self, requester: Requester, letter: str, *, action: str = "access") -> RequestGate:
        """Return the gate of one request. letter: SMART permission. action: access, or correct for writes."""
        return RequestGate(self, requester, letter, action, _Basis(self, requester))

    def standing(
        self, by_person: ByPerson, request: AccessRequest, now: datetime, *, overall: bool = False
    ) -> Standing:
        """Return what these persons' Consents say to a request now; the same object as long as they say the same.

        overall: the Consents are those that may bear on the requester, not all that the persons have.
        """
        if not any(by_person.values()):
            return self.silence
        heard = {
            person: self._heard_of(person, consents, request, now, overall=overall)
            for person, consents in by_person.items()
        }
        key = (request, frozenset(heard), overall)
        known = self._standings.get(key)
        if known and all(known[0][person] is each for person, each in heard.items()):
            return known[1]
        if len(self._standings) > KNOWN_RULES:
            self._standings.clear()
        found = _standing(heard)
        self._standings[key] = (heard, found)
        return found

    async def overall(self, request: AccessRequest, epochs: Epochs, now: datetime) -> Standing:
        """Return what all Consents of the store say to a request; made anew only after a Consent or the time changed it."""
        by_person = await self.consents.bearing_on(request.actors, epochs)
        known = self._overall.get(request)
        if known and known[0] is by_person and known[1].holds_at(now):
            return known[1]
        found = self.standing(by_person, request, now, overall=True)
        if len(self._overall) > KNOWN_REQUESTERS:
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
        rules = tuple(self._compiled(each, request, now) for each in consents)
        digest = Digest(rules, self.mode)
        said = (digest.permit, digest.forbid, tuple(obligations(rules).items()))
        until = min((each.until for each in rules if each.until), default=None)
        if len(self._heard) > KNOWN_RULES:
            self._heard.clear()
        found = self._heard[key] = _Heard(consents, now, until, digest, said)
        return found

    def _compiled(self, consent: Consent, request: AccessRequest, now: datetime) -> Compiled:
        plain = rules_for(consent, request, now)
        return replace(plain, rules=tuple(replace(rule, when=bound(rule.when, self.keyed)) for rule in plain.rules))

    def keyed(self, attribute: Attribute, value: Hashable) -> Hashable:
        """Return the value of an attribute as the store has it."""
        if attribute is Attribute.LABEL:
            return self._labels(str(value))
        return self.term(FILED[attribute] + str(value)) if attribute in FILED else value


@lru_cache(KNOWN_REQUESTERS)
def _request(requester: Requester, memberships: frozenset[str], action: str) -> AccessRequest:
    return AccessRequest(
        actors=requester.actors | memberships,
        purpose=requester.purpose,
        action=action,
        delegate=requester.role is Role.RELATED_PERSON,
    )


class _Basis:
    """What all decisions of one request rest on, read once: the epochs, the persons whom its token names, memberships."""

    def __init__(self, keeper: Gatekeeper, requester: Requester) -> None:
        self._keeper = keeper
        self._requester = requester
        self.now = keeper.clock()
        self.own: frozenset[Hashable] = frozenset()
        self.context: frozenset[Hashable] = frozenset()
        self.memberships: frozenset[str] = frozenset()
        self._begun: asyncio.Future[Epochs | None] | None = None
        self._persons: asyncio.Future[dict[str, int]] | None = None
        self._epochs: Epochs | None = None

    def begin(self) -> None:
        """Start to read, unless that was started."""
        if self._begun is None:
            self._begun = self._keeper.consents.begun()
            named = (self._requester.subject, self._requester.patient)
            if ids := {each.removeprefix("Patient/") for each in named if each}:
                self._persons = asyncio.ensure_future(self._keeper.persons.keys(ids))
                self._persons.add_done_callback(_seen)

    async def epochs(self) -> Epochs:
        """Return the epochs.

        Raises Outdated if the definitions that the request is read under have changed, Unauthenticated if its token was
        revoked.
        """
        if self._epochs is None:
            self.begin()
            read = await self._keeper.consents.epochs(self._begun)
            if self._persons is not None:
                keys = await self._persons
                self.own = _key_of(self._requester.subject, keys)
                self.context = _key_of(self._requester.patient, keys)
            if read.definitions != self._keeper.definitions:
                raise Outdated
            await self._keeper.revoked(self._requester, read)
            self.memberships = await self._keeper.memberships.of(self._requester, read.memberships, self.now)
            self._epochs = read
        return self._epochs


def _seen(read: asyncio.Future[dict[str, int]]) -> None:
    """Look at how a reading ended: a request that fails before it needs it leaves it to itself."""
    if not read.cancelled():
        read.exception()


def _key_of(patient: str | None, keys: Mapping[str, int]) -> frozenset[Hashable]:
    return frozenset({keys[patient.removeprefix("Patient/")]}) if patient else frozenset()


class RequestGate:
    """The gate of one request for one SMART permission: answers from what stands under the basis of the request."""

    def __init__(self, keeper: Gatekeeper, requester: Requester, letter: str, action: str, basis: _Basis) -> None:
        self._keeper = keeper
        self._requester = requester
        self._letter = letter
        self._action = action
        self._basis = basis
        self.now = basis.now
        self._heard: list[Standing] = []
        self._permitted_overall: Permitted | None = None
        self._permitted_among: list[tuple[frozenset[Hashable], Permitted]] = []

    def lettered(self, letter: str) -> RequestGate:
        """Return the gate of the same request for a SMART permission; what both rest on is read once."""
        if letter == self._letter:
            return self
        return RequestGate(self._keeper, self._requester, letter, self._action, self._basis)

    def acting(self, action: str) -> RequestGate:
        """Return the gate of the same request for another action of the Consents, on the same basis."""
        return RequestGate(self._keeper, self._requester, self._letter, action, self._basis)

    def begin(self) -> None:
        """Start to read what every decision of this request needs, while something else is being fetched."""
        if self._keeper.policy.gated:
            self._basis.begin()

    async def stands(self) -> None:
        """Return if the token of the request stands. Raises Unauthenticated if it was revoked."""
        if self._keeper.policy.gated:
            await self._basis.epochs()

    @property
    def lapsed(self) -> frozenset[tuple[str, str]]:
        """The Consents (id, version) that were met whose giver may no longer speak for the patient."""
        return frozenset().union(*(each.lapsed for each in self._heard))

    @property
    def policy(self) -> Policy:
        return self._keeper.policy

    @property
    def mode(self) -> Mode:
        return self._keeper.mode

    @property
    def asked_overall(self) -> Permitted | None:
        """What may be seen of all records, if that was asked."""
        return self._permitted_overall

    @property
    def memberships(self) -> frozenset[str]:
        """To whom the requester belongs beyond what the token says; known once something was asked."""
        return self._basis.memberships

    async def among(self, persons: Iterable[Hashable]) -> Permitted:
        """Return what may be seen of records that belong to no persons but these."""
        if not self._keeper.policy.gated:
            return self._permitted(self._keeper.silence)
        if self._permitted_overall is not None:
            return self._permitted_overall
        asked = frozenset(persons)
        for among, permitted in self._permitted_among:
            if asked <= among:
                return permitted
        epochs = await self._basis.epochs()
        by_person = await self._keeper.consents.of_persons(asked, epochs)
        permitted = self._permitted(self._hear(self._keeper.standing(by_person, self._asked, self.now)))
        self._permitted_among.append((asked, permitted))
        return permitted

    async def overall(self) -> Permitted:
        """Return what may be seen of all records."""
        if self._permitted_overall is None:
            standing = self._keeper.silence
            if self._keeper.policy.gated:
                epochs = await self._basis.epochs()
                standing = self._hear(await self._keeper.overall(self._asked, epochs, self.now))
            self._permitted_overall = self._permitted(standing)
        return self._permitted_overall

    def decision(self, type: str, document: Mapping[str, Any]) -> Decision | None:
        """Return what the Consents said of a document that this gate judged; None when the policy alone decided."""
        if not self._heard or type in DIRECTORY:
            return None
        digests = [self._digest_of(person) for person in persons_of(document)]
        if not any(each.compiled for each in digests):
            return None
        record = record_of(type, document)
        decisions = [each.decide(record) for each in digests]
        return decisions[0] if len(decisions) == 1 else joint(decisions, self._keeper.mode)

    @property
    def breaks_glass(self) -> bool:
        """Whether the requester breaks the glass for the patient in context."""
        return bool(self._basis.context) and self._emergency

    @cached_property
    def _emergency(self) -> bool:
        return self._keeper.policy.gated and breaks_glass(self._requester)

    @property
    def beyond_own(self) -> bool:
        """Whether records of other institutions than the requester's may have been admitted."""
        return bool(self._basis.own or self._heard) or self.breaks_glass

    def broke_glass(self, type: str, document: Mapping[str, Any], decision: Decision | None) -> bool:
        """Return whether a document that this gate admitted was opened by breaking the glass and by nothing else."""
        if not self._emergency or type not in self._keeper.personal:
            return False
        own = self._keeper.policy.treatment and document["org"] == self._requester.organization
        return not own and (decision is None or decision.effect is not Effect.PERMIT)

    def _hear(self, standing: Standing) -> Standing:
        """Keep the rules that a decision of this gate may have come from."""
        if standing.digests:
            self._heard.append(standing)
        return standing

    def _digest_of(self, person: Hashable) -> Digest:
        return next((each.digests[person] for each in self._heard if person in each.digests), NOTHING_SAID)

    def _permitted(self, standing: Standing) -> Permitted:
        key = (self._requester, self._letter, self._basis.own, self._basis.context)
        known = standing.permitted.get(key)
        if known is None:
            if len(standing.permitted) > KNOWN_REQUESTERS:
                standing.permitted.clear()
            known = standing.permitted[key] = Permitted(self._on(standing.groups), self._due(standing.groups))
        return known

    @property
    def _asked(self) -> AccessRequest:
        """What the Consents are asked; only to be had after the epochs were read."""
        return _request(self._requester, self._basis.memberships, self._action)

    def _due(self, groups: tuple[Group, ...]) -> Callable[[str], Due]:
        """Return the function from a resource type to the obligations that bind the requester."""
        obliged, own = tuple(group for group in groups if group.due), self._basis.own
        if not obliged or reports(self._requester, self._keeper.policy):  # what the law has reported, it has whole
            return lambda type: ()
        return lambda type: due(obliged, type, own)

    def _on(self, groups: tuple[Group, ...]) -> Callable[[str], Predicate]:
        """Return the function from a resource type to what may be seen of it. It outlives the request."""
        requester, letter, own, context = self._requester, self._letter, self._basis.own, self._basis.context
        policy, types, term = self._keeper.policy, self._keeper.personal, self._keeper.term

        def on(type: str) -> Predicate:
            return permission(
                requester,
                type,
                letter,
                policy=policy,
                groups=groups,
                own=own,
                context=context,
                personal=type in types,
                term=term,
            )

        return on
