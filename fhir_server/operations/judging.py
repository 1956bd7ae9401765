"""What a requester may see of one record at an instant, decided anew and with all that was said about it.

It is the gate's own reading of the Consents and of the policy (fhir_server/auth), on one record and for an explanation:
what the gate joins to one predicate for many records is kept apart here by person and by Consent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from consent_engine.consent import Consent
from consent_engine.decision import Decision, decide, joint
from consent_engine.explanation import Statement, explain
from consent_engine.obligations import Obligation
from consent_engine.predicate import Record, holds
from consent_engine.rules import AccessRequest, Compiled, combined, obligations
from consent_engine.vocabulary import Mode
from fhir_server.auth.gate import Gatekeeper, access_request
from fhir_server.auth.policy import DIRECTORY, Group, Policy, as_own, due, permission, reports
from fhir_server.auth.requester import Requester
from fhir_server.redaction.asking import hiding, unenforceable
from fhir_server.store.permitted import persons_of, record_of

Persons = frozenset[Hashable]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: with a token, as a member of what, under which rules.

    own, context: person keys of the user (a patient) and of the patient in context. spoken: of those for whom the user
    speaks.
    """

    requester: Requester
    letter: str
    memberships: frozenset[str] = frozenset()
    own: Persons = frozenset()
    context: Persons = frozenset()
    spoken: Persons = frozenset()

    @property
    def request(self) -> AccessRequest:
        """The request as Consents look at it."""
        return access_request(self.requester, self.memberships)


@dataclass(frozen=True, slots=True)
class Part:
    """What holds for one of the persons whose record it is. obliged: what is to be done to the record before it is shown."""

    permitted: bool
    decision: Decision
    statements: tuple[Statement, ...]
    obliged: tuple[Obligation, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a record may be seen, and by person why; decision: of all their Consents, None if there are none."""

    permitted: bool
    parts: Mapping[Hashable, Part]
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Rules:
    """By which rules it is decided; they may be other ones than those in force now."""

    keeper: Gatekeeper
    policy: Policy
    mode: Mode


def judged(
    rules: Rules,
    asker: Asker,
    type: str,
    document: Mapping[str, Any],
    consents: Mapping[Hashable, Sequence[Consent]],
    at: datetime,
) -> Judgement:
    """Return whether a stored version may be seen. consents: of the persons whose record it is, as they were."""
    persons, keeper, mode = persons_of(document), rules.keeper, rules.mode
    compiled = {person: keeper.standings.compiled(consents.get(person, ()), asker.request, at) for person in persons}
    groups = [
        Group(frozenset({person}), *combined(said, mode), tuple(obligations(said).items()))
        for person, said in compiled.items()
    ]
    own = as_own(type, asker.own, asker.spoken)
    binding = () if reports(asker.requester, rules.policy) else due(groups, type, own)
    predicate = permission(
        asker.requester,
        type,
        asker.letter,
        policy=rules.policy,
        groups=groups,
        own=asker.own,
        spoken=asker.spoken,
        context=asker.context,
        personal=type in keeper.personal,
        term=keeper.term,
        hidden=hiding(keeper.registry, type, binding),
        unenforceable=unenforceable(binding),
    )
    record = record_of(type, document)
    parts = {
        person: Part(
            holds(predicate, replace(record, persons=frozenset({person}))),
            decide(said, record, mode),
            explain(said, record, mode),
            () if person in own else _obliged(said, type, record),
        )
        for person, said in compiled.items()
    }
    heard = any(compiled.values()) and type not in DIRECTORY
    decision = joint((part.decision for part in parts.values()), mode) if heard else None
    return Judgement(holds(predicate, record), parts, decision)


def _obliged(compiled: Sequence[Compiled], type: str, record: Record) -> tuple[Obligation, ...]:
    """Return the obligations that one person's Consents have on a record of this type."""
    binding = [each for each, when in obligations(compiled).items() if holds(when, record)]
    own = [each for each in binding if each.element.partition(".")[0] == type]
    return tuple(sorted(own, key=lambda each: (each.element, each.action)))
