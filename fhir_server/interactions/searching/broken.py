"""Whose records a count has told of that were open by breaking the glass alone: they are notified, and nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server.auth.gate import RequestGate
from fhir_server.interactions.call import Call, Services
from fhir_server.interactions.searching.wanted import Wanted, filter_of, opened
from fhir_server.interactions.together import all_of
from fhir_server.search.ast import needs_body
from fhir_server.store.resources import WITHOUT_BODY, Document, Sort

BY_ID: Sort = [("_id", 1)]
Notified = frozenset[tuple[str, str]]


async def broken(use: Services, call: Call, wanted: Sequence[Wanted], gate: RequestGate) -> Notified:
    """Return the Patients (id, custodian) whose records are among those found, and open to nobody's word."""
    id = (call.requester.patient or "").removeprefix("Patient/")
    (person,) = (await use.gatekeeper.persons.keys([id])).values()
    theirs: Document = {"$or": [{"pat": person}, {"pats": person}]}
    found = await all_of(_found(use, each, gate, theirs) for each in wanted)
    return frozenset().union(*(opened_of(gate, each.type, rows) for each, rows in zip(wanted, found, strict=True)))


def opened_of(gate: RequestGate, type: str, rows: Iterable[Document]) -> Notified:
    """Return the Patients (id, custodian) of those of some records that breaking the glass has opened."""
    opened = [each for each in rows if gate.broke_glass(type, each, gate.decision(type, each))]
    return frozenset((patient, each["org"]) for each in opened for patient in each.get("pr", ()))


async def _found(use: Services, wanted: Wanted, gate: RequestGate, theirs: Document) -> list[Document]:
    if needs_body(wanted.clause):
        return [row for row, _ in await opened(use, wanted, gate, BY_ID)]
    filter = {"$and": [filter_of(use, wanted), theirs]}
    return await use.resources.find(wanted.type, filter, gate, sort=BY_ID, limit=0, shown=WITHOUT_BODY, few=True)
