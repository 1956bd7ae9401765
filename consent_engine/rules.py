"""A Consent compiled for one request at one instant: rules, and the predicates that follow from them.

What the request and the instant settle (actor, purpose, action, period) is settled here; what depends on the record
(class, code, labels, data, dates) stays in the predicates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from consent_engine.consent import Consent
from consent_engine.dates import Span, microseconds
from consent_engine.labels import label_condition
from consent_engine.predicate import (
    EVERYTHING,
    NOTHING,
    AnyOf,
    Attribute,
    Predicate,
    all_of,
    during,
    either,
    negate,
)
from consent_engine.provision import Provision
from consent_engine.vocabulary import ACTIONS_COVERING, PURPOSES, Effect, purposes_covering


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """Who asks, what for.

    actors: "Type/id" of everything that the requester is: practitioner, institution, department, app, group.
    purpose: an ActReason code; action: a consentaction code; delegate: whether the requester acts for another.
    """

    actors: frozenset[str]
    purpose: str
    action: str = "access"
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A provision that bears on the request. `when` joins its own data conditions with those of all its ancestors."""

    path: str
    depth: int
    effect: Effect
    when: Predicate


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a Consent says to a request.

    ignored: why it takes no part; flaw: why it is unusable, so that it forbids everything.
    until: the next instant at which this may change by itself; None = never.
    """

    consent: str
    version: str
    ignored: str | None = None
    flaw: str | None = None
    rules: tuple[Rule, ...] = ()
    until: datetime | None = None


def rules_for(consent: Consent, request: AccessRequest, at: datetime) -> Compiled:
    """Return what the Consent says to the request at the instant.

    at: the server's own clock (D7). Raises ValueError if it has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    compiled = Compiled(consent.id, consent.version)
    if consent.ignored:
        return replace(compiled, ignored=consent.ignored)
    if consent.research and "HRESCH" not in purposes_covering(request.purpose):
        return replace(compiled, ignored="scope is research, the purpose is not")
    if consent.flaw or consent.root is None:
        return replace(compiled, flaw=consent.flaw)
    rules = tuple(rule for rule in _rules((consent.root,), consent, request, at) if rule.when != NOTHING)
    return replace(compiled, rules=rules, until=_next_change(consent, at))


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


def combined(compiled: Iterable[Compiled]) -> tuple[Predicate, Predicate]:
    """Return which records all Consents of one person permit, and which they forbid; deny overrides (D5).

    The first never holds where the second does. Where neither holds, nothing was said.
    """
    taking_part = [each for each in compiled if not each.ignored]
    forbidden = either(*(forbids(each) for each in taking_part))
    return all_of(either(*(permits(each) for each in taking_part)), negate(forbidden)), forbidden


def _deepest(compiled: Compiled) -> int:
    return max((rule.depth for rule in compiled.rules), default=-1)


def _when(compiled: Compiled, depth: int, effect: Effect) -> Predicate:
    return either(*(rule.when for rule in compiled.rules if rule.depth == depth and rule.effect is effect))


def _unless(compiled: Compiled, depth: int) -> Predicate:
    return negate(_when(compiled, depth, Effect.DENY))


def _rules(path: tuple[Provision, ...], consent: Consent, request: AccessRequest, at: datetime) -> Iterator[Rule]:
    """Yield the rules of the last provision of the path and of what is nested in it."""
    provision = path[-1]
    if not _bears_on(provision, request, at):
        return
    if provision.effect is Effect.DENY or (provision.effect and not any(_doubtful(each, request) for each in path)):
        when = all_of(*(_asks(each, provision.effect, request) for each in path))
        if consent.authority is not None and provision.effect is Effect.PERMIT:
            when = all_of(when, AnyOf(Attribute.CUSTODIAN, frozenset({consent.authority})))
        yield Rule(provision.path, provision.depth, provision.effect, when)
    for nested in provision.nested:
        yield from _rules((*path, nested), consent, request, at)


def _bears_on(provision: Provision, request: AccessRequest, at: datetime) -> bool:
    """Whether actor, purpose, action and period match; what is in doubt is taken to match (see _doubtful)."""
    return (
        (provision.recipients is None or not provision.recipients.isdisjoint(request.actors))
        and (provision.period is None or provision.period.covers(at))
        and (
            provision.purposes is None
            or request.purpose not in PURPOSES
            or not provision.purposes.isdisjoint(purposes_covering(request.purpose))
        )
        and (
            provision.actions is None
            or request.action not in ACTIONS_COVERING
            or not provision.actions.isdisjoint(ACTIONS_COVERING[request.action])
        )
    )


def _doubtful(provision: Provision, request: AccessRequest) -> bool:
    """Whether it is unknown if the provision matches: nothing at or below it permits then, what denies holds (D3)."""
    return (
        bool(provision.unreadable)
        or (provision.purposes is not None and request.purpose not in PURPOSES)
        or (provision.actions is not None and request.action not in ACTIONS_COVERING)
    )


def _asks(provision: Provision, effect: Effect, request: AccessRequest) -> Predicate:
    """What the provision asks of a record, in its own direction; without one, in that of the rule it is part of."""
    direction = provision.effect or effect
    conditions = [provision.condition]
    if provision.labels is not None:
        conditions.append(label_condition(provision.labels, direction, delegate=request.delegate))
    if provision.data_period is not None:
        conditions.append(_data_from(provision.data_period, wholly=direction is Effect.PERMIT))
    return all_of(*conditions)


def _data_from(period: Span, *, wholly: bool) -> Predicate:
    start = None if period.start is None else microseconds(period.start)
    end = None if period.end is None else microseconds(period.end - timedelta(microseconds=1))
    return during(start, end, wholly=wholly)


def _next_change(consent: Consent, at: datetime) -> datetime | None:
    periods = [provision.period for provision in consent.provisions() if provision.period]
    instants = [side for period in periods for side in (period.start, period.end) if side is not None and side > at]
    return min(instants, default=None)
