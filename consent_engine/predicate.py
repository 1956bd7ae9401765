"""Predicates over records: what Consents compile to. All that other code needs of them is found here.

The classes are in condition.py, the functions that build simplified ones in simplify.py.
"""

from collections.abc import Callable, Hashable

from consent_engine.condition import (
    EVERYTHING,
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
    Record,
    Values,
)
from consent_engine.simplify import all_of, any_of, during, either, negate, per_person

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "AllOf",
    "AnyOf",
    "Attribute",
    "Constant",
    "During",
    "Either",
    "Not",
    "OnlyOf",
    "PerPerson",
    "Predicate",
    "Record",
    "Values",
    "all_of",
    "any_of",
    "bound",
    "during",
    "either",
    "holds",
    "negate",
    "per_person",
    "weakened",
]

Key = Callable[[Attribute, Hashable], Hashable]


def holds(predicate: Predicate, record: Record) -> bool:
    """Return whether the predicate holds for the record."""
    return predicate.holds(record)


def bound(predicate: Predicate, key: Key) -> Predicate:
    """Return a predicate of the same shape with every attribute value replaced by key(attribute, value)."""
    match predicate:
        case AnyOf(attribute, values):
            return AnyOf(attribute, frozenset(key(attribute, value) for value in values))
        case OnlyOf(attribute, values):
            return OnlyOf(attribute, frozenset(key(attribute, value) for value in values))
        case AllOf(parts):
            return AllOf(frozenset(bound(part, key) for part in parts))
        case Either(parts):
            return Either(frozenset(bound(part, key) for part in parts))
        case Not(part):
            return Not(bound(part, key))
        case PerPerson(groups, otherwise, nobody):
            return PerPerson(
                tuple((persons, bound(part, key)) for persons, part in groups),
                bound(otherwise, key),
                bound(nobody, key),
            )
    return predicate


def weakened(predicate: Predicate, attribute: Attribute, *, upwards: bool = True) -> Predicate:
    """Return a predicate that does not ask for the attribute and holds wherever this one may, whatever its values are.

    upwards: if false, it holds only where this one does whatever the values are.
    """
    match predicate:
        case AnyOf(asked, _) | OnlyOf(asked, _) if asked == attribute:
            return Constant(upwards)
        case AllOf(parts):
            return all_of(*(weakened(part, attribute, upwards=upwards) for part in parts))
        case Either(parts):
            return either(*(weakened(part, attribute, upwards=upwards) for part in parts))
        case Not(part):
            return negate(weakened(part, attribute, upwards=not upwards))
        case PerPerson(groups, otherwise, nobody):
            return per_person(
                [(persons, weakened(part, attribute, upwards=upwards)) for persons, part in groups],
                weakened(otherwise, attribute, upwards=upwards),
                weakened(nobody, attribute, upwards=upwards),
            )
    return predicate
