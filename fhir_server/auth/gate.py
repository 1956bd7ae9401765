"""The gate: a requester's permissions on stored documents, with the Consents that bear on them as they stand now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from consent_engine.consent import Consent
from consent_engine.decision import Decision, Effect, decide
from consent_engine.predicate import NOTHING, Attribute, Predicate, bound
from consent_engine.rules import AccessRequest, Compiled, combined, rules_for
from fhir_server.auth.policy import DIRECTORY, Group, Policy, breaks_glass, permission
from fhir_server.auth.requester import Requester, Role
from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry
from fhir_server.store.consents import ByPerson, Consents, Epochs
from fhir_server.store.numbers import Outdated
from fhir_server.store.permitted import Permitted, persons_of, record_of
from fhir_server.store.persons import Persons
from fhir_server.store.shadow import personal_types

Rules = Mapping[Hashable, tuple[Compiled, ...]]
KNOWN_RULES = 50_000
KNOWN_REQUESTERS = 1_000

# Under which plain index term a consent's value is filed in `c` (store/shadow.py).
FILED = {Attribute.CODE: ":code|", Attribute.PROFILE: ":profile|", Attribute.AUTHOR: ":author|"}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the Consents say to one kind of requester: until when, in groups, and rule by rule.

    permitted: what follows from it for each requester, worked out once.
    """

    until: datetime | None = None
    groups: tuple[Group, ...] = ()
    rules: Rules = field(default_factory=dict)
    permitted: dict[Hashable, Permitted] = field(default_factory=dict, compare=False)

    def holds_at(self, now: datetime) -> bool:
        return self.until is None or now < self.until


class Gatekeeper:
    """Makes the gate of each request."""

    def __init__(
        self,
        registry: Registry,
        consents: Consents,
        persons: Persons,
        *,
        policy: Policy,
        index: Tokens,
        labels: Tokens,
        clock: Callable[[], datetime],
    ) -> None:
        self.personal = personal_types(registry)
        self.consents = consents
        self.persons = persons
        self.policy = policy
        self.clock = clock
        self.definitions = 0
        self.term = index
        self._labels = labels
        self._rules: dict[tuple[str, str, AccessRequest], tuple[datetime, Compiled]] = {}
        self._overall: dict[AccessRequest, tuple[Epochs, Standing]] = {}
        self.silence = Standing()

    def under(self, definitions: int) -> Gatekeeper:
        """Return the gatekeeper of requests that are read under the definitions of this number (store/numbers.py)."""
        made = copy(self)
        made.definitions = definitions
        return made

    def gate(self, requester: Requester, letter: str, *, action: str = "access") -> RequestGate:
        """Return the gate of one request. letter: SMART permission. action: access, or correct for writes."""
        return RequestGate(self, requester, letter, _request(requester, action), _Basis(self, requester))

    def standing(self, by_person: ByPerson, request: AccessRequest, now: datetime) -> Standing:
        """Return what these persons' Consents say to a request now."""
        if not any(by_person.values()):
            return self.silence
        rules = {
            person: tuple(self._compiled(each, request, now) for each in by_person[person]) for person in by_person
        }
        said: dict[tuple[Predicate, Predicate], set[Hashable]] = {}
        for person, compiled in rules.items():
            said.setdefault(combined(compiled), set()).add(person)
        groups = tuple(
            Group(frozenset(persons), permit, forbid)
            for (permit, forbid), persons in said.items()
            if permit != NOTHING or forbid != NOTHING
        )
        ends = [each.until for compiled in rules.values() for each in compiled if each.until]
        return Standing(min(ends, default=None), groups, rules)

    async def overall(self, request: AccessRequest, epochs: Epochs, now: datetime) -> Standing:
        """Return what all Consents of the store say to a request; made anew only after a Consent or the time changed it."""
        known = self._overall.get(request)
        if known and known[0] == epochs and known[1].holds_at(now):
            return known[1]
        found = self.standing(await self.consents.bearing_on(request.actors, epochs), request, now)
        if len(self._overall) > KNOWN_REQUESTERS:
            self._overall.clear()
        self._overall[request] = (epochs, found)
        return found

    def _compiled(self, consent: Consent, request: AccessRequest, now: datetime) -> Compiled:
        key = (consent.id, consent.version, request)
        known = self._rules.get(key)
        if known and known[0] <= now and (known[1].until is None or now < known[1].until):
            return known[1]
        plain = rules_for(consent, request, now)
        keyed = replace(plain, rules=tuple(replace(rule, when=bound(rule.when, self._key)) for rule in plain.rules))
        if len(self._rules) > KNOWN_RULES:
            self._rules.clear()
        self._rules[key] = (now, keyed)
        return keyed

    def _key(self, attribute: Attribute, value: Hashable) -> Hashable:
        if attribute is Attribute.LABEL:
            return self._labels(str(value))
        return self.term(FILED[attribute] + str(value)) if attribute in FILED else value


