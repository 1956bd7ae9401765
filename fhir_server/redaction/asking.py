"""A search that is no oracle for what is withheld (consent.md, T32).

For a record of which an element is withheld, a parameter that reads the element counts as if the record had no value:
`:missing` holds, nothing else does. Where only a part of its values is withheld, it is decided on what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from consent_engine.predicate import EVERYTHING, NOTHING, Predicate, either
from fhir_server.definitions.registry import Registry
from fhir_server.redaction.affected import Effect, effect
from fhir_server.redaction.elements import is_element
from fhir_server.redaction.sections import TYPE as COMPOSITION
from fhir_server.search.ast import (
    And,
    Clause,
    Filed,
    Has,
    InSpan,
    Missing,
    Not,
    Obliged,
    Or,
    Shown,
    Text,
    both,
)
from fhir_server.store.permitted import Due

# Whatever is asked of a Composition, its sections may be hidden.
SECTIONS = "Composition.section"
ANYTHING = And(())


def withheld(registry: Registry, type: str, param: str, due: Due) -> tuple[Predicate, Predicate]:
    """Return of which records of a type a parameter loses all values, and of which it loses some.

    due: the obligations that bind the requester, each with the records for which it does.
    """
    found = [(effect(registry, type, param, obligation.element), when) for obligation, when in due]
    if type == COMPOSITION and effect(registry, type, param, SECTIONS) is not Effect.NONE:
        found.append((Effect.PARTLY, EVERYTHING))
    wholly = [when for left, when in found if left is Effect.WHOLLY]
    partly = [when for left, when in found if left is Effect.PARTLY and when not in wholly]
    return either(*wholly), either(*partly)


def hiding(registry: Registry, type: str, due: Due) -> Callable[[str], Predicate]:
    """Return the function from a search parameter to the records of a type of which it loses values, some or all."""
    return lambda param: either(*withheld(registry, type, param, due))


def unenforceable(due: Due) -> Predicate:
    """Return of which records something is to be withheld that cannot be."""
    return either(*(when for obligation, when in due if not is_element(obligation.element)))


def untouched(registry: Registry, type: str, param: str, due: Due) -> bool:
    """Return whether nothing that a parameter reads is withheld of any record of a type."""
    return withheld(registry, type, param, due) == (NOTHING, NOTHING)


def guarded(registry: Registry, type: str, clause: Clause, due: Due) -> Clause:
    """Return a clause on a type, not resolved yet, that finds what it would find if nothing but what is shown were stored."""
    match clause:
        case And(parts):
            return And(tuple(_flat(guarded(registry, type, part, due) for part in parts)))
        case Or(parts):
            return Or(tuple(guarded(registry, type, part, due) for part in parts))
        case Not(part):
            return Not(guarded(registry, type, part, due))
        case _ if (param := getattr(clause, "param", None)) and not isinstance(clause, Has):
            return _leaf(clause, type, *withheld(registry, type, param, due))
    return clause


def pointing(registry: Registry, has: Has, due: Due) -> Has:
    """Return a _has whose resources refer by what is shown of them. due: what binds of its type."""
    wholly, partly = withheld(registry, has.type, has.param, due)
    parts = [has.clause]
    if wholly != NOTHING:
        parts.append(Not(Obliged(has.type, wholly)))
    if partly != NOTHING:  # they are opened
        parts.append(Shown(ANYTHING, ANYTHING))
    return has if len(parts) == 1 else replace(has, clause=both(_flat(parts)))


def _flat(parts: Iterable[Clause]) -> list[Clause]:
    """Return the parts of a conjunction, those of one in it among them, so that each can be seen."""
    return [inner for part in parts for inner in (part.parts if isinstance(part, And) else (part,))]


def _leaf(clause: Clause, type: str, wholly: Predicate, partly: Predicate) -> Clause:
    found = clause
    if partly == EVERYTHING:
        found = Shown(clause, _among(clause))
    elif partly != NOTHING:
        bound = Obliged(type, partly)
        found = Or((And((clause, Not(bound))), And((bound, Shown(clause, ANYTHING)))))
    if wholly == NOTHING:
        return found
    bound = Obliged(type, wholly)
    return Or((found, bound)) if isinstance(clause, Missing) else And((found, Not(bound)))


def _among(clause: Clause) -> Clause:
    """Return what the index may be asked where whole values are withheld: it finds all that the clause finds."""
    return clause if isinstance(clause, Filed | Text | InSpan) else ANYTHING
