"""What records refer to: practitioners, organizations, medications, locations …, each under the gate of a read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence

from orjson import loads

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly
from fhir_server.interactions.call import Services
from fhir_server.interactions.searching.opening import Opened, opened_rows
from fhir_server.redaction.showing import due_overall
from fhir_server.store.resources import Document

MOST_SUPPORTING = 5_000


class References:
    """Finds what stored JSON refers to on this server, contained resources and versions left aside.

    It looks for `"reference":"Type/id"`, and for the URL of an attachment that is a Binary, in JSON as this server
    writes it: within a text each quotation mark stands behind a backslash, so a text cannot look like it.
    """

    def __init__(self, base: str) -> None:
        own = rf"(?:{re.escape(base)}/)?"
        reference = rf'"reference":"{own}([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{{1,64}})(?:/_history/[^"]*)?"'
        attachment = rf'"url":"{own}(Binary)/([A-Za-z0-9\-.]{{1,64}})"'
        self._pattern = re.compile(f"{reference}|{attachment}".encode())

    def __call__(self, body: bytes) -> list[tuple[str, str]]:
        """Return the (type, id) of each reference, in order."""
        return [
            ((type or other).decode(), (id or of_other).decode())
            for type, id, other, of_other in self._pattern.findall(body)
        ]


async def supporting(
    use: Services, gate: RequestGate, shown: Sequence[Opened], *, wanted: Callable[[Opened, frozenset[str]], bool]
) -> list[Opened]:
    """Return what the resources shown refer to, what that refers to, and so on, as far as it is wanted and permitted.

    In the order of type and id. wanted: decides on what was found and admitted, by whose it is shown to be.
    Raises TooCostly beyond a bound.
    """
    references = References(use.settings.public_base)
    known = {(each.type, each.document["_id"]) for each in shown}
    found: list[Opened] = []
    last: Iterable[Opened] = shown
    while led := _led_to(use, references, last) - known:
        known |= led
        rows = await opened_rows(use, gate, await _admitted(use, gate, led))
        last = [each for each in rows if wanted(each, await patients_shown(use, gate, each))]
        found += last
        if len(found) > MOST_SUPPORTING:
            raise TooCostly(f"This leads to more than {MOST_SUPPORTING} further resources: ask for smaller pages.")
    return sorted(found, key=lambda each: (each.type, each.document["_id"]))


async def patients_shown(use: Services, gate: RequestGate, row: Opened) -> frozenset[str]:
    """Return the ids of the Patients whose record this is, as far as what is shown of it says so."""
    patients = frozenset(row.document.get("pr", ()))
    if not patients or not await due_overall(use, gate, row.type):
        return patients
    links = use.projector(loads(row.body)).links
    own = {row.reference} if row.type == "Patient" else set[str]()
    named = own.union(*(links.get(code, ()) for code in use.registry.compartment("Patient").get(row.type, ())))
    return patients & {each.removeprefix("Patient/") for each in named}


def _led_to(use: Services, references: References, shown: Iterable[Opened]) -> set[tuple[str, str]]:
    return {each for one in shown for each in references(one.body) if each[0] in use.registry.types}


async def _admitted(use: Services, gate: RequestGate, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, Document]]:
    by_type: dict[str, list[str]] = {}
    for type, id in sorted(wanted):
        by_type.setdefault(type, []).append(id)
    found = await asyncio.gather(*(use.resources.many(type, ids, gate) for type, ids in by_type.items()))
    return [(type, each) for type, seen in zip(by_type, found, strict=True) for each in seen.values()]
