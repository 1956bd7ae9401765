"""Transactions: all writing entries are stored as one, or none; what else is asked is carried out after them.

Source: FHIR R4 RESTful API, "transaction", "Transaction Processing Rules", "Conditional References".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.bundle_references import rewritten
from fhir_server.errors import InvalidRequest, PreconditionFailed, Problem
from fhir_server.interactions import changes, conditional
from fhir_server.interactions.bundles import Raw
from fhir_server.interactions.call import Call, Return, Services
from fhir_server.interactions.conditional import Condition
from fhir_server.interactions.delete import removed
from fhir_server.interactions.patch import amended, matched, patch_in
from fhir_server.interactions.storing import TRIES, again, existing, informed, store
from fhir_server.interactions.transactions.entries import WRITES, Entry, carried_out, located
from fhir_server.interactions.transactions.plan import Plan, planned
from fhir_server.interactions.transactions.reads import refuse_unanswerable
from fhir_server.interactions.transactions.view import View, search
from fhir_server.interactions.update import made, replaced
from fhir_server.store.drafts import Draft, Removal, Written
from fhir_server.store.instants import instant

_SEARCH = re.compile(r"([A-Z][A-Za-z]{1,63})\?(.+)", re.ASCII | re.DOTALL)


async def transaction(use: Services, call: Call, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the response entries of a transaction."""
    writing = [each for each in entries if each.writes]
    reading = [each for each in entries if not each.writes]
    if any(each.conditional for each in writing):
        # What a condition found nothing for may have come meanwhile: then all of it begins again.
        written = await again(lambda: _written(use, call, writing, reading, tries=1))
    else:
        written = await _written(use, call, writing, reading)
    return [written[each.number] if each.number in written else await carried_out(use, each) for each in entries]


async def _written(
    use: Services, call: Call, entries: Sequence[Entry], reading: Sequence[Entry], *, tries: int = TRIES
) -> dict[int, dict[str, Any]]:
    """Store what the writing entries ask for, if all else can be answered then; return their responses by number."""
    plan = await planned(use, call, entries)
    if reading:
        await refuse_unanswerable(use, plan, entries, reading)
    bodies = await _bodies(use, call, plan, entries)
    drafts, removals = await _drafted(use, plan, entries, bodies)
    written = await store(
        use,
        call,
        "transaction",
        list(drafts.values()),
        removals,
        guards=plan.guards.values(),
        query=" ".join(plan.queries) or None,
        tries=tries,
    )
    versions = dict(zip(drafts, written, strict=True))
    versions |= {each: versions[creator] for each, creator in plan.shared.items()}
    for entry in entries if plan.kept else ():
        if entry.number in plan.kept:
            versions[entry.number] = await existing(use, call, entry.type, plan.kept[entry.number])
    created = {number for number, draft in drafts.items() if draft.old is None}
    return {
        each.number: _stored(call, versions[each.number], "201" if each.number in created else "200")
        if each.number in versions
        else {"response": {"status": "204"}}
        for each in entries
    }


async def _drafted(
    use: Services, plan: Plan, entries: Sequence[Entry], bodies: Mapping[int, Any]
) -> tuple[dict[int, Draft], list[Removal]]:
    """Return the drafts by number and the deletions, in the order of R4, which says whose problem comes first."""
    drafts: dict[int, Draft] = {}
    removals: list[Removal] = []
    for entry in sorted(entries, key=lambda each: WRITES.index(each.request.interaction)):
        try:
            if entry.request.interaction == "delete":
                removals += await _removals(use, plan, entry)
            elif entry.number in plan.ids:
                drafts[entry.number] = await _draft(use, plan, entry, bodies[entry.number])
        except Problem as problem:
            raise located(problem, entry) from problem
    return drafts, removals


async def _removals(use: Services, plan: Plan, entry: Entry) -> list[Removal]:
    deletion = removed if entry.conditional else changes.deletion
    return [await deletion(use, entry.call, entry.type, id) for id in plan.deletes[entry.number]]


