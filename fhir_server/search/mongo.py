"""The MongoDB reading of clauses, on the documents that the store keeps (`_id`, `at`, `ix`, `has`, `r`, `s`, `e`).

Client text gets into a filter only as a value: as the id in `_id`, or as the keyed number of an index term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, assert_never

from fhir_server.search.asked import SortKey
from fhir_server.search.ast import (
    And,
    Chain,
    Clause,
    Filed,
    Has,
    IdIn,
    InSpan,
    InValueSet,
    Listed,
    Missing,
    Near,
    Not,
    Obliged,
    Or,
    PersonReference,
    SelfIn,
    Shown,
    SpanTest,
    Subsumed,
    Text,
    Updated,
    needs_body,
)
from fhir_server.search.ranges import Reach, reaches
from fhir_server.search.types.sphere import EARTH_RADIUS
from fhir_server.search.values import presence
from fhir_server.store.permitted import to_filter as where

Filter = dict[str, Any]
Keyed = Callable[[str], int]

NOTHING: Filter = {"_id": {"$in": []}}


def to_filter(clause: Clause, keyed: Keyed, bounded: frozenset[str] = frozenset()) -> Filter:
    """Return the filter of the documents on which a clause holds.

    A clause that needs bodies (`needs_body`) gets a filter that lets through every match, and others as well.
    keyed: from an index term to the number that stands for it in `ix`. bounded: the parameters whose ranges are to be
    looked up by the indexes of beginnings and ends as well (ranges.py).
    Raises ValueError for what the planner has to replace first: a Chain, a PersonReference and the like.
    """
    match clause:
        case Text(param, terms, _) if terms == (presence(param),):
            return {"has": keyed(terms[0])}
        case Filed(_, terms, _) | Text(_, terms, _):
            return {"ix": _one_of(terms, keyed)}
        case InSpan(param, tests, _):
            exact = _any({f"r.{param}": {"$elemMatch": _span(test, keyed)}} for test in tests)
            return _all([*_reached([clause], bounded), exact])
        case Missing(param, True) if param in bounded:  # all that is filed has a beginning
            return {f"s.{param}": None}
        case Missing(param, ranged):
            return {f"r.{param}": {"$exists": False}} if ranged else {"has": {"$ne": keyed(presence(param))}}
        case IdIn(ids):
            return {"_id": {"$in": list(ids)}}
        case SelfIn(numbers):
            return {"ix": {"$in": list(numbers)}}
        case Updated(test):
            return {"$and": [{"at": {f"${c.operator}": c.value}} for c in test.comparisons]}
        case And(parts):
            return _all([*_reached(parts, bounded), *(_within_and(part, keyed, bounded) for part in parts)])
        case Or(parts):
            return _any(to_filter(part, keyed, bounded) for part in parts)
        case Not(part):
            return {} if needs_body(part) else {"$nor": [to_filter(part, keyed)]}
        case Obliged(of, predicate):
            return where(predicate, of)
        case Shown(_, among):
            return to_filter(among, keyed, bounded)
        case Near(param, latitude, longitude, kilometres):
            # A point of the index is [longitude, latitude]; the radius is an angle.
            circle = [[longitude, latitude], kilometres / EARTH_RADIUS]
            return {f"g.{param}": {"$geoWithin": {"$centerSphere": circle}}}
        case Chain() | Has() | Listed() | InValueSet() | Subsumed() | PersonReference():
            raise ValueError(f"{type(clause).__name__} is resolved before a filter is made")
    assert_never(clause)


def _within_and(part: Clause, keyed: Keyed, bounded: frozenset[str]) -> Filter:
    """Return the filter of a part of a conjunction, whose ranges are bounded all together."""
    return to_filter(part, keyed, frozenset() if isinstance(part, InSpan) else bounded)


def _reached(clauses: Iterable[Clause], bounded: frozenset[str]) -> Iterator[Filter]:
    """Yield what the indexes of beginnings and ends have to say of the ranges of a conjunction."""
    for param, stretches in reaches(clauses, bounded).items():
        yield _any(part for stretch in stretches for part in _in_stretch(param, stretch))


def _in_stretch(param: str, stretch: Reach) -> Iterator[Filter]:
    """Yield the filter of what has one short time in a stretch, and that of all else there."""
    began, latest = f"s.{param}", {} if stretch.until is None else {"$lte": stretch.until}
    if stretch.since is None:
        yield {began: latest}
    else:
        yield {began: {"$gte": stretch.since, **latest}}
        # The beginning has another name here, or MongoDB may look it up in the index of all.
        extent = f"e.{param}"
        yield {f"{extent}.hi": {"$gte": stretch.lasting}, **({f"{extent}.lo": latest} if latest else {})}


def _one_of(terms: tuple[str, ...], keyed: Keyed) -> Any:
    """Return the condition on `ix` that it holds one of the terms. A number can never be read as an operator."""
    numbers = [keyed(term) for term in terms]
    return numbers[0] if len(numbers) == 1 else {"$in": numbers}


def _span(test: SpanTest, keyed: Keyed) -> Filter:
    made: Filter = {}
    for comparison in test.comparisons:
        made.setdefault(comparison.bound, {})[f"${comparison.operator}"] = comparison.value
    if test.terms:
        made["t"] = {"$all": [keyed(term) for term in test.terms]}
    return made


def _all(filters: Iterable[Filter]) -> Filter:
    """Return the conjunction; look-ups of single terms are gathered into one $all, which an index on `ix` answers."""
    single, rest = [], []
    for each in filters:
        if each.keys() == {"ix"} and isinstance(each["ix"], int):
            single.append(each["ix"])
        elif each:
            rest.append(each)
    if single:
        rest.insert(0, {"ix": single[0] if len(single) == 1 else {"$all": single}})
    return {} if not rest else rest[0] if len(rest) == 1 else {"$and": rest}


def _any(filters: Iterable[Filter]) -> Filter:
    found = list(filters)
    return NOTHING if not found else found[0] if len(found) == 1 else {"$or": found}


def sort_field(key: SortKey) -> str:
    """Return the field of the document that a sort key orders by."""
    return {"_id": "_id", "_lastUpdated": "at"}.get(key.param, f"s.{key.param}")
