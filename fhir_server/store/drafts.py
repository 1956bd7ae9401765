"""What is to be stored or deleted, and the documents by which a unit does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.store.collections import history_of
from fhir_server.store.commit import Unit
from fhir_server.store.consents import count_up_all
from fhir_server.store.marks import Marks
from fhir_server.store.mentioned import Mentioned
from fhir_server.store.received import delivery_of, hold
from fhir_server.store.resources import Document

# What a tombstone keeps of what was deleted: all that the gate looks at.
KEPT = ("org", "pat", "pats", "pr", "lab", "w", "c", "by")


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource that is to be stored.

    old: the current document that it replaces. version: the number it gets. by: "patient" when patients write it.
    labels: keyed labels of an earlier life, before a deletion; they stay (consent.md, D21). said: what the resource
    mentions, once it has its security labels. came_with: id of the delivery that a new resource came with.
    """

    resource: Mapping[str, Any]
    id: str
    custodian: str
    version: int = 1
    old: Document | None = None
    by: str | None = None
    labels: tuple[int, ...] = ()
    said: Mentioned | None = None
    came_with: str | None = None

    @property
    def type(self) -> str:
        return str(self.resource["resourceType"])

    @property
    def delivery(self) -> str | None:
        """The id of the delivery that the record came with: what has come with one stays with it."""
        return delivery_of(self.old) if self.old else self.came_with


@dataclass(frozen=True, slots=True)
class Written:
    """A version as it is stored: its place, its JSON and its document."""

    type: str
    id: str
    version: int
    at: int
    body: bytes
    document: Document

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}"


@dataclass(frozen=True, slots=True)
class Removal:
    """A resource that is to be deleted; old is None when there is nothing to delete."""

    type: str
    id: str
    old: Document | None


def reborn(resource: Mapping[str, Any], id: str, custodian: str, tombstone: Document) -> Draft:
    """Return the draft of a resource that is stored again after it was deleted."""
    return Draft(resource, id, custodian, tombstone["v"] + 1, labels=tuple(tombstone.get("lab", ())))


def _as_read(old: Document) -> Document:
    """Return what finds a document as it was read: of this version, and filed under these persons."""
    return {"_id": old["_id"], "v": old["v"], "pat": old.get("pat"), "pats": old.get("pats")}


def put(unit: Unit, draft: Draft, document: Document, marks: Marks) -> None:
    """Add to the unit that a draft's document becomes the current one, and the one that it replaces an earlier one."""
    if draft.old is None:
        unit.insert(draft.type, document)
    else:
        unit.insert(history_of(draft.type), _earlier(marks, draft.type, draft.old))
        unit.replace(draft.type, _as_read(draft.old), document)


def remove(unit: Unit, removal: Removal, at: int, marks: Marks) -> Document:
    """Add a deletion to the unit; return the tombstone, which is judged as what was deleted."""
    old = removal.old or {}
    unit.insert(history_of(removal.type), _earlier(marks, removal.type, old))
    kept: Document = {key: old[key] for key in KEPT if key in old}
    tombstone = {**kept, "_id": old["_id"], "v": old["v"] + 1, "at": at, "deleted": True}
    unit.insert(history_of(removal.type), _earlier(marks, removal.type, tombstone))
    unit.delete(removal.type, _as_read(old))
    hold(unit, [delivery_of(old)])
    count_up_all(unit, removal.type, old)
    return tombstone


def _earlier(marks: Marks, type: str, document: Document) -> Document:
    """Return a current document, whose mark was looked at, as the history keeps it, and marked as such."""
    return marks.marked(type, earlier(document), id=document["_id"], earlier=True)


def earlier(document: Document) -> Document:
    """Return a current document as the history keeps it."""
    kept = {key: value for key, value in document.items() if key not in ("r", "s", "e", "ix", "has", "to", "g")}
    return {**kept, "_id": f"{document['_id']}/{document['v']}", "id": document["_id"]}
