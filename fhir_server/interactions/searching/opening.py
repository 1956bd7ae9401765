"""Rows opened for an answer, and the record of their disclosure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fhir_server.audit.event import Happening
from fhir_server.auth.gate import RequestGate
from fhir_server.interactions.call import Services, disclosed, joined
from fhir_server.interactions.together import all_of
from fhir_server.redaction.showing import shown as bodies_shown
from fhir_server.store.resources import Document


class Opened(NamedTuple):
    """A document that is shown, and the JSON of its resource as it is shown; or of what it contains as `fragment`."""

    type: str
    document: Document
    body: bytes
    fragment: str = ""

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.document['_id']}"


async def opened_of(use: Services, gate: RequestGate, type: str, documents: Sequence[Document]) -> list[Opened]:
    """Return documents of one type, which the gate has admitted, in their order, opened as they are shown."""
    bodies = await bodies_shown(use, gate, type, documents)
    return [Opened(type, document, body) for document, body in zip(documents, bodies, strict=True)]


async def opened_rows(use: Services, gate: RequestGate, rows: Iterable[tuple[str, Document]]) -> list[Opened]:
    """Return rows of any types, which the gate has admitted, in their order, opened as they are shown."""
    by_type: dict[str, list[Document]] = {}
    found = list(rows)
    for type, document in found:
        by_type.setdefault(type, []).append(document)
    opened = await all_of(opened_of(use, gate, type, documents) for type, documents in by_type.items())
    if len(by_type) < 2:
        return [row for rows in opened for row in rows]
    following = {type: iter(each) for type, each in zip(by_type, opened, strict=True)}
    return [next(following[type]) for type, _ in found]


def shown(interaction: str, rows: Iterable[Opened], gate: RequestGate, *, query: str | None = None) -> Happening:
    """Return what is to be recorded when these rows, which the gate admitted, leave."""
    by_type: dict[str, dict[str, Document]] = {}
    for each in rows:
        by_type.setdefault(each.type, {})[each.document["_id"]] = each.document
    if len(by_type) == 1:
        [(type, documents)] = by_type.items()
        return disclosed(interaction, type, [*documents.values()], gate, query=query)
    parts = (disclosed(interaction, type, [*documents.values()], gate) for type, documents in by_type.items())
    return joined(interaction, parts, query=query)