async def _draft(use: Services, plan: Plan, entry: Entry, body: Any) -> Draft:
    """Return the draft of what an entry creates, updates or patches."""
    own, type, id = entry.call, entry.type, plan.ids[entry.number]
    match entry.request.interaction:
        case "create":
            return await changes.creation(use, own, type, body, id=id)
        case "patch":
            return await (matched if entry.conditional else amended)(use, own, type, id, body)
        case _ if not entry.conditional:
            return await changes.update(use, own, type, id, body)
        case _ if entry.number in plan.matched:
            return await replaced(use, own, type, id, body)
        case _:
            return await made(use, own, type, body, id=id)


async def _bodies(use: Services, call: Call, plan: Plan, entries: Sequence[Entry]) -> dict[int, Any]:
    """Return by number what the entries bring, their references replaced by what they mean."""
    bringing = [each for each in entries if each.number in plan.ids]
    moved = _moved(plan, entries)
    searched: dict[int, set[str]] = {}
    bodies: dict[int, Any] = {}
    for entry in bringing:
        searches: set[str] = set()
        bodies[entry.number] = rewritten(_body(entry), moved, full_url=entry.full_url, searches=searches)
        if found := {each for each in searches if _SEARCH.fullmatch(each.removeprefix(f"{call.base}/"))}:
            searched[entry.number] = found
    if searched:
        led = await _led_to(use, call, plan, entries, bodies, searched)
        bodies |= {number: rewritten(bodies[number], led) for number in searched}
    return bodies


def _body(entry: Entry) -> Any:
    if entry.request.interaction != "patch":
        return entry.resource
    try:
        return patch_in(entry.resource)
    except Problem as problem:
        raise located(problem, entry) from problem


def _moved(plan: Plan, entries: Sequence[Entry]) -> dict[str, str]:
    """Return from each fullUrl the Type/id that it stands for."""
    moved: dict[str, str] = {}
    for entry in entries:
        place = plan.place(entry)
        if place and entry.full_url and moved.setdefault(entry.full_url, place) != place:
            raise InvalidRequest("Two entries have the same fullUrl.", expression=f"{entry.where}.fullUrl")
    return moved


async def _led_to(
    use: Services,
    call: Call,
    plan: Plan,
    entries: Sequence[Entry],
    bodies: Mapping[int, Any],
    searched: Mapping[int, set[str]],
) -> dict[str, str]:
    """Return from each conditional reference the Type/id of the one resource that it means.

    R4 resolves them last: they find what the transaction creates and updates as it will be. What it patches is found as
    it is stored. What is hidden and what is absent is not found alike.
    """
    by_number = {each.number: each for each in entries}
    conditions = {
        text: (_condition(call, text, by_number[number]), by_number[number])
        for number in sorted(searched)
        for text in sorted(searched[number])
    }
    asked = {condition: entry for condition, entry in reversed(list(conditions.values()))}
    view = View(use, await search(use, call, asked, entries))
    view.gone = {f"{each.type}/{id}" for each in entries for id in plan.deletes.get(each.number, ())}
    for entry in entries:
        if entry.number in plan.ids and entry.request.interaction != "patch":
            _checked(use, entry, bodies[entry.number])
            view.make(f"{entry.type}/{plan.ids[entry.number]}", bodies[entry.number])
    led = {}
    for text, (condition, entry) in conditions.items():
        found = view.matches(condition)
        if len(found) != 1:
            said = (
                f"A conditional reference must match one resource: this one matches {'several' if found else 'none'}."
            )
            raise located(PreconditionFailed(said), entry)
        led[text] = found[0]
    return led


def _checked(use: Services, entry: Entry, body: Any) -> None:
    try:
        changes.checked(use, entry.type, body)
    except Problem as problem:
        raise located(problem, entry) from problem


def _condition(call: Call, text: str, entry: Entry) -> Condition:
    parts = _SEARCH.fullmatch(text.removeprefix(f"{call.base}/"))
    assert parts
    try:
        return conditional.condition(parts[1], tuple(parse_qsl(parts[2], keep_blank_values=True)))
    except Problem as problem:
        raise located(problem, entry) from problem


def _stored(call: Call, version: Written, status: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "status": status,
        "location": f"{call.base}/{version.type}/{version.id}/_history/{version.version}",
        "etag": f'W/"{version.version}"',
        "lastModified": instant(version.at),
    }
    match call.returns:
        case Return.REPRESENTATION:
            return {"resource": Raw(version.body), "response": said}
        case Return.OUTCOME:
            return {"response": {**said, "outcome": Raw(informed("Stored."))}}
        case _:
            return {"response": said}
