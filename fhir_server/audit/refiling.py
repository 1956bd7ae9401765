"""What stored AuditEvents have to be filed under, worked out as it was when they were written: for a verification.

`AuditLog.filed_under` projects a whole event, which takes ten times as long; a log has millions of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fhir_server.audit.basis import DECISION
from fhir_server.audit.event import OTHERS
from fhir_server.audit.filing import Filing
from fhir_server.fhir_json import dump
from fhir_server.store.instants import microseconds

Document = dict[str, Any]
# Elements in which events differ that are filed alike but for them (audit/filing.py).
VARYING = frozenset({"id", "meta", "recorded", "entity"})
# The objects by which the filing knows these entities again.
KNOWN: tuple[Document, ...] = (DECISION, OTHERS["type"])


class Refiling:
    """Files events that were read back; the same as filing them whole (tests/audit/test_refiling.py)."""

    def __init__(self, filing: Filing) -> None:
        self._filing = filing

    def __call__(self, event: Document) -> Document:
        """Return the index fields of an event, opened."""
        plain = {name: value for name, value in event.items() if name not in VARYING}
        at = microseconds(datetime.fromisoformat(event["recorded"]))
        return self._filing({**event, "entity": list(map(_known, event.get("entity", ())))}, dump(plain), at=at)


def _known(entity: Document) -> Document:
    """Return an entity with the very object as its type that the filing knows it by."""
    if "what" in entity or "query" in entity:
        return entity
    return next(({**entity, "type": each} for each in KNOWN if entity.get("type") == each), entity)
