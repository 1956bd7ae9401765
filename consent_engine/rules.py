"""A Consent compiled for one request at one instant: rules, and the predicates that follow from them.

What the request and the instant settle (actor, purpose, action, period) is settled here; what depends on the record
(class, code, labels, data, dates) stays in the predicates.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from consent_engine.consent import Consent
from consent_engine.dates import FIRST_INSTANT, LAST_INSTANT, Span
from consent_engine.matching import AccessRequest, asks, bears_on, doubtful
from consent_engine.obligations import Obligation
from consent_engine.predicate import EVERYTHING, NOTHING, Attribute, Predicate, all_of, any_of, either, negate
from consent_engine.provision import Provision
from consent_engine.proxies import Mandate
from consent_engine.reasons import Reason
from consent_engine.vocabulary import Effect, Mode, purposes_covering

__all__ = ["AccessRequest", "Compiled", "Rule", "combined", "forbids", "obligations", "permits", "rules_for"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A provision that bears on the request. `when` joins its own data conditions with those of all its ancestors.

    obligations: what is to be done to the records for which it holds.
    """

    path: str
    depth: int
    effect: Effect
    when: Predicate
    obligations: frozenset[Obligation] = frozenset()


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a Consent says to a request.

    ignored: why it takes no part; flaw: why it is unusable, so that it forbids everything.
    until: the next instant at which this may change by itself; None = never.
    signed: the time that the dateTime of the Consent covers; None = not known.
    """

    consent: str
    version: str
    ignored: Reason | None = None
    flaw: Reason | None = None
    rules: tuple[Rule, ...] = ()
    until: datetime | None = None
    signed: Span | None = None

    def counts_from(self, effect: Effect) -> datetime:
        """Return the instant from which a statement of this effect counts, where the newest wins.

        What is not known is to the advantage of denials: a permit counts from the first instant of a dateTime, without
        one as the oldest; a denial from the last, without one as the newest.
        """
        if self.signed is None:
            return FIRST_INSTANT if effect is Effect.PERMIT else LAST_INSTANT
        return self.signed.first if effect is Effect.PERMIT else self.signed.last


def rules_for(consent: Consent, request: AccessRequest, at: datetime) -> Compiled:
    """Return what the Consent says to the request at the instant.

    at: the server's own clock (D7). Raises ValueError if it has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    compiled = Compiled(consent.id, consent.version, signed=consent.signed)
    if consent.ignored:
        return replace(compiled, ignored=consent.ignored)
    if consent.research and "HRESCH" not in purposes_covering(request.purpose):
        return replace(compiled, ignored=Reason.RESEARCH)
    compiled = replace(compiled, until=_next_change(consent, at))
    mandate = consent.proxies.mandate(at) if consent.proxies else Mandate.VALID
    if mandate is Mandate.LAPSED:
        return replace(compiled, ignored=Reason.LAPSED)
    if consent.flaw or consent.root is None:
        return replace(compiled, flaw=consent.flaw)
    asked = _Asked(request, at, consent.authority, may_permit=mandate is Mandate.VALID)
    rules = tuple(rule for rule in _rules((consent.root,), asked) if rule.when != NOTHING)
    return replace(compiled, rules=rules)


def permits(compiled: Compiled) -> Predicate:
    """Return which records the Consent permits: the deepest rule that holds decides, at equal depth deny (D4)."""
    permitted: Predicate = NOTHING
    for depth in range(_deepest(compiled) + 1):
        permitted = all_of(either(permitted, _when(compiled, depth, Effect.PERMIT)), _unless(compiled, depth))
    return NOTHING if compiled.flaw else permitted


def forbids(compiled: Compiled) -> Predicate:
    """Return which records the Consent forbids; all of them if it is unusable."""
    forbidden: Predicate = NOTHING
    for depth in range(_deepest(compiled) + 1):
        permitted = _when(compiled, depth, Effect.PERMIT)
        forbidden = either(all_of(forbidden, negate(permitted)), _when(compiled, depth, Effect.DENY))
    return EVERYTHING if compiled.flaw else forbidden


Said: TypeAlias = tuple[Predicate, Predicate]


