"""AuditEvents that do not open: whatever looks through the log goes on without them, and says which they are.

Whoever could change one event in the database would otherwise keep auditors from all that is found together with it. Only
of the log, which is evidence that has to stay legible: of other records nothing leaves if one of them was changed. Nothing
that such an event holds is told; only those are told of it whom the gate would have shown it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.audit.event import Happening, Touched
from fhir_server.audit.links import LOG
from fhir_server.auth.gate import RequestGate
from fhir_server.crypto.sealing import Unsealable
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services, outcome
from fhir_server.redaction.showing import shown
from fhir_server.store.ids import is_ours
from fhir_server.store.keys import Unreadable
from fhir_server.store.resources import Document

# What is raised by a document that is not as it was stored: a field may be missing, or be anything.
FAILING = (Unsealable, Unreadable, KeyError, TypeError)
# So many are named one by one; of more there is the number.
MOST_NAMED = 1_000
WHAT_TO_DO = (
    "is not as this server stored it, and is not shown. An operator finds what was done: fhir-facade audit verify"
)
log = logging.getLogger(__name__)


async def opening(
    use: Services, gate: RequestGate, type: str, documents: Sequence[Document]
) -> list[tuple[Document, bytes]]:
    """Return documents of one type, which the gate has admitted, with their JSON as the requester is shown them.

    AuditEvents that do not open are left out, and noted by the gate. Raises Unsealable or Unreadable for all others.
    """
    try:
        return list(zip(documents, await shown(use, gate, type, documents), strict=True))
    except FAILING:
        if type != LOG:
            raise
    found: list[tuple[Document, bytes]] = []
    for each in documents:
        try:
            (body,) = await shown(use, gate, type, [each])
            found.append((each, body))
        except FAILING:
            log.error("a stored AuditEvent does not open. See: fhir-facade audit verify")
            gate.damaged[str(each["_id"])] = None
    return found


def told_of(base: str, gate: RequestGate) -> list[dict[str, object]]:
    """Return the entries (search mode `outcome`) that name the events which do not open; each links to its event."""
    ids = list(_named(gate))
    entries = [
        {"link": [{"relation": "about", "url": f"{base}/{LOG}/{id}"}], **_said(f"{LOG}/{id} {WHAT_TO_DO}")}
        for id in ids[:MOST_NAMED]
    ]
    if more := len(gate.damaged) - len(entries):
        entries.append(_said(f"{more} more: each {WHAT_TO_DO}"))
    return entries


def with_damaged(happening: Happening, gate: RequestGate) -> Happening:
    """Return what is to be recorded with the events of which it was told that they do not open."""
    if not gate.damaged:
        return happening
    met = tuple(Touched(f"{LOG}/{id}") for id in list(_named(gate))[:MOST_NAMED])
    count = len(happening.touched) if happening.count is None else happening.count
    return replace(happening, touched=(*happening.touched, *met), count=count)


def _named(gate: RequestGate) -> Iterator[str]:
    """Yield the ids that this server may have given: any other may hold what nobody is to be told."""
    return filter(is_ours, gate.damaged)


def _said(text: str) -> dict[str, Any]:
    issue = {"severity": "error", "code": "exception", "diagnostics": f"{text}."}
    return {"resource": parse(outcome(issue)), "search": {"mode": "outcome"}}
