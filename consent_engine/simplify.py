"""Building predicates in a small normal form, so that equal rules mostly become equal values.

Negation stands only before single conditions; nested conjunctions and disjunctions are flat; conditions on one
attribute are joined where that is exact; what one part of a conjunction says is not asked again in the others.
"""

from collections.abc import Iterable
from typing import TypeAlias

from consent_engine.condition import (
    EVERYTHING,
    NO_VALUES,
    NOTHING,
    AllOf,
    AnyOf,
    Attribute,
    Constant,
    During,
    Either,
    Not,
    OnlyOf,
    PerPerson,
    Predicate,
    Values,
)

Parts: TypeAlias = frozenset[Predicate]


def all_of(*parts: Predicate) -> Predicate:
    """Return the conjunction; of no parts: EVERYTHING.

    >>> all_of(EVERYTHING, AnyOf(Attribute.TYPE, frozenset({"Patient"})))
    AnyOf(attribute=<Attribute.TYPE: 'type'>, values=frozenset({'Patient'}))
    """
    found = _flat(parts, AllOf)
    while True:
        found = _narrowed(found) - {EVERYTHING}
        if NOTHING in found or any(negate(part) in found for part in found):
            return NOTHING
        simpler = _flat((_inside(part, found) for part in found), AllOf)
        if simpler == found:
            return _only(found, EVERYTHING) or AllOf(found)
        found = simpler


def either(*parts: Predicate) -> Predicate:
    """Return the disjunction; of no parts: NOTHING.

    >>> either(NOTHING, EVERYTHING)
    Constant(value=True)
    """
    # a ∨ b is ¬(¬a ∧ ¬b), so one set of rules serves both.
    return negate(all_of(*(negate(part) for part in parts)))


def negate(part: Predicate) -> Predicate:
    """Return the negation, carried inwards to the single conditions.

    >>> negate(negate(NOTHING))
    Constant(value=False)
    """
    match part:
        case Constant(value):
            return NOTHING if value else EVERYTHING
        case Not(inner):
            return inner
        case AllOf(parts):
            return Either(frozenset(negate(each) for each in parts))
        case Either(parts):
            return AllOf(frozenset(negate(each) for each in parts))
    return Not(part)


def any_of(attribute: Attribute, values: Iterable[object]) -> Predicate:
    """Return AnyOf; NOTHING if there are no values."""
    found = frozenset(values)
    return AnyOf(attribute, found) if found else NOTHING


def during(start: int | None, end: int | None, *, wholly: bool) -> Predicate:
    """Return During; EVERYTHING if both sides are unbounded."""
    return EVERYTHING if start is None and end is None else During(start, end, wholly)


def per_person(groups: Iterable[tuple[Values, Predicate]], otherwise: Predicate, nobody: Predicate) -> Predicate:
    """Return PerPerson with groups of the same predicate joined, and those that `otherwise` covers left out.

    Raises ValueError if a person stands in two groups.
    """
    joined: dict[Predicate, Values] = {}
    seen: set[object] = set()
    for persons, predicate in groups:
        if not seen.isdisjoint(persons):
            raise ValueError("a person stands in two groups")
        seen |= persons
        if persons and predicate != otherwise:
            joined[predicate] = joined.get(predicate, NO_VALUES) | persons
    if not joined and otherwise == nobody:
        return otherwise
    return PerPerson(tuple((persons, predicate) for predicate, persons in joined.items()), otherwise, nobody)


def _flat(parts: Iterable[Predicate], kind: type[AllOf]) -> Parts:
    flat: set[Predicate] = set()
    for part in parts:
        flat |= part.parts if isinstance(part, kind) else {part}
    return frozenset(flat)


def _only(parts: Parts, empty: Constant) -> Predicate | None:
    """The only part; of none: `empty`; None if there are several."""
    return None if len(parts) > 1 else next(iter(parts), empty)


def _narrowed(parts: Parts) -> Parts:
    """A conjunction with one condition for each attribute where two say the same as one.

    Only of V and only of W: only of V ∩ W. None of V and none of W: none of V ∪ W.
    """
    only: dict[Attribute, Values] = {}
    none: dict[Attribute, Values] = {}
    rest: set[Predicate] = set()
    for part in parts:
        match part:
            case OnlyOf(attribute, values):
                only[attribute] = only.get(attribute, values) & values
            case Not(AnyOf(attribute, values)):
                none[attribute] = none.get(attribute, NO_VALUES) | values
            case AnyOf(_, values) if not values:
                rest.add(NOTHING)
            case _:
                rest.add(part)
    rest |= {OnlyOf(attribute, values) for attribute, values in only.items()}
    return frozenset(rest | {Not(AnyOf(attribute, values)) for attribute, values in none.items() if values})


def _inside(part: Predicate, known: Parts) -> Predicate:
    """The part with what `known` already says taken out of its own parts.

    It may itself be among the known, and all parts of a conjunction may be treated so at once: each contains only
    smaller ones, so going up from the single conditions, each stands on what is already settled.
    """
    match part:
        case AllOf(parts):
            return all_of(*(_given(each, known) for each in parts))
        case Either(parts):
            return either(*(_given(each, known) for each in parts))
    return part


def _given(part: Predicate, known: Parts) -> Predicate:
    """What is left to ask of a part where all of `known` hold."""
    if part in known:
        return EVERYTHING
    if negate(part) in known:
        return NOTHING
    return _inside(part, known)
