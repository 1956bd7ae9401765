"""Rows opened for an answer, and the record of their disclosure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fhir_server.audit.event import Happening
from fhir_server.auth.gate import RequestGate
from fhir_server.interactions.call import Services, disclosed, joined
from fhir_server.interactions.searching.damaged import opening
from fhir_server.interactions.together import all_of
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
    """Return documents of one type, which the gate has admitted, in their order, opened as they are shown.

    Of the log without what does not open, which the gate then knows (damaged.py); so do opened_rows.
    """
    return [Opened(type, document, body) for document, body in await opening(use, gate, type, documents)]


async def opened_rows(use: Services, gate: RequestGate, rows: Iterable[tuple[str, Document]]) -> list[Opened]:
    """Return rows of any types, which the gate has admitted, in their order, opened as they are shown."""
    by_type: dict[str, list[Document]] = {}
    found = list(rows)
    for type, document in found:
        by_type.setdefault(type, []).append(document)
    opened = await all_of(opened_of(use, gate, type, documents) for type, documents in by_type.items())
    if len(by_type) < 2:
        return [row for rows in opened for row in rows]
    following = {id(row.document): row for rows in opened for row in rows}
    return [following[id(document)] for _, document in found if id(document) in following]


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
