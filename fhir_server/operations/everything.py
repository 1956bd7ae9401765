"""Patient/[id]/$everything, Patient/$everything, Encounter/[id]/$everything.

The records of a compartment and what they refer to, each under the gate of a read. Unless pages are asked for, all of it
is one Bundle. Source: FHIR R4 OperationDefinition "Patient-everything", "Encounter-everything".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from orjson import loads

from consent_engine.predicate import either
from fhir_server.auth.gate import RequestGate
from fhir_server.errors import InvalidRequest, InvalidSearchValue
from fhir_server.interactions.call import Answer, Call, Services, gate_for
from fhir_server.interactions.cursor import Cursor, Position, sealed_cursor
from fhir_server.interactions.read import present
from fhir_server.interactions.searching.opening import Opened, opened_rows
from fhir_server.interactions.searching.persons import Persons
from fhir_server.interactions.searching.query import CURSOR
from fhir_server.interactions.together import all_of
from fhir_server.operations.answers import recorded, searchset, self_link
from fhir_server.operations.definition import Invocation
from fhir_server.operations.supporting import patients_shown, supporting
from fhir_server.redaction.asking import withheld
from fhir_server.redaction.showing import due_overall
from fhir_server.search.types import reference
from fhir_server.store.clinical import CLINICAL_TIME, clinical_time
from fhir_server.store.permitted import to_filter
from fhir_server.store.resources import Document

MOST_ON_A_PAGE = 5_000
SHOWN = {"r": 0, "s": 0, "e": 0, "ix": 0, "has": 0, "to": 0, "g": 0}
# The log is for auditors, by search; Bundles are copies of records.
NOT_RECORDS = frozenset({"AuditEvent", "Bundle"})
NO_CLINICAL_TIME = {"$expr": {"$and": [{"$eq": ["$w.lo", "$at"]}, {"$eq": ["$w.hi", "$at"]}]}}

Filters = Mapping[str, Document]
Row = tuple[str, Document]


async def patient_everything(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return all records of a patient: of the person, as a search for the patient's records means it.

    Raises Absent or Gone as a read of the Patient does, InvalidRequest if no patient is named and the token names none.
    """
    gate = gate_for(use, call, "Patient", "r")
    id = asked.id or _in_context(call)
    await present(use, "Patient", id, gate)
    others = await Persons(use, gate).others((f"Patient/{id}",))
    patients = sorted({id, *(each.removeprefix("Patient/") for each in others)})
    types = sorted(use.gatekeeper.personal - NOT_RECORDS, key=lambda type: (type != "Patient", type))
    found = await all_of(_of_patients(use, gate, type, patients) for type in types)
    filters = dict(zip(types, found, strict=True))
    return await _answer(use, call, asked, gate, filters, kin=frozenset())


