"""$meta, $meta-add, $meta-delete: profiles, tags and security labels.

A change is an update: it makes the next version, and the labels that the resource has carried stay with it in what it is
judged by (consent.md, D21). Source: FHIR R4 OperationDefinition "Resource-meta", "Resource-meta-add",
"Resource-meta-delete".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import Absent, Gone, InvalidResource, TooCostly
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions import changes
from fhir_server.interactions.call import Answer, Call, Services, gate_for, types_open_to, version_headers
from fhir_server.interactions.read import present
from fhir_server.interactions.searching.opening import Opened, opened_rows
from fhir_server.interactions.searching.wanted import MOST_OPENED
from fhir_server.interactions.storing import again, store
from fhir_server.operations.answers import recorded
from fhir_server.operations.definition import Invocation
from fhir_server.redaction.showing import due_overall, shown, shown_versions
from fhir_server.search.values import presence
from fhir_server.store.history import Version
from fhir_server.store.permitted import to_filter
from fhir_server.store.resources import Document
from fhir_server.store.terms import contained_term

Json = dict[str, Any]
LISTS = ("profile", "security", "tag")


async def meta(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the meta of a resource or version; of a type or the system, what the metas of its resources say together.

    Raises TooCostly if too many resources say anything.
    """
    if asked.id is None:
        return await _of_many(use, call, asked)
    type = str(asked.type)
    gate = gate_for(use, call, type, "r")
    document, body = await _one(use, type, asked.id, asked.version, gate)
    await recorded(use, call, asked, gate, [Opened(type, document, body)])
    return _answer(parse(body)["meta"], document)


async def meta_add(use: Services, call: Call, asked: Invocation) -> Answer:
    """Add profiles, tags and labels to a resource. Raises Absent if there is nothing that the requester may see."""
    return await _changed(use, call, asked, added)


async def meta_delete(use: Services, call: Call, asked: Invocation) -> Answer:
    """Take profiles, tags and labels from a resource. Raises Absent if there is nothing that the requester may see."""
    return await _changed(use, call, asked, removed)


async def _one(use: Services, type: str, id: str, version: str | None, gate: RequestGate) -> tuple[Document, bytes]:
    if version is None:
        document = await present(use, type, id, gate)
        (body,) = await shown(use, gate, type, [document])
        return document, body
    found = [each for each in await use.resources.versions(type, id, gate) if str(each["v"]) == version]
    if not found:
        raise Absent
    (kept,) = await shown_versions(use, gate, [Version(type, found[0])])
    if kept is None:
        raise Gone("The resource was deleted in this version.")
    return found[0], kept


async def _changed(use: Services, call: Call, asked: Invocation, change: Callable[[Json, Json], Json]) -> Answer:
    type, id = str(asked.type), str(asked.id)
    gate = gate_for(use, call, type, "r")  # the answer tells what is there
    said = asked.one("meta")
    if not all(isinstance(said.get(name, []), list) for name in LISTS):
        raise InvalidResource([("structure", "Meta", "profile, security and tag are lists.")])

    async def made(old: Document) -> Json:
        (body,) = await shown(use, gate, type, [old])
        resource: Json = parse(body)
        return {**resource, "meta": change(resource["meta"], said)}

    async def stored() -> Answer:
        draft = await changes.amendment(use, call, type, id, made)
        (written,) = await store(use, call, "operation", [draft], query=asked.place)
        return _answer(parse(written.body)["meta"], written.document)

    return await again(stored)


def added(meta: Json, said: Mapping[str, Any]) -> Json:
    """Return a meta with what is said added, each once."""
    found = dict(meta)
    for name in LISTS:
        known = list(meta.get(name, ()))
        for each in said.get(name, ()):
            if key(each) not in map(key, known):
                known.append(each)
        found |= {name: known} if known else {}
    return found


def removed(meta: Json, said: Mapping[str, Any]) -> Json:
    """Return a meta without what is said."""
    found = dict(meta)
    for name in LISTS:
        gone = [key(each) for each in said.get(name, ())]
        kept = [each for each in meta.get(name, ()) if key(each) not in gone]
        found |= {name: kept} if kept else {}
        if not kept:
            found.pop(name, None)
    return found


def key(each: Any) -> Any:
    """Return what makes a profile, tag or label the same: its URL, or system and code."""
    return (each.get("system"), each.get("code")) if isinstance(each, dict) else each


async def _of_many(use: Services, call: Call, asked: Invocation) -> Answer:
    types = [asked.type] if asked.type else types_open_to(use, call)
    gate = gate_for(use, call, asked.type, "s") if asked.type else use.gatekeeper.gate(call.requester, "s")
    rows: list[tuple[str, Document]] = []
    stored = await use.resources.stored()
    for type in (each for each in types if each in stored):
        filter = await _saying(use, gate, type)
        found = await use.resources.find(type, filter, gate, sort=[("_id", 1)], limit=MOST_OPENED + 1 - len(rows))
        rows += [(type, row) for row in found]
        if len(rows) > MOST_OPENED:
            raise TooCostly(
                f"More than {MOST_OPENED} resources have labels: ask for the $meta of a type or a resource."
            )
    opened = await opened_rows(use, gate, rows)
    await recorded(use, call, asked, gate, opened)
    return _answer(_together([parse(each.body)["meta"] for each in opened]))


async def _saying(use: Services, gate: RequestGate, type: str) -> Document:
    """Return the filter of the resources of a type whose meta, as it is shown, says anything: what is redacted says so."""
    stated: Document = {"has": {"$in": sorted(use.term(presence(name)) for name in ("_profile", "_security", "_tag"))}}
    redacted = []
    for obligation, when in await due_overall(use, gate, type):
        of = obligation.element.partition(".")[0]
        bound = to_filter(when, type)
        redacted.append(bound if of == type else {"$and": [bound, {"ix": use.term(contained_term(of))}]})
    return {"$or": [stated, *redacted]} if redacted else stated


def _together(metas: Sequence[Json]) -> Json:
    """Return the profiles, labels and tags of many, each once, by their text; nothing that is of one alone."""
    found: Json = {}
    for name in LISTS:
        known: dict[str, Any] = {}
        for meta in metas:
            for each in meta.get(name, ()):
                plain = {part: each[part] for part in ("system", "code") if part in each} if name != "profile" else each
                known.setdefault(dump(plain).decode(), plain)
        found |= {name: [known[text] for text in sorted(known)]} if known else {}
    return found


def _answer(meta: Json, document: Document | None = None) -> Answer:
    said = {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": meta}]}
    return Answer(200, dump(said), version_headers(document) if document else {})
