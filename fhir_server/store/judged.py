"""What a predicate reads of one stored document, as a function: taken apart once, for all documents held against it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from consent_engine.predicate import (
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
    all_of,
    either,
    negate,
    per_person,
)

Document = Mapping[str, Any]
Test = Callable[[Document], bool]

# Where a document keeps its values of an attribute; those that are not named stand together, each under its own name.
FIELDS = {Attribute.CUSTODIAN: "org", Attribute.LABEL: "lab"}
CODES = "c"
# What is known of a record even after it was purged.
LASTING = frozenset({Attribute.TYPE, Attribute.ID, Attribute.CUSTODIAN})
# Of what one person's Consents come to.
MOST_PARTS = 200


def field(attribute: Attribute) -> str:
    """Return the field in which documents keep their values of an attribute that is not their own type or id."""
    return FIELDS.get(attribute, CODES)


def test_of(predicate: Predicate, type: str) -> Test:
    """Return the function that tells whether a predicate holds for a document of a type's collection."""
    match predicate:
        case Constant(value):
            return lambda document: value
        case AllOf(parts):
            return _all([test_of(part, type) for part in parts])
        case Either(parts):
            return _any([test_of(part, type) for part in parts])
        case Not(part):
            inner = test_of(part, type)
            return lambda document: not inner(document)
        case AnyOf(attribute, values):
            return _any_of(attribute, values, type)
        case OnlyOf(attribute, values):
            return _only_of(attribute, values, type)
        case During():
            return _during(predicate)
        case PerPerson():
            return _per_person(predicate, type)
    raise TypeError(f"no reading of {predicate!r}")


def _all(tests: list[Test]) -> Test:
    def test(document: Document) -> bool:
        for each in tests:  # noqa: SIM110 - a generator costs more than the tests on this hot path
            if not each(document):
                return False
        return True

    return test


def _any(tests: list[Test]) -> Test:
    def test(document: Document) -> bool:
        for each in tests:  # noqa: SIM110 - see _all
            if each(document):
                return True
        return False

    return test


def _any_of(attribute: Attribute, values: frozenset[Hashable], type: str) -> Test:
    if attribute is Attribute.TYPE:
        found = type in values
        return lambda document: found
    if attribute is Attribute.ID:
        return lambda document: f"{type}/{document['_id']}" in values
    if attribute is Attribute.CUSTODIAN:
        return lambda document: document["org"] in values
    place = field(attribute)
    return lambda document: place in document and not values.isdisjoint(document[place])


def _only_of(attribute: Attribute, values: frozenset[Hashable], type: str) -> Test:
    if attribute in (Attribute.TYPE, Attribute.ID, Attribute.CUSTODIAN):  # of which a document has exactly one
        return _any_of(attribute, values, type)
    place = field(attribute)
    return lambda document: values.issuperset(document.get(place, ()))


def _during(predicate: During) -> Test:
    start, end = predicate.start, predicate.end
    first, last = ("lo", "hi") if predicate.wholly else ("hi", "lo")

    def test(document: Document) -> bool:
        time = document["w"]
        return (start is None or time[first] >= start) and (end is None or time[last] <= end)

    return test


def _per_person(predicate: PerPerson, type: str) -> Test:
    of_groups = [(persons, _when_asked(part, type)) for persons, part in predicate.groups]
    by_person = {person: test for persons, test in of_groups for person in persons}
    otherwise, nobody = test_of(predicate.otherwise, type), test_of(predicate.nobody, type)

    def test(document: Document) -> bool:
        if "pats" not in document:
            person = document.get("pat")
            return (nobody if person is None else by_person.get(person, otherwise))(document)
        persons = document["pats"]
        return all(by_person.get(each, otherwise)(document) for each in persons) if persons else nobody(document)

    return test


