"""The gate: a requester's permissions on stored documents, with the Consents that bear on them as they stand now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
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
        self._index = index
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
        return RequestGate(self, requester, letter, action)

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
        return self._index(FILED[attribute] + str(value)) if attribute in FILED else value


def _seen(read: asyncio.Future[Epochs]) -> None:
    if not read.cancelled():
        read.exception()


class RequestGate:
    """The gate of one request: reads the epochs once, then answers from what stands under them."""

    def __init__(self, keeper: Gatekeeper, requester: Requester, letter: str, action: str) -> None:
        self._keeper = keeper
        self._requester = requester
        self._letter = letter
        self._request = AccessRequest(
            actors=requester.actors,
            purpose=requester.purpose,
            action=action,
            delegate=requester.role is Role.RELATED_PERSON,
        )
        self.now = keeper.clock()
        self._heard: list[Rules] = []
        self._own: frozenset[Hashable] = frozenset()
        self._context: frozenset[Hashable] = frozenset()
        self._permitted_overall: Permitted | None = None

    @cached_property
    def _basis(self) -> asyncio.Future[Epochs]:
        """The epochs and the requester's own persons, read once; asked for by the first who needs them."""
        read = asyncio.ensure_future(self._read_basis())
        read.add_done_callback(_seen)  # a request that fails before it needs them leaves the reading to itself
        return read

    async def _read_basis(self) -> Epochs:
        """Return the epochs. Raises Outdated if the definitions that the request is read under have changed."""
        ids = {each.removeprefix("Patient/") for each in (self._requester.subject, self._requester.patient) if each}
        epochs = self._keeper.consents.epochs()
        if not ids:
            return self._present(await epochs)
        read, keys = await asyncio.gather(epochs, self._keeper.persons.keys(ids))
        if self._requester.subject:
            self._own = frozenset({keys[self._requester.subject.removeprefix("Patient/")]})
        if self._requester.patient:
            self._context = frozenset({keys[self._requester.patient.removeprefix("Patient/")]})
        return self._present(read)

    def _present(self, epochs: Epochs) -> Epochs:
        if epochs[-1] != self._keeper.definitions:
            raise Outdated
        return epochs

    def lettered(self, letter: str) -> RequestGate:
        """Return the gate of the same requester for another SMART permission."""
        return self._keeper.gate(self._requester, letter, action=self._request.action)

    def begin(self) -> None:
        """Start to read what every decision of this request needs, while something else is being fetched."""
        if self._keeper.policy.gated:
            _ = self._basis

    async def among(self, persons: Iterable[Hashable]) -> Permitted:
        """Return what may be seen of records that belong to no persons but these."""
        if not self._keeper.policy.gated:
            return self._permitted(self._keeper.silence)
        epochs = await self._basis
        by_person = await self._keeper.consents.of_persons(persons, epochs)
        standing = self._keeper.standing(by_person, self._request, self.now)
        self._heard.append(standing.rules)
        return self._permitted(standing)

    async def overall(self) -> Permitted:
        """Return what may be seen of all records."""
        if self._permitted_overall is None:
            standing = self._keeper.silence
            if self._keeper.policy.gated:
                standing = await self._keeper.overall(self._request, await self._basis, self.now)
                self._heard.append(standing.rules)
            self._permitted_overall = self._permitted(standing)
        return self._permitted_overall

    def decision(self, type: str, document: Mapping[str, Any]) -> Decision | None:
        """Return what the Consents said of a document that this gate judged; None when the policy alone decided."""
        found = [each for person in persons_of(document) for each in self._rules_of(person)]
        if not found or type in DIRECTORY:
            return None
        return decide(found, record_of(type, document))

    @property
    def breaks_glass(self) -> bool:
        """Whether the requester breaks the glass for the patient in context."""
        return self._keeper.policy.gated and bool(self._context) and breaks_glass(self._requester)

    @property
    def beyond_own(self) -> bool:
        """Whether records of other institutions than the requester's may have been admitted."""
        return bool(self._own) or self.breaks_glass or any(self._heard)

    def broke_glass(self, type: str, document: Mapping[str, Any], decision: Decision | None) -> bool:
        """Return whether a document that this gate admitted was opened by breaking the glass and by nothing else."""
        requester, keeper = self._requester, self._keeper
        if not keeper.policy.gated or not breaks_glass(requester) or type not in keeper.personal:
            return False
        own = keeper.policy.treatment and document["org"] == requester.organization
        return not own and (decision is None or decision.effect is not Effect.PERMIT)

    def _rules_of(self, person: Hashable) -> tuple[Compiled, ...]:
        return next((rules[person] for rules in self._heard if person in rules), ())

    def _permitted(self, standing: Standing) -> Permitted:
        key = (self._requester, self._letter, self._own, self._context)
        known = standing.permitted.get(key)
        if known is None:
            if len(standing.permitted) > KNOWN_REQUESTERS:
                standing.permitted.clear()
            known = standing.permitted[key] = Permitted(self._on(standing.groups))
        return known

    def _on(self, groups: tuple[Group, ...]) -> Callable[[str], Predicate]:
        """Return the function from a resource type to what may be seen of it. It outlives the request."""
        requester, letter, own, context = self._requester, self._letter, self._own, self._context
        policy, types = self._keeper.policy, self._keeper.personal

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
            )

        return on
