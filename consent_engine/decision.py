"""What the Consents of a person say about one record: a decision with its grounds.

Evaluating one Consent and combining many are two functions; the combining rule is the table PRECEDENCE (D5).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from consent_engine.predicate import Record, holds
from consent_engine.rules import Compiled
from consent_engine.vocabulary import Effect

__all__ = ["PRECEDENCE", "Decision", "Effect", "Ground", "Verdict", "combine", "decide", "evaluate"]


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

_SAID = {Effect.DENY: Verdict.FORBIDS, Effect.PERMIT: Verdict.PERMITS}


@dataclass(frozen=True, slots=True)
class Ground:
    """Which provision of which version of a Consent decided; path "" = the Consent as a whole."""

    consent: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An effect, the kind of verdict that led to it, and all provisions that gave that verdict."""

    effect: Effect
    because: Verdict
    grounds: frozenset[Ground]


Said = tuple[Verdict, frozenset[Ground]]


def evaluate(compiled: Compiled, record: Record) -> Said:
    """Return what the Consent says about the record, and by which provisions (D4). Does not raise."""
    if compiled.ignored:
        return Verdict.SILENT, frozenset()
    if compiled.flaw:
        return Verdict.UNREADABLE, frozenset({Ground(compiled.consent, compiled.version, "")})
    held = [rule for rule in compiled.rules if holds(rule.when, record)]
    if not held:
        return Verdict.SILENT, frozenset()
    deepest = max(rule.depth for rule in held)
    effects = {rule.effect for rule in held if rule.depth == deepest}
    effect = Effect.DENY if Effect.DENY in effects else Effect.PERMIT
    deciding = (rule.path for rule in held if rule.depth == deepest and rule.effect is effect)
    return _SAID[effect], frozenset(Ground(compiled.consent, compiled.version, path) for path in deciding)


def combine(said: Iterable[Said]) -> Decision:
    """Join what each Consent says into one decision."""
    heard = list(said)
    for verdict, effect in PRECEDENCE:
        matching = [grounds for each, grounds in heard if each is verdict]
        if matching:
            return Decision(effect, verdict, frozenset().union(*matching))
    return Decision(Effect.DENY, Verdict.SILENT, frozenset())


def decide(compiled: Iterable[Compiled], record: Record) -> Decision:
    """Return whether the Consents of one person permit the record."""
    return combine(evaluate(each, record) for each in compiled)
