"""What the Consents of a person say about one record: a decision with its grounds.

Evaluating one Consent and combining many are two functions; the combining rule is the table PRECEDENCE (D5). Where the
newest statement wins, the same table is read for those that count from the newest instant.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from consent_engine.dates import LAST_INSTANT
from consent_engine.predicate import Record, holds
from consent_engine.rules import Compiled
from consent_engine.vocabulary import Effect, Mode

__all__ = [
    "PRECEDENCE",
    "PRECEDENCE_OF_PERSONS",
    "Decision",
    "Effect",
    "Ground",
    "Mode",
    "Said",
    "Verdict",
    "combine",
    "decide",
    "evaluate",
    "joint",
]


class Verdict(Enum):
    """What one Consent says about one record."""

    UNREADABLE = "unreadable"  # unusable as a whole; counts as an objection
    FORBIDS = "forbids"
    PERMITS = "permits"
    SILENT = "silent"


# The first verdict present decides; nothing present means deny.
PRECEDENCE = (
    (Verdict.UNREADABLE, Effect.DENY),
    (Verdict.FORBIDS, Effect.DENY),
    (Verdict.PERMITS, Effect.PERMIT),
)

# For a record of several persons: it is permitted only if each of them permits it (D6).
PRECEDENCE_OF_PERSONS = (
    (Verdict.UNREADABLE, Effect.DENY),
    (Verdict.FORBIDS, Effect.DENY),
    (Verdict.SILENT, Effect.DENY),
    (Verdict.PERMITS, Effect.PERMIT),
)

_SAID = {Effect.DENY: Verdict.FORBIDS, Effect.PERMIT: Verdict.PERMITS}


@dataclass(frozen=True, slots=True)
class Ground:
    """Which provision of which version of a Consent decided; path "" = the Consent as a whole."""

    consent: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An effect, the kind of verdict that led to it, all provisions that gave that verdict, and how it was reached."""

    effect: Effect
    because: Verdict
    grounds: frozenset[Ground]
    mode: Mode = Mode.DENY_OVERRIDES


class Said(NamedTuple):
    """What one Consent says about one record, by which provisions, and from which instant on that counts."""

    verdict: Verdict
    grounds: frozenset[Ground] = frozenset()
    since: datetime = LAST_INSTANT


def evaluate(compiled: Compiled, record: Record) -> Said:
    """Return what the Consent says about the record, and by which provisions (D4). Does not raise."""
    if compiled.ignored:
        return Said(Verdict.SILENT)
    if compiled.flaw:
        return Said(Verdict.UNREADABLE, frozenset({Ground(compiled.consent, compiled.version, "")}))
    held = [rule for rule in compiled.rules if holds(rule.when, record)]
    if not held:
        return Said(Verdict.SILENT)
    deepest = max(rule.depth for rule in held)
    effects = {rule.effect for rule in held if rule.depth == deepest}
    effect = Effect.DENY if Effect.DENY in effects else Effect.PERMIT
    deciding = (rule.path for rule in held if rule.depth == deepest and rule.effect is effect)
    grounds = frozenset(Ground(compiled.consent, compiled.version, path) for path in deciding)
    return Said(_SAID[effect], grounds, compiled.counts_from(effect))


def combine(said: Iterable[Said], mode: Mode = Mode.DENY_OVERRIDES) -> Decision:
    """Join what each Consent says into one decision."""
    heard = [each for each in said if each.verdict is not Verdict.SILENT]
    if mode is Mode.NEWEST_WINS:
        heard = _newest(heard)
    return _first(PRECEDENCE, [(each.verdict, each.grounds) for each in heard], mode)


def decide(compiled: Iterable[Compiled], record: Record, mode: Mode = Mode.DENY_OVERRIDES) -> Decision:
    """Return whether the Consents of one person permit the record."""
    return combine((evaluate(each, record) for each in compiled), mode)


def joint(decisions: Iterable[Decision], mode: Mode = Mode.DENY_OVERRIDES) -> Decision:
    """Return the decision on a record of several persons from those of each; of no persons: nothing was said."""
    return _first(PRECEDENCE_OF_PERSONS, [(each.because, each.grounds) for each in decisions], mode)


def _first(
    precedence: Iterable[tuple[Verdict, Effect]], heard: list[tuple[Verdict, frozenset[Ground]]], mode: Mode
) -> Decision:
    for verdict, effect in precedence:
        matching = [grounds for each, grounds in heard if each is verdict]
        if matching:
            return Decision(effect, verdict, frozenset().union(*matching), mode)
    return Decision(Effect.DENY, Verdict.SILENT, frozenset(), mode)


def _newest(heard: list[Said]) -> list[Said]:
    """Those that count from the newest instant, and what is unusable, which has none."""
    newest = max((each.since for each in heard), default=LAST_INSTANT)
    return [each for each in heard if each.since == newest or each.verdict is Verdict.UNREADABLE]
