"""What operations answer with, recorded before it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fhir_server.auth.gate import RequestGate
from fhir_server.fhir_json import dump
from fhir_server.interactions.bundles import entry
from fhir_server.interactions.call import Answer, Call, Services, disclosed, joined
from fhir_server.interactions.notice import record
from fhir_server.operations.definition import Invocation
from fhir_server.store.resources import Document


class Shown(NamedTuple):
    """A resource that is shown: its type, its document, its JSON."""

    type: str
    document: Document
    body: bytes

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.document['_id']}"


async def opened(use: Services, rows: Sequence[tuple[str, Document]]) -> list[Shown]:
    """Return documents of several types with their JSON, in the order given."""
    by_type: dict[str, list[Document]] = {}
    for type, document in rows:
        by_type.setdefault(type, []).append(document)
    bodies = {
        (type, document["_id"]): body
        for type, documents in by_type.items()
        for document, body in zip(documents, await use.resources.opened(type, documents), strict=True)
    }
    return [Shown(type, document, bodies[type, document["_id"]]) for type, document in rows]


async def recorded(use: Services, call: Call, asked: Invocation, gate: RequestGate, shown: Sequence[Shown]) -> None:
    """Record that an operation discloses these resources."""
    by_type: dict[str, list[Document]] = {}
    for type, document, _ in shown:
        by_type.setdefault(type, []).append(document)
    told = urlencode(asked.pairs)
    query = f"{asked.place}?{told}" if told else asked.place
    happenings = [disclosed("operation", type, documents, gate) for type, documents in by_type.items()]
    await record(use, call, joined("operation", happenings, query=query))


def searchset(
    call: Call,
    links: Sequence[Mapping[str, str]],
    matches: Sequence[Shown],
    included: Sequence[Shown],
    total: int | None,
) -> Answer:
    """Return a searchset Bundle."""
    entries = [
        entry(call.base, each.type, each.document["_id"], each.body, mode)
        for mode, found in (("match", matches), ("include", included))
        for each in found
    ]
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        **({} if total is None else {"total": total}),
        "link": list(links),
        **({"entry": entries} if entries else {}),
    }
    return Answer(200, dump(bundle))


def self_link(call: Call, asked: Invocation) -> dict[str, str]:
    """Return the link to what was asked for; what came in a body stays out of it, since links end up in logs."""
    told = urlencode(asked.pairs) if asked.method == "GET" else ""
    return {"relation": "self", "url": f"{call.base}/{asked.place}" + (f"?{told}" if told else "")}
