"""A Consent compiled for one request at one instant: rules, and the predicates that follow from them.

What the request and the instant settle (actor, purpose, action, period) is settled here; what depends on the record
(class, code, labels, data, dates) stays in the predicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from consent_engine.consent import Consent
from consent_engine.dates import FIRST_INSTANT, LAST_INSTANT, Span
from consent_engine.matching import AccessRequest, asks, bears_on, doubtful
from consent_engine.obligations import Obligation
from consent_engine.ordered import Ruling, first_decides
from consent_engine.predicate import EVERYTHING, NOTHING, Attribute, Predicate, all_of, any_of, either, negate
from consent_engine.provision import Provision
from consent_engine.proxies import Mandate
from consent_engine.reasons import Reason
from consent_engine.vocabulary import Effect, Mode, purposes_covering

__all__ = ["AccessRequest", "Compiled", "Rule", "combined", "obligations", "rules_for", "ruling"]


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
    rules = tuple(rule for rule in _rules(consent.root, _NOTHING_ABOVE, asked) if rule.when != NOTHING)
    return replace(compiled, rules=rules)


def ruling(compiled: Compiled) -> Ruling:
    """Return which records the Consent permits and forbids: the deepest rule that holds decides, at equal depth deny (D4).

    One that is unusable forbids all.
    """
    if compiled.flaw:
        return Ruling(NOTHING, EVERYTHING)
    rules = sorted(compiled.rules, key=lambda each: (-each.depth, each.effect is Effect.PERMIT))
    return first_decides((each.effect, each.when) for each in rules)


def combined(compiled: Iterable[Compiled], mode: Mode = Mode.DENY_OVERRIDES) -> Ruling:
    """Return which records all Consents of one person permit, and which they forbid (D5).

    The first never holds where the second does. Where neither holds, nothing was said.
    decision.decide says the same of one record, with its grounds.
    """
    taking_part = [each for each in compiled if not each.ignored]
    if any(each.flaw for each in taking_part):
        return Ruling(NOTHING, EVERYTHING)
    return _JOINED[mode](taking_part)


def obligations(compiled: Iterable[Compiled]) -> Mapping[Obligation, Predicate]:
    """Return for which records each obligation is due: all for which a permit holds that has it (D18).

    It is due whichever provision and whichever Consent decides: no other permit lifts it.
    """
    due: dict[Obligation, list[Predicate]] = {}
    for rule in (rule for each in compiled for rule in each.rules):
        for obligation in rule.obligations:
            due.setdefault(obligation, []).append(rule.when)
    return {obligation: either(*found) for obligation, found in due.items()}


def _deny_overrides(usable: list[Compiled]) -> Ruling:
    permits, denials = zip(*(ruling(each) for each in usable), strict=True) if usable else ((), ())
    forbidden = either(*denials)
    return Ruling(all_of(either(*permits), negate(forbidden)), forbidden)


def _newest_wins(usable: list[Compiled]) -> Ruling:
    """Every statement holds where no newer one says the opposite, nor, of a permit, one of the same instant."""
    statements = [
        (each.counts_from(effect), effect, when)
        for each in usable
        for effect, when in zip((Effect.PERMIT, Effect.DENY), ruling(each), strict=True)
    ]
    statements.sort(key=lambda each: (each[0], each[1] is Effect.DENY), reverse=True)
    return first_decides((effect, when) for _, effect, when in statements)


_JOINED = {Mode.DENY_OVERRIDES: _deny_overrides, Mode.NEWEST_WINS: _newest_wins}


class _Asked(NamedTuple):
    """What a Consent is compiled for. may_permit: whether it was surely given by somebody who may give it (D1)."""

    request: AccessRequest
    at: datetime
    authority: str | None
    may_permit: bool


class _Above(NamedTuple):
    """What the provisions above one ask of a record: if the rule that they are part of permits, and if it denies.

    surely: none of them is in doubt.
    """

    permit: Predicate
    deny: Predicate
    surely: bool

    def and_of(self, provision: Provision, request: AccessRequest) -> _Above:
        """Return what they and the provision ask."""
        permit = all_of(self.permit, asks(provision, Effect.PERMIT, request))
        one = provision.effect is not None and self.permit is self.deny  # what it asks, it asks in its own direction
        deny = permit if one else all_of(self.deny, asks(provision, Effect.DENY, request))
        return _Above(permit, deny, self.surely and not doubtful(provision, request))


_NOTHING_ABOVE = _Above(EVERYTHING, EVERYTHING, surely=True)


def _rules(provision: Provision, above: _Above, asked: _Asked) -> Iterator[Rule]:
    """Yield the rules of the provision and of what is nested in it."""
    if not bears_on(provision, asked.request, asked.at):
        return
    here = above.and_of(provision, asked.request)
    if provision.effect is Effect.DENY:
        yield _rule(provision, provision.effect, here.deny)
    elif provision.effect and asked.may_permit and here.surely:
        own = EVERYTHING if asked.authority is None else any_of(Attribute.CUSTODIAN, {asked.authority})
        yield _rule(provision, provision.effect, all_of(here.permit, own))
    for nested in provision.nested:
        yield from _rules(nested, here, asked)


def _rule(provision: Provision, effect: Effect, when: Predicate) -> Rule:
    return Rule(provision.path, provision.depth, effect, when, provision.obligations)


def _next_change(consent: Consent, at: datetime) -> datetime | None:
    spans = [provision.period for provision in consent.provisions() if provision.period]
    if consent.proxies:
        spans += [*consent.proxies.surely, *consent.proxies.perhaps]
    instants = [side for each in spans for side in (each.start, each.end) if side is not None and side > at]
    return min(instants, default=None)
