"""GET [base]/[type]?…, GET [base]?…, GET [base]/Patient/[id]/[type]?… and POST …/_search — FHIR R4 RESTful API, "search"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from fhir_server.auth.gate import RequestGate
from fhir_server.auth.policy import CONTEXTS
from fhir_server.auth.requester import ID
from fhir_server.auth.scopes import Reach
from fhir_server.definitions.registry import ANY_TYPE
from fhir_server.errors import Absent, Forbidden, UnsupportedParameter
from fhir_server.interactions.bundles import entry, searchset, warning
from fhir_server.interactions.call import Answer, Call, Services, counted, decided, gate_for, joined, serves
from fhir_server.interactions.cursor import Pairs, Position
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.broken import broken, opened_of
from fhir_server.interactions.searching.compartments import compartment_clause
from fhir_server.interactions.searching.containing import page_of_contained
from fhir_server.interactions.searching.damaged import told_of, with_damaged
from fhir_server.interactions.searching.explaining import explanation
from fhir_server.interactions.searching.finding import count_of_types, page_of_types
from fhir_server.interactions.searching.includes import LOG, included
from fhir_server.interactions.searching.naming import patients_named
from fhir_server.interactions.searching.opening import Opened, opened_rows, shown
from fhir_server.interactions.searching.query import Query, begun, read_query, types_named
from fhir_server.interactions.searching.resolving import resolved
from fhir_server.interactions.searching.wanted import Wanted
from fhir_server.interactions.shaping import shaped
from fhir_server.interactions.together import all_of
from fhir_server.search.ast import both
from fhir_server.search.subset import Shape


async def search_type(use: Services, call: Call, type: str, pairs: Pairs, *, posted: bool = False) -> Answer:
    """Return a searchset Bundle of what the requester may see of what was asked for.

    posted: the query came in a body, so it is kept out of the links, which end up in logs.
    """
    serves(use, type)
    return await _search_one(use, call, type, type, pairs, posted=posted)


async def search_system(use: Services, call: Call, pairs: Pairs, *, posted: bool = False) -> Answer:
    """Return a searchset Bundle of resources of the types that _type names, without it of all that the token allows."""
    return await _search_types(use, call, "search-system", "", use.registry.types, pairs, posted=posted)


async def search_compartment(
    use: Services, call: Call, within: tuple[str, str], type: str, pairs: Pairs, *, posted: bool = False
) -> Answer:
    """Return a searchset Bundle of what is in a compartment. type: "*" for all types that can be in it.

    The compartment of a resource that is absent or hidden is searched like any other.
    """
    compartment, id = within
    members = {*use.registry.compartment(compartment), compartment}
    if len(members) == 1 or not ID.fullmatch(id):
        raise Absent("There is no such compartment.")
    path = f"{compartment}/{id}/{type}"
    if type == "*":
        return await _search_types(use, call, "search-type", path, members, pairs, posted=posted, within=within)
    if type not in members:
        raise Absent("Resources of this type are never in this compartment.")
    return await _search_one(use, call, path, type, pairs, posted=posted, within=within)


async def _search_one(
    use: Services,
    call: Call,
    path: str,
    type: str,
    pairs: Pairs,
    *,
    posted: bool,
    within: tuple[str, str] | None = None,
) -> Answer:
    """Search one type. path: what is searched, below the base. within: the compartment."""
    gate = gate_for(use, call, type, "s")
    query, after = begun(use, call, path, pairs)
    search = Query("search-type", path, (type,), (type,), posted or query != pairs)
    asked = read_query(use, call, search, query, gate.now)
    wanted = await _resolved(use, asked, gate, within)
    return await _answer(use, call, asked, wanted, gate, after)


async def _search_types(
    use: Services,
    call: Call,
    interaction: str,
    path: str,
    known: Iterable[str],
    pairs: Pairs,
    *,
    posted: bool,
    within: tuple[str, str] | None = None,
) -> Answer:
    """Search several types together. known: those that can be asked for here.

    The log is no record: it is searched together with others only where _type names it.
    """
    query, after = begun(use, call, path, pairs)
    named = types_named(known, query)
    reach, contexts = call.requester.scopes.reach, CONTEXTS[call.requester.role]
    meant = named or sorted({*known} - LOG)
    allowed = [type for type in meant if reach(type, "s", contexts) is not Reach.NONE]
    if len(allowed) < len(named) or not allowed:
        raise Forbidden("The token's scopes do not allow this interaction (s) on these types.")
    gate = use.gatekeeper.gate(call.requester, "s")
    gate.begin()
    stored = await use.resources.stored()
    types = tuple(type for type in sorted(allowed) if type in stored)
    search = Query(interaction, path, types, named or (ANY_TYPE,), posted or query != pairs)
    asked = read_query(use, call, search, query, gate.now, typed=True)
    wanted = await _resolved(use, asked, gate, within)
    return await _answer(use, call, asked, wanted, gate, after)


async def _resolved(use: Services, asked: Query, gate: RequestGate, within: tuple[str, str] | None) -> list[Wanted]:
    async def one(type: str) -> Wanted:
        clause = asked.clauses[type]
        if within:
            clause = both((clause, await compartment_clause(use, type, within, gate)))
        return await resolved(use, type, clause, gate)

    return await all_of(map(one, asked.types))


async def _answer(
    use: Services, call: Call, query: Query, wanted: Sequence[Wanted], gate: RequestGate, after: Position | None
) -> Answer:
    asked = query.asked
    links = [{"relation": "self", "url": query.self_link(use, call, after)}]
    if asked.contained and (query.interaction != "search-type" or query.path not in query.types):
        raise UnsupportedParameter("_contained is supported in the search of one type.")
    if asked.summary == "count" or asked.count == 0:
        total, concerned = await _counted(use, query, wanted, gate)
        opened = await _broken(use, call, query, wanted, gate) if total and gate.breaks_glass else frozenset()
        happening = counted(gate, total, concerned, query.told, opened)
        if query.interaction != happening.interaction:
            happening = replace(happening, interaction=query.interaction)
        happening = with_damaged(decided(happening, gate, query.types), gate)
        await record(use, call, happening, asked=patients_named(query))
        return Answer(200, searchset(total, links, told_of(call.base, gate)))
    found = await _found(use, query, wanted, gate, after)
    if found.next:
        links.append({"relation": "next", "url": query.link(use, call, found.next)})
    happening = shown(query.interaction, found.rows, gate, query=query.told)
    more: list[Opened] = []
    if asked.includes and found.rows:
        more, records = await included(use, gate, asked.includes, found.rows, query.interaction)
        happening = joined(query.interaction, [happening, *records], query=query.told)
    entries = [_entry(call, each, "match", asked.shape) for each in found.rows]
    entries += [_entry(call, each, "include", asked.shape) for each in more]
    if asked.ignored:
        entries.append(warning(asked.ignored))
    if query.explained:
        entries.append(await explanation(use, wanted, gate, asked.sort))
    entries += told_of(call.base, gate)
    await record(use, call, with_damaged(decided(happening, gate, query.types), gate), asked=patients_named(query))
    return Answer(200, searchset(found.total, links, entries))


async def _counted(
    use: Services, query: Query, wanted: Sequence[Wanted], gate: RequestGate
) -> tuple[int, frozenset[str]]:
    """Return how many are found, and the institutions that they belong to."""
    if query.asked.contained:
        rows, total, _ = await page_of_contained(use, query.asked, wanted[0], gate, after=None)
        return total, frozenset(row.document["org"] for row in rows)
    return await count_of_types(use, wanted, dict.fromkeys(query.types, gate))


async def _broken(
    use: Services, call: Call, query: Query, wanted: Sequence[Wanted], gate: RequestGate
) -> frozenset[tuple[str, str]]:
    """Return the Patients (id, custodian) of whose records the glass was broken to count them."""
    if query.asked.contained:
        rows, *_ = await page_of_contained(use, query.asked, wanted[0], gate, after=None)
        return opened_of(gate, wanted[0].type, (row.document for row in rows))
    return await broken(use, call, wanted, gate)


class _Found(NamedTuple):
    """A page, opened; its total (None: left out), and where the next begins."""

    rows: Sequence[Opened]
    total: int | None
    next: Position | None


async def _found(
    use: Services, query: Query, wanted: Sequence[Wanted], gate: RequestGate, after: Position | None
) -> _Found:
    asked = query.asked
    size = min(asked.count or use.settings.page_size, use.settings.max_page_size)
    if asked.contained:
        return _Found(*await page_of_contained(use, asked, wanted[0], gate, after=after, size=size))
    gates = dict.fromkeys(query.types, gate)
    found = await page_of_types(use, wanted, gates, sort=asked.sort, after=after, size=size, total=asked.total)
    rows = await opened_rows(use, gate, ((row.type, row.document) for row in found.rows))
    return _Found(rows, found.total, found.next)


def _entry(call: Call, row: Opened, mode: str, shape: Shape | None) -> dict[str, object]:
    id = f"{row.document['_id']}#{row.fragment}" if row.fragment else row.document["_id"]
    return entry(call.base, row.type, id, shaped(row.body, shape), mode)
