"""Conditions over the attributes of a record: values that can be compared, hashed, evaluated and translated.

A predicate is what Consents compile to. The same value is evaluated here on one record and translated elsewhere to a
database query for many, so every class says in one line when it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypeVar

Values: TypeAlias = frozenset[Hashable]
NO_VALUES: Values = frozenset()


class Attribute(StrEnum):
    """What a predicate can ask of a record; a record may have any number of values of each."""

    TYPE = "type"  # "Observation"
    ID = "id"  # "Observation/123"
    CUSTODIAN = "custodian"  # id of an Organization
    LABEL = "label"  # canonical label, see vocabulary.canonical_label
    CODE = "code"  # "system|code" of any coding in the instance
    PROFILE = "profile"  # canonical URL
    AUTHOR = "author"  # "Practitioner/1"
    REFERS = "refers"  # "Encounter/1": every literal reference that the record makes
    TERM = "term"  # what else a server files a record under; Consents do not ask for it


@dataclass(frozen=True, slots=True)
class Record:
    """What a predicate looks at.

    persons: keys of all persons whose compartment the record is in; empty = nobody's.
    start, end: clinical time in microseconds since 1970 UTC, inclusive; unknown = -inf, +inf.
    """

    attributes: Mapping[Attribute, Values]
    persons: Values
    start: int | float
    end: int | float


@dataclass(frozen=True, slots=True)
class Constant:
    """Holds for every record, or for none."""

    value: bool

    def holds(self, record: Record) -> bool:
        return self.value


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds if the record has at least one of the values."""

    attribute: Attribute
    values: Values

    def holds(self, record: Record) -> bool:
        return not self.values.isdisjoint(record.attributes.get(self.attribute, NO_VALUES))


@dataclass(frozen=True, slots=True)
class OnlyOf:
    """Holds if every value that the record has is among the values; so also if it has none."""

    attribute: Attribute
    values: Values

    def holds(self, record: Record) -> bool:
        return self.values.issuperset(record.attributes.get(self.attribute, NO_VALUES))


@dataclass(frozen=True, slots=True)
class During:
    """Holds if the record's time lies wholly within [start, end], or only overlaps it; None = unbounded."""

    start: int | None
    end: int | None
    wholly: bool

    def holds(self, record: Record) -> bool:
        first, last = (record.start, record.end) if self.wholly else (record.end, record.start)
        return (self.start is None or first >= self.start) and (self.end is None or last <= self.end)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds if all parts hold. Built by all_of. nested: the parts that have parts themselves."""

    parts: frozenset[Predicate]
    nested: tuple[AllOf | Either, ...] = field(init=False, repr=False, compare=False)
    negation: Either | None = field(init=False, repr=False, compare=False, default=None)  # once it was asked for

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", _nested(self.parts))

    def holds(self, record: Record) -> bool:
        for part in self.parts:  # noqa: SIM110 - a generator costs more than the test on this hot path
            if not part.holds(record):
                return False
        return True

    def negated(self, negate: Callable[[Predicate], Predicate]) -> Either:
        """Return the negation: of each negation of a part, one. It is kept."""
        return _opposed(self, Either(frozenset(map(negate, self.parts))))


@dataclass(frozen=True, slots=True)
class Either:
    """Holds if at least one part holds. Built by either. nested: the parts that have parts themselves."""

    parts: frozenset[Predicate]
    nested: tuple[AllOf | Either, ...] = field(init=False, repr=False, compare=False)
    negation: AllOf | None = field(init=False, repr=False, compare=False, default=None)  # once it was asked for

    def __post_init__(self) -> None:
        object.__setattr__(self, "nested", _nested(self.parts))

    def holds(self, record: Record) -> bool:
        for part in self.parts:  # noqa: SIM110 - see AllOf
            if part.holds(record):
                return True
        return False

    def negated(self, negate: Callable[[Predicate], Predicate]) -> AllOf:
        """Return the negation: all negations of the parts. It is kept."""
        return _opposed(self, AllOf(frozenset(map(negate, self.parts))))


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if the part does not. Built by negate."""

    part: Predicate

    def holds(self, record: Record) -> bool:
        return not self.part.holds(record)


@dataclass(frozen=True, slots=True)
class PerPerson:
    """Holds if for every person of the record the predicate of that person's group holds.

    groups: persons and what must hold for them; a person in no group: `otherwise`.
    nobody: what must hold for a record of no person.
    Raises ValueError if a person stands in two groups.
    """

    groups: tuple[tuple[Values, Predicate], ...]
    otherwise: Predicate
    nobody: Predicate
    _by_person: dict[Hashable, Predicate] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_person = {person: predicate for persons, predicate in self.groups for person in persons}
        if len(by_person) != sum(len(persons) for persons, _ in self.groups):
            raise ValueError("a person stands in two groups")
        object.__setattr__(self, "_by_person", by_person)

    def holds(self, record: Record) -> bool:
        if not record.persons:
            return self.nobody.holds(record)
        for person in record.persons:  # noqa: SIM110 - see AllOf
            if not self._by_person.get(person, self.otherwise).holds(record):
                return False
        return True


Predicate: TypeAlias = Constant | AnyOf | OnlyOf | During | AllOf | Either | Not | PerPerson

WHOLES = (AllOf, Either)  # what has parts
Opposite = TypeVar("Opposite", AllOf, Either)


def _nested(parts: frozenset[Predicate]) -> tuple[AllOf | Either, ...]:
    return tuple([part for part in parts if isinstance(part, WHOLES)])


def _opposed(one: AllOf | Either, other: Opposite) -> Opposite:
    """The other one, now that each of the two knows that it is the negation of the other."""
    object.__setattr__(one, "negation", other)
    object.__setattr__(other, "negation", one)
    return other


EVERYTHING = Constant(True)
NOTHING = Constant(False)
