"""What is to be found, and the rows of it: by the index, or decided on opened bodies where the index cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consent_engine.predicate import holds
from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services
from fhir_server.interactions.searching.damaged import opening
from fhir_server.search.ast import Clause, IdIn, Obliged, SelfIn, needs_body, transform
from fhir_server.search.mongo import to_filter
from fhir_server.search.ranges import bounded
from fhir_server.store.common import apart, common
from fhir_server.store.permitted import record_of
from fhir_server.store.resources import Document, Sort
from fhir_server.store.terms import self_term

MOST_OPENED = 5_000

# What is not needed of a row that is shown.
SHOWN = {"r": 0, "e": 0, "ix": 0, "cx": 0, "has": 0, "to": 0, "g": 0}
BY_ID: Sort = [("_id", 1)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found: a clause without chains. of_few: only records of the few persons that it names can match."""

    type: str
    clause: Clause
    of_few: bool = False


def filter_of(use: Services, wanted: Wanted) -> dict[str, Any]:
    """Return the MongoDB filter of what is wanted, or, if bodies decide it, of all that may be."""
    # The records of few persons are found by the terms that name them: a range is compared in them, not looked up.
    ranges = frozenset[str]() if wanted.of_few else bounded(wanted.type)
    return apart(to_filter(wanted.clause, use.term, ranges), common(wanted.type, use.term))


async def rows_of(
    use: Services, wanted: Wanted, gate: RequestGate, *, limit: int, shown: Mapping[str, Any] = SHOWN
) -> list[Document]:
    """Return the first rows of what is wanted, by id, decided on opened bodies where that is needed."""
    if needs_body(wanted.clause):
        return [row for row, _ in await opened(use, wanted, gate, BY_ID)][:limit]
    filter = filter_of(use, wanted)
    return await use.resources.find(wanted.type, filter, gate, sort=BY_ID, limit=limit, shown=shown, few=wanted.of_few)


async def opened(
    use: Services, wanted: Wanted, gate: RequestGate, order: Sort, *, too_many: TooCostly | None = None
) -> list[tuple[Document, Any]]:
    """Return what is wanted, with each resource as it is shown; decided on that where it is needed.

    Of the log, what does not open is left out, and the gate knows of it. Raises TooCostly, or the problem given, if too
    much must be opened.
    """
    rows = await use.resources.find(
        wanted.type, filter_of(use, wanted), gate, sort=order, limit=MOST_OPENED + 1, shown=SHOWN, few=wanted.of_few
    )
    if len(rows) > MOST_OPENED:
        raise too_many or looked_through()
    found = [(row, parse(body)) for row, body in await opening(use, gate, wanted.type, rows)]
    if not needs_body(wanted.clause):
        return found
    clause = _with_ids(use, wanted, rows)
    return [(row, resource) for row, resource in found if use.matches(clause, resource)]


def looked_through() -> TooCostly:
    return TooCostly(f"More than {MOST_OPENED} resources would have to be looked through: narrow the search.")


def _with_ids(use: Services, wanted: Wanted, rows: Sequence[Document]) -> Clause:
    """Return the clause for these rows with ids in place of what a resource alone does not show.

    These are keyed self terms, and whether something of it is withheld.
    """

    def named(clause: Clause) -> Clause:
        if isinstance(clause, Obliged):
            return IdIn(tuple(row["_id"] for row in rows if holds(clause.predicate, record_of(wanted.type, row))))
        if not isinstance(clause, SelfIn):
            return clause
        numbers = set(clause.numbers)
        return IdIn(tuple(row["_id"] for row in rows if use.term(self_term(f"{wanted.type}/{row['_id']}")) in numbers))

    return transform(wanted.clause, named)
