"""The order of rows, and where in it a page begins: by the sort keys, then by type, then by id, so that no two are alike.

A row without a value for a key stands first ascending and last descending. Type and id go in the direction of the last
key, since that is how an index holds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fhir_server.interactions.cursor import Position
from fhir_server.search.asked import SortKey
from fhir_server.search.mongo import sort_field
from fhir_server.search.sorting import Value
from fhir_server.store.resources import Document

Sort = Sequence[SortKey]
BY_ID: Sort = ()


class Row(NamedTuple):
    """A document found, and its values for the sort keys."""

    type: str
    document: Document
    values: tuple[Value, ...] = ()

    @property
    def position(self) -> Position:
        return Position(self.values, self.type, self.document["_id"])


def stored_value(key: SortKey, document: Document) -> Value:
    """Return the value that the store keeps of a document for a key; None if it has none."""
    if key.param == "_id":
        return str(document["_id"])
    found: float | None = document.get("at") if key.param == "_lastUpdated" else document.get("s", {}).get(key.param)
    return found


def ordered(rows: Iterable[Row], sort: Sort) -> list[Row]:
    """Return rows of several types in their order."""
    found = sorted(rows, key=lambda row: (row.type, row.document["_id"]), reverse=_downwards(sort))
    for number, key in reversed(list(enumerate(sort))):
        found.sort(key=lambda row: _rank(row.values[number]), reverse=key.descending)
    return found


def follows(row: Row, after: Position, sort: Sort) -> bool:
    """Return whether a row stands behind a position."""
    for key, mine, theirs in zip(sort, row.values, after.values, strict=True):
        if mine != theirs:
            return (_rank(mine) > _rank(theirs)) is not key.descending
    here, there = (row.type, row.document["_id"]), (after.type, after.id)
    return here < there if _downwards(sort) else here > there


def _downwards(sort: Sort) -> bool:
    """Return whether what is alike by all keys stands in descending order."""
    return bool(sort) and sort[-1].descending


def _rank(value: Value) -> tuple[bool, Any]:
    return value is not None, value


def order(sort: Sort) -> list[tuple[str, int]]:
    """Return the order as MongoDB takes it, for documents of one type."""
    found = [(sort_field(key), -1 if key.descending else 1) for key in sort]
    return found if any(field == "_id" for field, _ in found) else [*found, ("_id", -1 if _downwards(sort) else 1)]


def beyond(type: str, sort: Sort, after: Position) -> dict[str, Any] | None:
    """Return the filter of the documents of a type that stand behind a position; None if none of them can."""
    alternatives: list[dict[str, Any]] = []
    same: dict[str, Any] = {}
    for key, value in zip(sort, after.values, strict=True):
        field = sort_field(key)
        alternatives += ({**same, **each} for each in _further(field, value, descending=key.descending))
        same = {**same, field: value}
    down = _downwards(sort)
    if type == after.type and "_id" not in same:
        alternatives.append({**same, "_id": {"$lt" if down else "$gt": after.id}})
    elif type != after.type and (type < after.type) is down:
        alternatives.append(same)
    if not alternatives:
        return None
    return alternatives[0] if len(alternatives) == 1 else {"$or": alternatives}


def _further(field: str, value: Value, *, descending: bool) -> list[dict[str, Any]]:
    """Return the filters of the values of a field that stand behind one value."""
    if value is None:
        return [] if descending else [{field: {"$ne": None}}]
    if descending:
        nothing = [] if field in ("_id", "at") else [{field: None}]
        return [{field: {"$lt": value}}, *nothing]
    return [{field: {"$gt": value}}]
