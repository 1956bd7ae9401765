"""POST [base] — FHIR R4 RESTful API, "batch/transaction"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from fhir_server.errors import InvalidRequest, Problem
from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request
from fhir_server.interactions.together import all_of
from fhir_server.interactions.transactions.entries import carried_out, read_entry, response
from fhir_server.interactions.transactions.transaction import transaction

MOST_ENTRIES = 5_000
AT_ONCE = 16  # reads of a batch


async def bundle(use: Services, call: Call, resource: Any) -> Answer:
    """Carry out a batch (each entry for itself) or a transaction (all entries or none)."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Bundle":
        raise InvalidRequest("A Bundle is expected here.")
    kind = resource.get("type")
    entries = resource.get("entry", [])
    if kind not in ("batch", "transaction"):
        raise InvalidRequest("Bundle.type must be batch or transaction here.", expression="Bundle.type")
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise InvalidRequest(f"Bundle.entry must be a list of at most {MOST_ENTRIES}.", expression="Bundle.entry")
    if kind == "batch":
        return _answer("batch-response", await _each(use, call, entries))
    read = [read_entry(number, raw, call) for number, raw in enumerate(entries)]
    return _answer("transaction-response", await transaction(use, call, read))


async def _each(use: Services, call: Call, entries: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the responses of the entries of a batch, none of which may depend on another (FHIR R4, "batch").

    Reads that stand next to each other are carried out together: what they ask of the store, and what is recorded of
    them, goes there at once. Whatever may write has its own turn.
    """
    answered: list[dict[str, Any]] = []
    for reads, run in groupby(enumerate(entries), lambda each: _reads(each[1])):
        numbered = list(run)
        size = AT_ONCE if reads else 1
        for start in range(0, len(numbered), size):
            part = numbered[start : start + size]
            answered += await all_of([_alone(use, call, number, raw) for number, raw in part])
    return answered


def _reads(raw: Any) -> bool:
    request = raw.get("request") if isinstance(raw, dict) else None
    return isinstance(request, dict) and request.get("method") in ("GET", "HEAD")


async def _alone(use: Services, call: Call, number: int, raw: Any) -> dict[str, Any]:
    """Return the response of one entry of a batch."""
    try:
        entry = read_entry(number, raw, call)
    except Problem as problem:
        unreadable = problem

        async def fail(_: Services) -> Answer:
            raise unreadable

        return response(await perform(use, call, Request("batch", "GET", None, None), fail))
    return await carried_out(use, entry)


def _answer(type: str, entries: Sequence[Mapping[str, Any]]) -> Answer:
    return Answer(200, dump({"resourceType": "Bundle", "type": type, "entry": list(entries)}))