@lru_cache(KNOWN_REQUESTERS)
def _request(requester: Requester, action: str) -> AccessRequest:
    return AccessRequest(
        actors=requester.actors,
        purpose=requester.purpose,
        action=action,
        delegate=requester.role is Role.RELATED_PERSON,
    )


class _Basis:
    """What all decisions of one request rest on, read once: the epochs, and the persons whom its token names."""

    def __init__(self, keeper: Gatekeeper, requester: Requester) -> None:
        self._keeper = keeper
        self._requester = requester
        self.now = keeper.clock()
        self.own: frozenset[Hashable] = frozenset()
        self.context: frozenset[Hashable] = frozenset()
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
        """Return the epochs. Raises Outdated if the definitions that the request is read under have changed."""
        if self._epochs is None:
            self.begin()
            read = await self._keeper.consents.epochs(self._begun)
            if self._persons is not None:
                keys = await self._persons
                self.own = _key_of(self._requester.subject, keys)
                self.context = _key_of(self._requester.patient, keys)
            if read.definitions != self._keeper.definitions:
                raise Outdated
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

    def __init__(
        self, keeper: Gatekeeper, requester: Requester, letter: str, request: AccessRequest, basis: _Basis
    ) -> None:
        self._keeper = keeper
        self._requester = requester
        self._letter = letter
        self._request = request
        self._basis = basis
        self.now = basis.now
        self._heard: list[Rules] = []
        self._permitted_overall: Permitted | None = None

    def lettered(self, letter: str) -> RequestGate:
        """Return the gate of the same request for a SMART permission; what both rest on is read once."""
        if letter == self._letter:
            return self
        return RequestGate(self._keeper, self._requester, letter, self._request, self._basis)

    def acting(self, action: str) -> RequestGate:
        """Return the gate of the same request for another action of the Consents, on the same basis."""
        return RequestGate(
            self._keeper, self._requester, self._letter, replace(self._request, action=action), self._basis
        )

    def begin(self) -> None:
        """Start to read what every decision of this request needs, while something else is being fetched."""
        if self._keeper.policy.gated:
            self._basis.begin()

    async def among(self, persons: Iterable[Hashable]) -> Permitted:
        """Return what may be seen of records that belong to no persons but these."""
        if not self._keeper.policy.gated:
            return self._permitted(self._keeper.silence)
        epochs = await self._basis.epochs()
        by_person = await self._keeper.consents.of_persons(persons, epochs)
        return self._permitted(self._hear(self._keeper.standing(by_person, self._request, self.now)))

    async def overall(self) -> Permitted:
        """Return what may be seen of all records."""
        if self._permitted_overall is None:
            standing = self._keeper.silence
            if self._keeper.policy.gated:
                standing = self._hear(await self._keeper.overall(self._request, await self._basis.epochs(), self.now))
            self._permitted_overall = self._permitted(standing)
        return self._permitted_overall

    def decision(self, type: str, document: Mapping[str, Any]) -> Decision | None:
        """Return what the Consents said of a document that this gate judged; None when the policy alone decided."""
        if not self._heard or type in DIRECTORY:
            return None
        found = [each for person in persons_of(document) for each in self._rules_of(person)]
        return decide(found, record_of(type, document)) if found else None

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
        if standing.rules:
            self._heard.append(standing.rules)
        return standing

    def _rules_of(self, person: Hashable) -> tuple[Compiled, ...]:
        return next((rules[person] for rules in self._heard if person in rules), ())

    def _permitted(self, standing: Standing) -> Permitted:
        key = (self._requester, self._letter, self._basis.own, self._basis.context)
        known = standing.permitted.get(key)
        if known is None:
            if len(standing.permitted) > KNOWN_REQUESTERS:
                standing.permitted.clear()
            known = standing.permitted[key] = Permitted(self._on(standing.groups))
        return known

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
