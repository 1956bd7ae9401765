"""GET [base]/…/_history: of a resource, of a type, of the system; and vread — FHIR R4 RESTful API, "history", "vread".

Who may read a type's history is who may search the type (SMART App Launch 2.2: "s" covers history of types and system).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import Absent, Gone
from fhir_server.fhir_json import dump
from fhir_server.interactions.bundles import Raw
from fhir_server.interactions.call import (
    Answer,
    Call,
    Services,
    disclosed,
    gate_for,
    joined,
    serves,
    types_open_to,
    version_headers,
)
from fhir_server.interactions.cursor import Cursor, Pairs, Position, sealed_cursor
from fhir_server.interactions.history_query import HistoryQuery, history_query
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.query import CURSOR, begun
from fhir_server.interactions.shaping import shape_asked, shaped
from fhir_server.redaction.showing import shown_versions
from fhir_server.store.history import Place, Version
from fhir_server.store.instants import instant


async def vread(use: Services, call: Call, type: str, id: str, version: str, pairs: Pairs = ()) -> Answer:
    """Return one version of a resource, or what _summary and _elements keep of it.

    Raises Absent if there is none that the requester may see, Gone if the version is a deletion.
    """
    serves(use, type)
    gate = gate_for(use, call, type, "r")
    shape = shape_asked([type], pairs)
    found = [each for each in await use.resources.versions(type, id, gate) if str(each["v"]) == version]
    if not found:
        raise Absent
    if found[0].get("deleted"):
        raise Gone("The resource was deleted in this version.")
    (body,) = await shown_versions(use, gate, [Version(type, found[0])])
    await record(use, call, disclosed("vread", type, found, gate))
    return Answer(200, shaped(body or b"", shape), version_headers(found[0]))


async def history_instance(use: Services, call: Call, type: str, id: str, pairs: Pairs) -> Answer:
    """Return the versions of a resource that the requester may see, newest first, with how many there are.

    Raises Absent if the requester may see none, whatever was asked for.
    """
    serves(use, type)
    gate = gate_for(use, call, type, "r")
    place = f"{type}/{id}/_history"
    asked, after = _begun(use, call, place, pairs)
    seen = [Version(type, each) for each in await use.resources.versions(type, id, gate)]
    if not seen:
        raise Absent
    found = asked.window.of_one(seen)
    behind = [each for each in found if after is None or each.place < after]
    return await _page(use, call, "history-instance", place, asked, gate, behind, total=len(found))


async def history_type(use: Services, call: Call, type: str, pairs: Pairs) -> Answer:
    """Return the versions of a type's resources that the requester may see, newest first."""
    serves(use, type)
    gate = gate_for(use, call, type, "s")
    return await _of_types(use, call, [type], f"{type}/_history", pairs, gate)


async def history_system(use: Services, call: Call, pairs: Pairs) -> Answer:
    """Return the versions of all resources that the requester may see, newest first.

    Raises Forbidden if the token's scopes allow it for no type.
    """
    types = types_open_to(use, call)
    gate = use.gatekeeper.gate(call.requester, "s")
    gate.begin()
    return await _of_types(use, call, types, "_history", pairs, gate)


async def _of_types(
    use: Services, call: Call, types: Sequence[str], place: str, pairs: Pairs, gate: RequestGate
) -> Answer:
    asked, after = _begun(use, call, place, pairs)
    found = await use.history.page(types, gate, asked.window, after=after, size=_size(use, asked) + 1)
    # To count all of it may cost much; a first page that is not full holds all there is.
    total = len(found) if after is None and len(found) <= _size(use, asked) else None
    interaction = "history-system" if place == "_history" else "history-type"
    return await _page(use, call, interaction, place, asked, gate, found, total=total)


def _size(use: Services, asked: HistoryQuery) -> int:
    return min(asked.count or use.settings.page_size, use.settings.max_page_size)


def _begun(use: Services, call: Call, place: str, pairs: Pairs) -> tuple[HistoryQuery, Place | None]:
    """Return what is asked for and where to begin: as asked, or as the cursor of a page link says."""
    query, after = begun(use, call, place, pairs)
    return history_query(query, zone=use.zone, lenient=call.lenient), _place(after)


def _place(after: Position | None) -> Place | None:
    if after is None:
        return None
    at, version = (int(value or 0) for value in after.values)
    return Place(at, after.type, after.id, version)


async def _page(
    use: Services,
    call: Call,
    interaction: str,
    place: str,
    asked: HistoryQuery,
    gate: RequestGate,
    found: Sequence[Version],
    *,
    total: int | None,
) -> Answer:
    """Return the page that begins with the first of the versions found, recorded before it leaves."""
    shown = found[: _size(use, asked)]
    told = urlencode(asked.used)
    links = [{"relation": "self", "url": f"{call.base}/{place}" + (f"?{told}" if told else "")}]
    if len(found) > len(shown):
        at, type, id, version = shown[-1].place
        after = Position((at, version), type, id)
        cursor = sealed_cursor(use.cursor_key, call.requester, Cursor(place, asked.used, after))
        links.append({"relation": "next", "url": f"{call.base}/{place}?{CURSOR}={cursor}"})
    bodies = [body and shaped(body, asked.shape) for body in await shown_versions(use, gate, shown)]
    by_type: dict[str, list[Any]] = {}
    for type, document in shown:
        by_type.setdefault(type, []).append(document)
    happenings = [disclosed(interaction, type, each, gate) for type, each in by_type.items()]
    await record(use, call, joined(interaction, happenings, query=f"{place}?{told}"))
    bundle = {
        "resourceType": "Bundle",
        "type": "history",
        **({} if total is None else {"total": total}),
        "link": links,
        **(
            {"entry": [_entry(call.base, each, body) for each, body in zip(shown, bodies, strict=True)]}
            if shown
            else {}
        ),
    }
    return Answer(200, dump(bundle))


def _entry(base: str, version: Version, body: bytes | None) -> dict[str, Any]:
    type, document = version
    method = "DELETE" if version.deleted else "POST" if document["v"] == 1 else "PUT"
    url = type if method == "POST" else f"{type}/{document['_id']}"
    status = {"DELETE": "204", "POST": "201", "PUT": "200"}[method]
    return {
        "fullUrl": f"{base}/{type}/{document['_id']}",
        **({} if body is None else {"resource": Raw(body)}),
        "request": {"method": method, "url": url},
        "response": {"status": status, "etag": f'W/"{document["v"]}"', "lastModified": instant(document["at"])},
    }