def _when_asked(predicate: Predicate, type: str) -> Test:
    """Return the test of a predicate; one that says very much is taken apart when it is first needed."""
    if not is_long(predicate):
        return test_of(predicate, type)
    made: list[Test] = []

    def test(document: Document) -> bool:
        if not made:
            made.append(test_of(predicate, type))
        return made[0](document)

    return test


def is_long(predicate: Predicate) -> bool:
    """Return whether a predicate has so many parts that a query with it takes longer to be read than to be answered."""
    parts, waiting = 0, [predicate]
    while waiting and parts <= MOST_PARTS:
        parts += 1
        match waiting.pop():
            case AllOf(found) | Either(found):
                waiting += found
            case Not(part):
                waiting.append(part)
    return parts > MOST_PARTS


def at_length(predicate: Predicate) -> Iterator[Hashable]:
    """Yield the persons of whom a predicate says very much."""
    match predicate:
        case AllOf(parts) | Either(parts):
            for part in parts:
                yield from at_length(part)
        case Not(part):
            yield from at_length(part)
        case PerPerson(groups, _, _):
            for persons, part in groups:
                if is_long(part):
                    yield from persons


def in_short(predicate: Predicate, *, upwards: bool) -> Predicate:
    """Return a predicate that says little of everybody, and the same as this one of all but those of whom it says much.

    Of these it holds wherever this one does or, if not upwards, only where this one does.
    """
    match predicate:
        case AllOf(parts):
            return all_of(*(in_short(part, upwards=upwards) for part in parts))
        case Either(parts):
            return either(*(in_short(part, upwards=upwards) for part in parts))
        case Not(part):
            return negate(in_short(part, upwards=not upwards))
        case PerPerson(groups, otherwise, nobody):
            short = [(persons, Constant(upwards) if is_long(part) else part) for persons, part in groups]
            return per_person(short, otherwise, nobody)
    return predicate


def whatever(predicate: Predicate, *, upwards: bool = False) -> Predicate:
    """Return a predicate that asks for nothing that a record says, and holds where this one does whatever it says.

    Of a record that was purged nothing is left but what it was, whose, and who kept it. upwards: if true, it holds wherever
    this one may.
    """
    match predicate:
        case AnyOf(attribute, _) | OnlyOf(attribute, _) if attribute not in LASTING:
            return Constant(upwards)
        case During():
            return Constant(upwards)
        case AllOf(parts):
            return all_of(*(whatever(part, upwards=upwards) for part in parts))
        case Either(parts):
            return either(*(whatever(part, upwards=upwards) for part in parts))
        case Not(part):
            return negate(whatever(part, upwards=not upwards))
        case PerPerson(groups, otherwise, nobody):
            return per_person(
                [(persons, whatever(part, upwards=upwards)) for persons, part in groups],
                whatever(otherwise, upwards=upwards),
                whatever(nobody, upwards=upwards),
            )
    return predicate


def read(predicate: Predicate) -> frozenset[str]:
    """Return the fields of a document that tell whether a predicate holds."""
    return frozenset(_read(predicate))


def _read(predicate: Predicate) -> Iterator[str]:
    match predicate:
        case AllOf(parts) | Either(parts):
            for part in parts:
                yield from _read(part)
        case Not(part):
            yield from _read(part)
        case AnyOf(attribute, _) | OnlyOf(attribute, _):
            if attribute is not Attribute.TYPE:
                yield "_id" if attribute is Attribute.ID else field(attribute)
        case During():
            yield "w"
        case PerPerson(groups, otherwise, nobody):
            yield from ("pat", "pats")
            for part in (otherwise, nobody, *(part for _, part in groups)):
                yield from _read(part)


def named(predicate: Predicate) -> int:
    """Return how many persons a predicate names."""
    match predicate:
        case AllOf(parts) | Either(parts):
            return sum(map(named, parts))
        case Not(part):
            return named(part)
        case PerPerson(groups, otherwise, nobody):
            within = sum(map(named, (otherwise, nobody, *(part for _, part in groups))))
            return within + sum(len(persons) for persons, _ in groups)
    return 0
