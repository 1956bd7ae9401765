"""Asking for less over chains and _has: of the few resources that the rest of a search can find at all.

A search by a patient and by what the patient's records lead to would else look up that end for all patients first.
What is found stays the same; only what is looked up on the way becomes less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.search.ast import And, Chain, Clause, Filed, Has, SelfIn, both
from fhir_server.search.question import UNLINKED
from fhir_server.search.types import reference
from fhir_server.store.resources import Document


@dataclass(frozen=True, slots=True)
class Candidate:
    """A resource that may be found: its reference, and the keyed self terms of what it refers to, by parameter."""

    reference: str
    to: dict[str, list[int]]


def candidate(type: str, row: Document) -> Candidate:
    return Candidate(f"{type}/{row['_id']}", row.get("to", {}))


def parted(clause: Clause) -> tuple[list[Chain | Has], list[Clause]]:
    """Return the parts of a conjunction that lead to or come from other resources, and the others."""
    relations = [part for part in _parts(clause) if isinstance(part, Chain | Has)]
    return relations, [part for part in _parts(clause) if not isinstance(part, Chain | Has)]


def narrowed(relation: Chain | Has, candidates: Sequence[Candidate]) -> Chain | Has:
    """Return a relation that is the same for the candidates, and leads nowhere else."""
    if isinstance(relation, Has):
        terms = tuple(reference.term(relation.param, each.reference) for each in candidates)
        return Has(relation.type, relation.param, both([Filed(relation.param, terms), *_parts(relation.clause)]))
    ends = SelfIn(tuple(sorted({number for each in candidates for number in each.to.get(relation.param, ())})))
    by_target = tuple(
        (target, clause if target in UNLINKED else both([ends, *_parts(clause)]))
        for target, clause in relation.clause_by_target
    )
    return Chain(relation.param, relation.targets, by_target)


def _parts(clause: Clause) -> tuple[Clause, ...]:
    return clause.parts if isinstance(clause, And) else (clause,)
