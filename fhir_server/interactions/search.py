"""GET [base]/[type]?… and POST [base]/[type]/_search — FHIR R4 RESTful API, "search"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from fhir_server.audit.event import Happening
from fhir_server.auth.gate import RequestGate
from fhir_server.errors import InvalidSearchValue, TooCostly
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.bundles import entry
from fhir_server.interactions.call import Answer, Call, Services, counted, disclosed, gate_for, outcome, serves
from fhir_server.interactions.cursor import Cursor, Pairs, Position, opened_cursor, sealed_cursor
from fhir_server.interactions.finding import BY_ID, Page, count, page, resolved
from fhir_server.interactions.notice import record
from fhir_server.search.asked import Asked, Include
from fhir_server.search.parse import parse as parse_query
from fhir_server.store.resources import Document

CURSOR = "_cursor"
MOST_INCLUDED = 1_000


async def search_type(use: Services, call: Call, type: str, pairs: Pairs, *, posted: bool = False) -> Answer:
    """Return a searchset Bundle of what the requester may see of what was asked for.

    posted: the query came in a body, so it is kept out of the links, which end up in logs.
    """
    serves(use, type)
    gate = gate_for(use, call, type, "s")
    query, after = _begun(use, call, type, pairs)
    posted = posted or query != pairs
    asked = parse_query(
        use.registry,
        type,
        query,
        lenient=call.lenient,
        zone=use.zone,
        now=gate.now,
        base_url=call.base,
    )
    wanted = await resolved(use, type, asked.clause, gate)
    told = urlencode(asked.used)
    links = [{"relation": "self", "url": _self_link(use, call, asked, after if posted else None, posted=posted)}]
    if asked.summary == "count" or asked.count == 0:
        total, concerned = await count(use, wanted, gate)
        await record(use, call, counted(call, gate, total, concerned, f"{type}?{told}"))
        return Answer(200, _bundle(total, links, []))
    size = min(asked.count or use.settings.page_size, use.settings.max_page_size)
    sort = asked.sort[0] if asked.sort else BY_ID
    found = await page(use, wanted, gate, sort=sort, after=after, size=size, counted=asked.total != "none")
    if found.next:
        links.append({"relation": "next", "url": _cursor_link(use, call, asked, found.next)})
    return await _answer(use, call, asked, found, links, gate, f"{type}?{told}")


def _begun(use: Services, call: Call, type: str, pairs: Pairs) -> tuple[Pairs, Position | None]:
    """Return the query and where to begin: as asked, or as the cursor of a page link says."""
    cursors = [value for name, value in pairs if name == CURSOR]
    if not cursors:
        return pairs, None
    if len(pairs) > 1:
        raise InvalidSearchValue("A page link stands alone: follow it as it is.")
    cursor = opened_cursor(use.cursor_key, call.requester, type, cursors[0])
    return cursor.query, cursor.after


async def _answer(
    use: Services, call: Call, asked: Asked, found: Page, links: list[dict[str, str]], gate: RequestGate, query: str
) -> Answer:
    bodies = await use.resources.opened(asked.type, found.rows)
    entries = [
        entry(call.base, asked.type, row["_id"], body, "match") for row, body in zip(found.rows, bodies, strict=True)
    ]
    happening = disclosed("search-type", asked.type, found.rows, gate, query=query)
    if asked.includes and found.rows:
        more, happening = await _included(use, call, asked, found.rows, bodies, happening)
        entries += more
    if asked.ignored:
        entries.append(_warning(asked.ignored))
    await record(use, call, happening)
    return Answer(200, _bundle(found.total, links, entries))


async def _included(
    use: Services, call: Call, asked: Asked, rows: Sequence[Document], bodies: Sequence[bytes], happening: Happening
) -> tuple[list[dict[str, object]], Happening]:
    """Return the entries of _include, each under the gate of a read, and the record with them added."""
    gate = use.gatekeeper.gate(call.requester, "r")
    matched = {f"{asked.type}/{row['_id']}" for row in rows}
    resources = [parse(body) for body in bodies]
    wanted = dict.fromkeys(
        each for include in asked.includes for resource in resources for each in _references(use, include, resource)
    )
    if len(wanted) > MOST_INCLUDED:
        raise TooCostly(f"The page leads to more than {MOST_INCLUDED} resources to include: ask for a smaller page.")
    by_type: dict[str, list[str]] = {}
    for each in wanted:
        type, _, id = each.partition("/")
        if each not in matched and type in use.registry.types:
            by_type.setdefault(type, []).append(id)
    entries: list[dict[str, object]] = []
    for type, ids in by_type.items():
        seen = await use.resources.many(type, ids, gate)
        documents = list(seen.values())
        opened = await use.resources.opened(type, documents)
        entries += [
            entry(call.base, type, document["_id"], body, "include")
            for document, body in zip(documents, opened, strict=True)
        ]
        happening = _joined(happening, disclosed("search-type", type, documents, gate))
    return entries, happening


def _references(use: Services, include: Include, resource: dict[str, Any]) -> list[str]:
    if resource["resourceType"] != include.type:
        return []
    found = use.projector.references(include.type, include.param, resource)
    return [each for each in found if include.target in (None, each.partition("/")[0])]


def _joined(one: Happening, other: Happening) -> Happening:
    return replace(
        one,
        touched=one.touched + other.touched,
        note=one.note or other.note,
        notified=one.notified | other.notified,
    )


def _self_link(use: Services, call: Call, asked: Asked, after: Position | None, *, posted: bool) -> str:
    if posted:
        return _cursor_link(use, call, asked, after)
    return f"{call.base}/{asked.type}" + (f"?{urlencode(asked.used)}" if asked.used else "")


def _cursor_link(use: Services, call: Call, asked: Asked, after: Position | None) -> str:
    cursor = sealed_cursor(use.cursor_key, call.requester, Cursor(asked.type, asked.used, after))
    return f"{call.base}/{asked.type}?{CURSOR}={cursor}"


def _warning(ignored: Sequence[str]) -> dict[str, object]:
    said = [
        {"severity": "warning", "code": "not-supported", "diagnostics": f"Ignored the parameter {name}."}
        for name in ignored
    ]
    return {"resource": parse(outcome(*said)), "search": {"mode": "outcome"}}


def _bundle(total: int | None, links: list[dict[str, str]], entries: list[Any]) -> bytes:
    return dump(
        {
            "resourceType": "Bundle",
            "type": "searchset",
            **({} if total is None else {"total": total}),
            "link": links,
            **({"entry": entries} if entries else {}),
        }
    )
