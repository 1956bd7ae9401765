"""Statements in an order of which the first that holds for a record decides: which records they permit and forbid.

So the provisions of one Consent are read, the deepest first (D4), and where the newest statement wins, the Consents of a
person (D5).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from consent_engine.predicate import EVERYTHING, NOTHING, Predicate, all_of, either, negate
from consent_engine.vocabulary import Effect

Statement: TypeAlias = tuple[Effect, Predicate]


WAYS = 4  # stretches that the statements are parted into, and those again


class Ruling(NamedTuple):
    """Which records are permitted and which forbidden; never both. Of the others nothing is said."""

    permits: Predicate
    forbids: Predicate


def first_decides(statements: Iterable[Statement]) -> Ruling:
    """Return which records are permitted and which forbidden if the first statement that holds decides.

    Each statement stands under the exceptions of the stretches that it is in, not of every statement before it: of n
    statements the predicates have about n·log n parts and are nested 2·log n deep, the logarithm to the base WAYS.
    """
    return _decided(list(_runs(statements)))


def _runs(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Yield the statements without those that never come first, neighbours of one effect as one."""
    seen: set[Predicate] = {NOTHING}
    effect, run = Effect.DENY, list[Predicate]()
    for each, when in statements:
        if when in seen:
            continue
        seen.add(when)
        if each is not effect:
            if run:
                yield effect, either(*run)
            effect, run = each, []
        run.append(when)
        if when == EVERYTHING:
            break
    if run:
        yield effect, either(*run)


def _decided(runs: Sequence[Statement]) -> Ruling:
    """What runs decide, put together from what some stretches of them do, each where none before it objects."""
    if len(runs) < 2:
        alone = dict(runs)
        return Ruling(alone.get(Effect.PERMIT, NOTHING), alone.get(Effect.DENY, NOTHING))
    permits, forbids = list[Predicate](), list[Predicate]()
    permitted: Predicate = NOTHING  # by any statement before, first or not
    denied: Predicate = NOTHING
    length = -(-len(runs) // WAYS)
    for start in range(0, len(runs), length):
        stretch = runs[start : start + length]
        ruling = _decided(stretch)
        # Where a denial before it holds, that decides, or a permit before that does: that stands in another part.
        permits.append(all_of(ruling.permits, negate(denied)))
        forbids.append(all_of(ruling.forbids, negate(permitted)))
        permitted, denied = _named(permitted, stretch, Effect.PERMIT), _named(denied, stretch, Effect.DENY)
    return Ruling(either(*permits), either(*forbids))


def _named(before: Predicate, stretch: Sequence[Statement], effect: Effect) -> Predicate:
    return either(before, *(when for each, when in stretch if each is effect))