async def encounter_everything(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return all records of an encounter. Raises Absent or Gone as a read of the Encounter does."""
    gate = gate_for(use, call, "Encounter", "r")
    encounter = await present(use, "Encounter", str(asked.id), gate)
    filters: dict[str, Document] = {"Encounter": {"_id": encounter["_id"]}}
    for type, parameters in sorted(use.registry.compartment("Encounter").items()):
        belongs = await _belonging(use, gate, type, parameters, [f"Encounter/{encounter['_id']}"])
        filters[type] = {"$or": [filters[type], belongs]} if type in filters else belongs
    filters = {type: filter for type, filter in filters.items() if type not in NOT_RECORDS}
    (shown,) = await opened_rows(use, gate, [("Encounter", encounter)])
    return await _answer(use, call, asked, gate, filters, kin=await patients_shown(use, gate, shown))


async def _of_patients(use: Services, gate: RequestGate, type: str, patients: Sequence[str]) -> Document:
    """Return the filter of the records of a type that are these patients', as far as it is shown whose they are."""
    theirs: Document = {"pr": {"$in": list(patients)}}
    parameters = use.registry.compartment("Patient").get(type, ())
    if not parameters or not await due_overall(use, gate, type):
        return theirs
    shown = await _belonging(use, gate, type, parameters, [f"Patient/{each}" for each in patients])
    # A Patient is one's own record whatever is shown of it; others are by their links.
    alike = [shown, {"_id": {"$in": list(patients)}}] if type == "Patient" else [shown]
    return {"$and": [theirs, {"$or": alike}]}


async def _belonging(
    use: Services, gate: RequestGate, type: str, parameters: Iterable[str], places: Sequence[str]
) -> Document:
    """Return the filter of the records of a type that refer to a place by one of the parameters, as they are shown."""
    terms = {each: sorted(use.term(reference.term(each, place)) for place in places) for each in parameters}
    due = await due_overall(use, gate, type)
    if not due:
        return {"ix": {"$in": sorted(term for found in terms.values() for term in found)}}
    hidden = {each: either(*withheld(use.registry, type, each, due)) for each in terms}
    return {"$or": [{"ix": {"$in": found}, "$nor": [to_filter(hidden[each], type)]} for each, found in terms.items()]}


def _in_context(call: Call) -> str:
    named = call.requester.subject or call.requester.patient
    if named is None:
        raise InvalidRequest("The token names no patient: ask for Patient/[id]/$everything.")
    return named.removeprefix("Patient/")


async def _answer(
    use: Services, call: Call, asked: Invocation, gate: RequestGate, filters: Filters, *, kin: frozenset[str]
) -> Answer:
    """Return a page. kin: the patients of whom further records may be added because something refers to them."""
    types = _types(use, asked)
    wanted_types = [type for type in filters if types is None or type in types]
    limits = await all_of(_limits(use, asked, gate, type) for type in wanted_types)
    chosen = {type: {"$and": [filters[type], *each]} for type, each in zip(wanted_types, limits, strict=True)}
    size = min(asked.one("_count") or MOST_ON_A_PAGE, MOST_ON_A_PAGE)
    page, whole = await _page(use, asked, gate, chosen, size)

    def wanted(row: Opened, patients: frozenset[str]) -> bool:
        chosen = row.type not in NOT_RECORDS and (types is None or row.type in types)
        return chosen and (not patients or not kin.isdisjoint(patients))

    included = await supporting(use, gate, page, wanted=wanted)
    await recorded(use, call, asked, gate, [*page, *included])
    links = [self_link(call, asked)]
    if not whole:
        links.append(_next_link(use, call, asked, page[-1]))
    return searchset(call, links, page, included, len(page) if whole and asked.after is None else None)


async def _page(
    use: Services, asked: Invocation, gate: RequestGate, filters: Filters, size: int
) -> tuple[list[Opened], bool]:
    """Return a page, and whether it is the last. Where times are withheld, what is shown decides whether it is in time."""
    dated = asked.one("start") or asked.one("end")
    doubtful = [type for type in filters if dated and await due_overall(use, gate, type)]
    after, page = asked.after, list[Opened]()
    while True:
        rows = await _rows(use, gate, filters, after, size + 1)
        opened = await opened_rows(use, gate, rows[:size])
        page += [each for each in opened if each.type not in doubtful or _in_time(use, asked, each)]
        if len(rows) <= size:
            return page[:size], len(page) <= size
        if not doubtful:
            return page, False
        if len(page) > size:
            return page[:size], False
        after = Position((), opened[-1].type, opened[-1].document["_id"])


def _in_time(use: Services, asked: Invocation, row: Opened) -> bool:
    """Return whether a record, as it is shown, overlaps the time that is asked for; one that tells no time does."""
    time = clinical_time(use.projector(loads(row.body)))
    start, end = asked.one("start"), asked.one("end")
    return not time or ((not start or time["hi"] >= start[0]) and (not end or time["lo"] <= end[1]))


def _next_link(use: Services, call: Call, asked: Invocation, last: Opened) -> dict[str, str]:
    after = Position((), last.type, last.document["_id"])
    cursor = sealed_cursor(use.cursor_key, call.requester, Cursor(asked.place, asked.pairs, after))
    return {"relation": "next", "url": f"{call.base}/{asked.place}?{CURSOR}={cursor}"}


def _types(use: Services, asked: Invocation) -> frozenset[str] | None:
    """Return the types that are asked for; None for all. Raises InvalidSearchValue."""
    found = frozenset(type for each in asked.given.get("_type", ()) for type in each.split(","))
    if not found <= use.registry.types:
        raise InvalidSearchValue("_type names a type that is not served here.")
    return found or None


async def _limits(use: Services, asked: Invocation, gate: RequestGate, type: str) -> list[Document]:
    """Return the filters of what the times leave of a type.

    Records without a clinical time are of every time; those of which it is withheld in part are looked at as they are shown.
    """
    found: list[Document] = []
    start, end, since = (asked.one(name) for name in ("start", "end", "_since"))
    if start or end:
        overlaps: Document = {"w.hi": {"$gte": start[0]}} if start else {}
        overlaps |= {"w.lo": {"$lte": end[1]}} if end else {}
        due = await due_overall(use, gate, type)
        told = set(CLINICAL_TIME) & use.registry.parameters(type).keys()
        hidden = either(*(each for code in told for each in withheld(use.registry, type, code, due)))
        found.append({"$or": [overlaps, NO_CLINICAL_TIME, to_filter(hidden, type)]})
    if since:
        found.append({"at": {"$gte": since[0]}})
    return found


async def _rows(use: Services, gate: RequestGate, filters: Filters, after: Position | None, limit: int) -> list[Row]:
    """Return the first rows behind a place, type by type as the filters stand, by id within each."""
    types = list(filters)
    if after:
        types = types[types.index(after.type) :]
    stored = await use.resources.stored()
    types = [type for type in types if type in stored]
    cuts = {after.type: {"$and": [filters[after.type], {"_id": {"$gt": after.id}}]}} if after else {}
    found = await asyncio.gather(
        *(
            use.resources.find(type, cuts.get(type, filters[type]), gate, sort=[("_id", 1)], limit=limit, shown=SHOWN)
            for type in types
        )
    )
    return [(type, row) for type, rows in zip(types, found, strict=True) for row in rows][:limit]
