"""What a search asks for, as a tree of frozen clauses: made by parse.py, read by mongo.py and matches.py.

`terms` are index terms in plain form (`code|form`); `asked` are the questions they came from, as the file of the
parameter's type words them. The MongoDB reading looks at the terms, the oracle (matches.py) at the questions.
A clause made of terms alone (by the planner) has no questions, so that the oracle looks at its terms as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from consent_engine.predicate import Predicate

Bound = Literal["lo", "hi", "lo2", "hi2"]
Operator = Literal["lt", "lte", "gt", "gte"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One end of a filed span against a value: dates in microseconds since 1970 UTC, numbers as doubles.

    bound: lo2 and hi2 are the ends of a span's second stretch, where it has one.
    """

    bound: Bound
    operator: Operator
    value: float


@dataclass(frozen=True, slots=True)
class SpanTest:
    """Every comparison holds and every term is filed, all on the same span."""

    comparisons: tuple[Comparison, ...]
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filed:
    """The document is filed under at least one of the terms."""

    param: str
    terms: tuple[str, ...]
    asked: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class PersonReference:
    """A reference to a Patient that means the person: the planner adds the person's other Patients.

    references: the Patients asked for ("Patient/1"). terms: the literal look-up, other alternatives included.
    """

    param: str
    references: tuple[str, ...]
    terms: tuple[str, ...]
    asked: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A text look-up that the index answers only in part: candidates by term, then checked on the opened body."""

    param: str
    terms: tuple[str, ...]
    wanted: Hashable


@dataclass(frozen=True, slots=True)
class InSpan:
    """At least one span filed for the parameter passes at least one of the tests."""

    param: str
    tests: tuple[SpanTest, ...]
    asked: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing is filed for the parameter. ranged: it is filed as spans, not as terms."""

    param: str
    ranged: bool


@dataclass(frozen=True, slots=True)
class IdIn:
    """The logical id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SelfIn:
    """The resource is one of those whose keyed self terms these are; the planner makes it of a Has.

    numbers: as `to` of the resources that refer to them has them (store/shadow.py).
    """

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """The time of the last update, taken as a span of no length, passes the test."""

    test: SpanTest


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference of the parameter leads to a resource of one of the targets, on which that target's clause holds."""

    param: str
    targets: tuple[str, ...]
    clause_by_target: tuple[tuple[str, Clause], ...]


@dataclass(frozen=True, slots=True)
class Has:
    """A resource of `type`, on which the clause holds, refers to this one by its parameter (_has)."""

    type: str
    param: str
    clause: Clause


@dataclass(frozen=True, slots=True)
class Listed:
    """The resource stands in the List with this id, and is not marked there as deleted (_list)."""

    id: str


@dataclass(frozen=True, slots=True)
class InValueSet:
    """A coded value is a member of the value set: its canonical URL, or "ValueSet/id" (:in; :not-in within Not)."""

    param: str
    url: str


@dataclass(frozen=True, slots=True)
class Subsumed:
    """A coded value is the code or below it, or with `above`: the code or above it, in the code system's hierarchy."""

    param: str
    system: str
    code: str
    above: bool


@dataclass(frozen=True, slots=True)
class Near:
    """A position lies within a great-circle distance of a point: degrees (WGS 84) and kilometres."""

    param: str
    latitude: float
    longitude: float
    kilometres: float


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds; no part at all is everything."""

    parts: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; no part at all is nothing."""

    parts: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Clause


@dataclass(frozen=True, slots=True)
class Obliged:
    """The stored document is one of those on which the predicate holds: of which something is withheld (redaction/)."""

    type: str
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class Shown:
    """The part holds on the resource as it is shown, which the index does not tell.

    among: a clause that holds wherever the part does; the index looks up that one.
    """

    part: Clause
    among: Clause


Clause = (
    Filed
    | PersonReference
    | Text
    | InSpan
    | Missing
    | IdIn
    | SelfIn
    | Updated
    | Chain
    | Has
    | Listed
    | InValueSet
    | Subsumed
    | Near
    | And
    | Or
    | Not
    | Obliged
    | Shown
)


def transform(clause: Clause, function: Callable[[Clause], Clause]) -> Clause:
    """Return the clause with `function` applied to every node, innermost first.

    It does not enter the clauses of a Chain or a Has: those speak of other resources.
    """
    match clause:
        case And(parts) | Or(parts):
            return function(replace(clause, parts=tuple(transform(part, function) for part in parts)))
        case Not(part):
            return function(Not(transform(part, function)))
        case Shown(part, among):
            return function(Shown(transform(part, function), transform(among, function)))
    return function(clause)


def needs_body(clause: Clause) -> bool:
    """Return whether the index alone cannot decide the clause, so that bodies have to be opened."""
    match clause:
        case Text() | Shown():
            return True
        case And(parts) | Or(parts):
            return any(needs_body(part) for part in parts)
        case Not(part):
            return needs_body(part)
    return False


def leads_elsewhere(clause: Clause) -> bool:
    """Return whether something else than the resource has to be looked at, so that the planner has work with it."""
    match clause:
        case Chain() | Has() | Listed() | InValueSet() | Subsumed() | PersonReference():
            return True
        case And(parts) | Or(parts):
            return any(leads_elsewhere(part) for part in parts)
        case Not(part) | Shown(part, _):
            return leads_elsewhere(part)
    return False


def both(parts: Iterable[Clause]) -> Clause:
    """Return the conjunction of the parts, without a layer that says nothing."""
    found = tuple(parts)
    return found[0] if len(found) == 1 else And(found)


def either(parts: Iterable[Clause]) -> Clause:
    """Return the disjunction of the parts; look-ups of the same parameter become one look-up.

    >>> either([Filed("gender", ("gender||male",)), Filed("gender", ("gender||female",))]).terms
    ('gender||male', 'gender||female')
    """
    found: list[Clause] = []
    for part in parts:
        joined = _joined(found[-1], part) if found else None
        if joined is None:
            found.append(part)
        else:
            found[-1] = joined
    return found[0] if len(found) == 1 else Or(tuple(found))


def _joined(left: Clause, right: Clause) -> Clause | None:
    match left, right:
        case Filed(), Filed() if left.param == right.param:
            return Filed(left.param, left.terms + right.terms, left.asked + right.asked)
        case PersonReference(), Filed() if left.param == right.param:
            return replace(left, terms=left.terms + right.terms, asked=left.asked + right.asked)
        case Filed(), PersonReference() if left.param == right.param:
            return replace(right, terms=left.terms + right.terms, asked=left.asked + right.asked)
        case PersonReference(), PersonReference() if left.param == right.param:
            references = left.references + right.references
            return PersonReference(left.param, references, left.terms + right.terms, left.asked + right.asked)
        case InSpan(), InSpan() if left.param == right.param:
            return InSpan(left.param, left.tests + right.tests, left.asked + right.asked)
    return None
