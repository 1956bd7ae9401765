"""What a transaction asks for beside its writes must be answerable: R4 accepts all entries, or rejects all.

It is carried out after the writes, whose results it shows, so what can be foreseen to fail is looked for before them.
"""

from __future__ import annotations

from collections.abc import Iterable

from fhir_server.errors import Absent, Gone, Problem
from fhir_server.interactions.call import Services, gate_for, serves
from fhir_server.interactions.searching.query import Query, begun, read_query
from fhir_server.interactions.transactions.entries import Entry, located
from fhir_server.interactions.transactions.plan import Plan


async def refuse_unanswerable(use: Services, plan: Plan, writing: Iterable[Entry], reading: Iterable[Entry]) -> None:
    """Return if the reads and searches of a transaction can be answered once its writes are stored.

    Raises the problem of the first that cannot, saying which it is.
    """
    written = {place for each in writing if (place := plan.place(each))}
    gone = {f"{each.type}/{id}" for each in writing for id in plan.deletes.get(each.number, ())}
    for entry in reading:
        try:
            if entry.request.interaction == "read":
                await _refuse_absent(use, entry, written, gone)
            elif entry.request.interaction == "search-type":
                _refuse_unreadable(use, entry)
        except Problem as problem:
            raise located(problem, entry) from problem


async def _refuse_absent(use: Services, entry: Entry, written: set[str], gone: set[str]) -> None:
    serves(use, entry.type)
    gate = gate_for(use, entry.call, entry.type, "r")
    id = str(entry.request.id)
    place = f"{entry.type}/{id}"
    if place in written or (place not in gone and await use.resources.read(entry.type, id, gate)):
        return
    if place in gone:
        raise Gone("The resource is deleted by this transaction.")
    raise Absent


def _refuse_unreadable(use: Services, entry: Entry) -> None:
    serves(use, entry.type)
    own, gate = entry.call, gate_for(use, entry.call, entry.type, "s")
    pairs, _ = begun(use, own, entry.type, entry.request.pairs)
    of = (entry.type,)
    read_query(use, own, Query("search-type", entry.type, of, of, hidden=False), pairs, gate.now)