def combined(compiled: Iterable[Compiled], mode: Mode = Mode.DENY_OVERRIDES) -> Said:
    """Return which records all Consents of one person permit, and which they forbid (D5).

    The first never holds where the second does. Where neither holds, nothing was said.
    decision.decide says the same of one record, with its grounds.
    """
    taking_part = [each for each in compiled if not each.ignored]
    unusable = either(*(forbids(each) for each in taking_part if each.flaw))
    permitted, forbidden = _JOINED[mode]([each for each in taking_part if not each.flaw])
    return all_of(permitted, negate(unusable)), either(forbidden, unusable)


def obligations(compiled: Iterable[Compiled]) -> Mapping[Obligation, Predicate]:
    """Return for which records each obligation is due: all for which a permit holds that has it (D18).

    It is due whichever provision and whichever Consent decides: no other permit lifts it.
    """
    due: dict[Obligation, list[Predicate]] = {}
    for rule in (rule for each in compiled for rule in each.rules):
        for obligation in rule.obligations:
            due.setdefault(obligation, []).append(rule.when)
    return {obligation: either(*found) for obligation, found in due.items()}


def _deny_overrides(usable: list[Compiled]) -> Said:
    forbidden = either(*map(forbids, usable))
    return all_of(either(*map(permits, usable)), negate(forbidden)), forbidden


def _newest_wins(usable: list[Compiled]) -> Said:
    """Every statement holds where no newer one says the opposite, nor, of a permit, one of the same instant."""
    statements = [(each.counts_from(effect), effect, says(each)) for each in usable for effect, says in _SAYS]
    said: dict[Effect, list[Predicate]] = {Effect.PERMIT: [], Effect.DENY: []}
    newer: dict[Effect, Predicate] = {Effect.PERMIT: NOTHING, Effect.DENY: NOTHING}
    for _, effect, when in sorted(statements, key=lambda each: (each[0], each[1] is Effect.DENY), reverse=True):
        if when != NOTHING:
            said[effect].append(all_of(when, negate(newer[effect.opposite])))
            newer[effect] = either(newer[effect], when)
    return either(*said[Effect.PERMIT]), either(*said[Effect.DENY])


_SAYS = ((Effect.PERMIT, permits), (Effect.DENY, forbids))
_JOINED = {Mode.DENY_OVERRIDES: _deny_overrides, Mode.NEWEST_WINS: _newest_wins}


def _deepest(compiled: Compiled) -> int:
    return max((rule.depth for rule in compiled.rules), default=-1)


def _when(compiled: Compiled, depth: int, effect: Effect) -> Predicate:
    return either(*(rule.when for rule in compiled.rules if rule.depth == depth and rule.effect is effect))


def _unless(compiled: Compiled, depth: int) -> Predicate:
    return negate(_when(compiled, depth, Effect.DENY))


class _Asked(NamedTuple):
    """What a Consent is compiled for. may_permit: whether it was surely given by somebody who may give it (D1)."""

    request: AccessRequest
    at: datetime
    authority: str | None
    may_permit: bool


def _rules(path: tuple[Provision, ...], asked: _Asked) -> Iterator[Rule]:
    """Yield the rules of the last provision of the path and of what is nested in it."""
    provision = path[-1]
    if not bears_on(provision, asked.request, asked.at):
        return
    if provision.effect is Effect.DENY:
        yield _rule(path, provision.effect, asked.request)
    elif provision.effect and asked.may_permit and not any(doubtful(each, asked.request) for each in path):
        rule = _rule(path, provision.effect, asked.request)
        own = EVERYTHING if asked.authority is None else any_of(Attribute.CUSTODIAN, {asked.authority})
        yield replace(rule, when=all_of(rule.when, own))
    for nested in provision.nested:
        yield from _rules((*path, nested), asked)


def _rule(path: tuple[Provision, ...], effect: Effect, request: AccessRequest) -> Rule:
    provision = path[-1]
    when = all_of(*(asks(each, effect, request) for each in path))
    return Rule(provision.path, provision.depth, effect, when, provision.obligations)


def _next_change(consent: Consent, at: datetime) -> datetime | None:
    spans = [provision.period for provision in consent.provisions() if provision.period]
    if consent.proxies:
        spans += [*consent.proxies.surely, *consent.proxies.perhaps]
    instants = [side for each in spans for side in (each.start, each.end) if side is not None and side > at]
    return min(instants, default=None)
