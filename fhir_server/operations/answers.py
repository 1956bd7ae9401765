"""What operations answer with, recorded before it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from fhir_server.auth.gate import RequestGate
from fhir_server.interactions import bundles
from fhir_server.interactions.bundles import Link, entry
from fhir_server.interactions.call import Answer, Call, Services, decided
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.opening import Opened, shown
from fhir_server.operations.definition import Invocation


async def recorded(
    use: Services,
    call: Call,
    asked: Invocation,
    gate: RequestGate,
    rows: Sequence[Opened],
    *,
    named: Iterable[str] = (),
) -> None:
    """Record that an operation discloses these resources. named: ids of the Patients whom it was asked about."""
    told = urlencode(asked.pairs)
    query = f"{asked.place}?{told}" if told else asked.place
    await record(use, call, decided(shown("operation", rows, gate, query=query), gate, ()), asked=named)


def searchset(
    call: Call, links: Sequence[Link], matches: Sequence[Opened], included: Sequence[Opened], total: int | None
) -> Answer:
    """Return a searchset Bundle."""
    entries = [
        entry(call.base, each.type, each.document["_id"], each.body, mode)
        for mode, found in (("match", matches), ("include", included))
        for each in found
    ]
    return Answer(200, bundles.searchset(total, links, entries))


def self_link(call: Call, asked: Invocation) -> Link:
    """Return the link to what was asked for; what came in a body stays out of it, since links end up in logs."""
    told = urlencode(asked.pairs) if asked.method == "GET" else ""
    return {"relation": "self", "url": f"{call.base}/{asked.place}" + (f"?{told}" if told else "")}
