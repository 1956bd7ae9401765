"""What the Consents of one person say to one request, made ready to be asked about many records.

It decides as decision.decide does, which a property test holds it to, but evaluates each distinct condition once, and
keeps the decisions that it came to: people have many Consents that say the same, and records that are alike.
"""

from collections.abc import Iterable

from consent_engine.decision import Decision, combine, decide, evaluate
from consent_engine.predicate import Predicate, Record, holds
from consent_engine.reasons import Reason
from consent_engine.rules import Compiled, combined
from consent_engine.vocabulary import Effect, Mode

KNOWN_DECISIONS = 256


class Digest:
    """The compiled Consents of one person.

    permit, forbid: which records they permit and forbid, as rules.combined has it. lapsed: id and version of those whose
    giver may no longer speak for the person.
    """

    __slots__ = ("_conditions", "_known", "_mode", "_permitting", "compiled", "forbid", "lapsed", "permit")

    def __init__(self, compiled: Iterable[Compiled], mode: Mode = Mode.DENY_OVERRIDES) -> None:
        self.compiled = tuple(compiled)
        self.permit, self.forbid = combined(self.compiled, mode)
        self.lapsed = frozenset((each.consent, each.version) for each in self.compiled if each.ignored is Reason.LAPSED)
        self._mode = mode
        self._permitting = tuple(each for each in self.compiled if _may_permit(each))
        self._conditions: tuple[Predicate, ...] = tuple({rule.when for each in self._permitting for rule in each.rules})
        self._known: dict[tuple[bool, ...], Decision] = {}

    def decide(self, record: Record) -> Decision:
        """Return whether the Consents permit the record, with all grounds."""
        if self._mode is not Mode.DENY_OVERRIDES or holds(self.forbid, record):
            return decide(self.compiled, record, self._mode)
        # Nothing forbids it, so that only what permits can be a ground.
        held = tuple([holds(each, record) for each in self._conditions])
        known = self._known.get(held)
        if known is None:
            if len(self._known) > KNOWN_DECISIONS:
                self._known.clear()
            known = self._known[held] = combine((evaluate(each, record) for each in self._permitting), self._mode)
        return known


def _may_permit(compiled: Compiled) -> bool:
    return any(rule.effect is Effect.PERMIT for rule in compiled.rules)
