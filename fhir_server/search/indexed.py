"""How much of a search the indexes of the store answer; the rest is decided by looking through what they leave.

Equality of every kind, the id and the time of the last update are indexed; ranges, :missing, :not and positions are not.
The date parameters by which people search alone (ranges.py) have an index in the order of their beginnings, which bounds
their ranges and tells what has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fhir_server.search.asked import SortKey
from fhir_server.search.ast import (
    And,
    Clause,
    Filed,
    IdIn,
    InSpan,
    Missing,
    Near,
    Not,
    Obliged,
    Or,
    SelfIn,
    Shown,
    Text,
    Updated,
)
from fhir_server.search.ranges import reaches
from fhir_server.search.values import presence

EVERYTHING = And(())
# Sort keys that an index of every type is in the order of.
IN_ORDER = frozenset({"_id", "_lastUpdated"})


class Indexed(NamedTuple):
    """The part of a clause that indexes answer, and the parameters that are decided by looking through what they leave.

    The part holds wherever the clause holds, and perhaps elsewhere. A range that an index bounds is in both: what it
    leaves may be much, and is in no order.
    """

    clause: Clause
    rest: frozenset[str] = frozenset()


def indexed(clause: Clause, bounded: frozenset[str] = frozenset()) -> Indexed:
    """Return what the indexes answer of a resolved clause. bounded: the parameters whose ranges they bound."""
    match clause:
        case Text(param, terms, _) if terms == (presence(param),):
            return Indexed(EVERYTHING, frozenset({param}))
        case Filed() | Text() | IdIn() | SelfIn() | Updated() | Obliged():
            return Indexed(clause)
        case Shown(part, among):
            return Indexed(indexed(among, bounded).clause, frozenset(named(part)))
        case InSpan(param) if reaches([clause], bounded):
            return Indexed(clause, frozenset({param}))
        case Missing(param, True) if param in bounded:
            return Indexed(clause)
        case InSpan(param) | Missing(param) | Near(param):
            return Indexed(EVERYTHING, frozenset({param}))
        case And(parts) | Or(parts):
            found = [indexed(part, bounded) for part in parts]
            rest = frozenset(param for each in found for param in each.rest)
            return Indexed(type(clause)(tuple(each.clause for each in found)), rest)
        case Not(Or(())):  # holds always
            return Indexed(EVERYTHING)
        case Not(part):
            return Indexed(EVERYTHING, frozenset(named(part)))
    raise ValueError(f"{type(clause).__name__} is resolved before it is looked up")


def named(clause: Clause) -> set[str]:
    """Return the parameters of a clause."""
    match clause:
        case And(parts) | Or(parts):
            return {param for part in parts for param in named(part)}
        case Not(part) | Shown(part, _):
            return named(part)
        case IdIn() | SelfIn():
            return {"_id"}
        case Updated():
            return {"_lastUpdated"}
    return {clause.param} if hasattr(clause, "param") else set()


def by_id(clause: Clause) -> bool:
    """Return whether a clause names the resources themselves, so that they are few."""
    match clause:
        case IdIn() | SelfIn():
            return True
        case And(parts):
            return any(map(by_id, parts))
    return False


def in_order(sort: Sequence[SortKey], bounded: frozenset[str] = frozenset()) -> bool:
    """Return whether an index is in the order of the keys, so that a page needs no other rows than its own.

    bounded: the parameters that have an index in the order of their beginnings.
    """
    return not sort or (len(sort) == 1 and sort[0].param in IN_ORDER | bounded)
