"""The gate: a requester's permissions on stored documents, with the Consents that bear on them as they stand now."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any

from consent_engine.decision import Decision, Effect, joint
from consent_engine.digest import Digest
from consent_engine.predicate import Predicate
from consent_engine.rules import AccessRequest
from consent_engine.vocabulary import Mode
from fhir_server.auth.basis import RequestBasis, Sources
from fhir_server.auth.policy import DIRECTORY, Group, Policy, as_own, breaks_glass, due, permission, reports
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.standing import Standing, Standings
from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry
from fhir_server.redaction.asking import hiding, unenforceable
from fhir_server.store.permitted import Due, Permitted, persons_of, record_of
from fhir_server.store.persons import Persons
from fhir_server.store.shadow import personal_types

NOTHING_SAID = Digest(())
KNOWN_REQUESTERS = 1_000


class Gatekeeper:
    """Makes the gate of each request."""

    def __init__(
        self, registry: Registry, sources: Sources, *, policy: Policy, mode: Mode, index: Tokens, labels: Tokens
    ) -> None:
        self.registry = registry
        self.personal = personal_types(registry)
        self.sources = sources
        self.policy = policy
        self.mode = mode
        self.term = index
        self.standings = Standings(mode, index=index, labels=labels)

    @property
    def persons(self) -> Persons:
        return self.sources.persons

    def under(self, definitions: int) -> Gatekeeper:
        """Return the gatekeeper of requests that are read under the definitions of this number (store/numbers.py)."""
        made = copy(self)
        made.sources = replace(self.sources, definitions=definitions)
        return made

    def gate(self, requester: Requester, letter: str, *, action: str = "access") -> RequestGate:
        """Return the gate of one request. letter: SMART permission. action: access, or correct for writes."""
        return RequestGate(self, letter, action, RequestBasis(self.sources, requester))


@lru_cache(KNOWN_REQUESTERS)
def access_request(requester: Requester, memberships: frozenset[str], action: str = "access") -> AccessRequest:
    """Return a requester's request as Consents look at it. memberships: beyond what the token says."""
    return AccessRequest(
        actors=requester.actors | memberships,
        purpose=requester.purpose,
        action=action,
        delegate=requester.role is Role.RELATED_PERSON,
    )


class RequestGate:
    """The gate of one request for one SMART permission: answers from what stands under the basis of the request."""

    def __init__(self, keeper: Gatekeeper, letter: str, action: str, basis: RequestBasis) -> None:
        self._keeper = keeper
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
        return RequestGate(self._keeper, letter, self._action, self._basis)

    def acting(self, action: str) -> RequestGate:
        """Return the gate of the same request for another action of the Consents, on the same basis."""
        return RequestGate(self._keeper, self._letter, action, self._basis)

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
        return frozenset().union(*(each.lapsed for each in self._heard)) if self._heard else frozenset()

    @property
    def damaged(self) -> dict[str, None]:
        """The ids of the AuditEvents that were met and do not open (interactions/searching/damaged.py), to be added to."""
        return self._basis.damaged

    @property
    def reports(self) -> bool:
        """Whether this is statutory reporting."""
        return reports(self._basis.requester, self._keeper.policy)

    @property
    def closed(self) -> bool:
        """Whether a reason to break the glass was stated that does not count; known once something was asked."""
        return self._basis.closed

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
            return self._permitted(self._keeper.standings.silence)
        if self._permitted_overall is not None:
            return self._permitted_overall
        asked = frozenset(persons)
        for among, permitted in self._permitted_among:
            if asked <= among:
                return permitted
        epochs = await self._basis.epochs()
        by_person = await self._keeper.sources.consents.of_persons(asked, epochs)
        permitted = self._permitted(self._hear(self._keeper.standings.of(by_person, self._asked, self.now)))
        self._permitted_among.append((asked, permitted))
        return permitted

    async def overall(self) -> Permitted:
        """Return what may be seen of all records."""
        if self._permitted_overall is None:
            standing = self._keeper.standings.silence
            if self._keeper.policy.gated:
                epochs = await self._basis.epochs()
                by_person = await self._keeper.sources.consents.bearing_on(self._asked.actors, epochs)
                standing = self._hear(self._keeper.standings.overall(by_person, self._asked, self.now))
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

    @property
    def _emergency(self) -> bool:
        return self._keeper.policy.gated and breaks_glass(self._basis.requester)

    @property
    def beyond_own(self) -> bool:
        """Whether records of other institutions than the requester's may have been admitted."""
        return bool(self._basis.own or self._basis.spoken or self._heard) or self.breaks_glass

    def broke_glass(self, type: str, document: Mapping[str, Any], decision: Decision | None) -> bool:
        """Return whether a document that this gate admitted was opened by breaking the glass and by nothing else."""
        if not self._emergency or type not in self._keeper.personal:
            return False
        own = self._keeper.policy.treatment and document["org"] == self._basis.requester.organization
        return not own and (decision is None or decision.effect is not Effect.PERMIT)

    def _hear(self, standing: Standing) -> Standing:
        """Keep the rules that a decision of this gate may have come from."""
        if standing.digests:
            self._heard.append(standing)
        return standing

    def _digest_of(self, person: Hashable) -> Digest:
        return next((each.digests[person] for each in self._heard if person in each.digests), NOTHING_SAID)

    def _permitted(self, standing: Standing) -> Permitted:
        key = (self._basis.requester, self._letter, self._basis.own, self._basis.spoken, self._basis.context)
        known = standing.permitted.get(key)
        if known is None:
            if len(standing.permitted) > KNOWN_REQUESTERS:
                standing.permitted.clear()
            known = standing.permitted[key] = Permitted(self._on(standing.groups), self._due(standing.groups))
        return known

    @property
    def _asked(self) -> AccessRequest:
        """What the Consents are asked; only to be had after the epochs were read."""
        return access_request(self._basis.requester, self._basis.memberships, self._action)

    def _due(self, groups: tuple[Group, ...]) -> Callable[[str], Due]:
        """Return the function from a resource type to the obligations that bind the requester."""
        obliged = tuple(group for group in groups if group.due)
        own, spoken = self._basis.own, self._basis.spoken
        if not obliged or self.reports:  # what the law has reported, it has whole
            return lambda type: ()
        return lambda type: due(obliged, type, as_own(type, own, spoken))

    def _on(self, groups: tuple[Group, ...]) -> Callable[[str], Predicate]:
        """Return the function from a resource type to what may be seen of it. It outlives the request."""
        requester, letter, own, context = self._basis.requester, self._letter, self._basis.own, self._basis.context
        spoken = self._basis.spoken
        policy, types, term = self._keeper.policy, self._keeper.personal, self._keeper.term
        registry, obliged = self._keeper.registry, self._due(groups)

        def on(type: str) -> Predicate:
            return permission(
                requester,
                type,
                letter,
                policy=policy,
                groups=groups,
                own=own,
                spoken=spoken,
                context=context,
                personal=type in types,
                term=term,
                hidden=hiding(registry, type, obliged(type)),
                unenforceable=unenforceable(obliged(type)),
            )

        return on
