"""GET [origin]/desk/emergencies, GET and POST …/[id]: the queue of emergency accesses, and what a reviewer says of one.

An institution's auditors see its own rows alone: of its users, and of its records (fhir_server/emergencies). What they look
at and what they say is recorded.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from fhir_server.audit.event import Happening, Touched
from fhir_server.auth.accounts.browser import form_of as form_sent
from fhir_server.emergencies.filed import SAID, Filed, Review, Status
from fhir_server.errors import Conflict
from fhir_server.interactions.notice import record
from fhir_server.pages.desk.asking import NEWEST_FIRST, WITH_NAMES
from fhir_server.pages.desk.auditor import Auditor
from fhir_server.pages.desk.entering import DESK
from fhir_server.pages.desk.events import A_PAGE
from fhir_server.pages.desk.telling import Names, local
from fhir_server.store.commit import Unit
from fhir_server.store.instants import instant

QUEUE = f"{DESK}/emergencies"
SHOWN_AT_ONCE = 25
LONGEST_NOTE = 500
ROW = re.compile(r"[0-9a-f]{16}")
PLACE = re.compile(r"([0-9]{1,17})\.([0-9a-f]{16})")


class Shown(NamedTuple):
    """An emergency access as the pages show it. when: of its beginning, local time."""

    filed: Filed
    when: str
    last: str
    user: str
    institution: str
    status: str


async def queue(auditor: Auditor, request: HttpRequest) -> Response:
    """Show what is on file, the latest first; without a choice what waits for a review."""
    asked = request.query_params.get("status", str(Status.OPEN))
    status = Status(asked) if asked in {*Status} else None
    place = PLACE.fullmatch(request.query_params.get("after", ""))
    after = (int(place[1]), place[2]) if place else None
    found = list(await auditor.use.emergencies.queue(auditor.institution, status, after=after, size=SHOWN_AT_ONCE + 1))
    rows, more = found[:SHOWN_AT_ONCE], len(found) > SHOWN_AT_ONCE
    shown = [_shown(each, auditor, names) for names in [await _names(auditor, *rows)] for each in rows]
    query = f"emergencies?status={asked if status else 'any'}"
    await record(auditor.use, auditor.call, Happening("emergency-list", query=query, count=len(rows)))
    chosen = str(status) if status else "any"
    return auditor.page(
        "emergencies",
        f"{QUEUE}?status={chosen}",
        rows=shown,
        statuses=("open", "accepted", "questioned", "any"),
        chosen=chosen,
        next=f"{rows[-1].first}.{rows[-1].id}" if more else None,
    )


async def one(auditor: Auditor, request: HttpRequest) -> Response:
    """Show one emergency access."""
    filed = await _filed(auditor, request)
    if filed is None:
        return auditor.absent()
    await record(auditor.use, auditor.call, Happening("emergency-list", query=f"emergencies/{filed.id}", count=1))
    return await _page(auditor, filed)


async def review(auditor: Auditor, request: HttpRequest) -> Response:
    """Store what a reviewer says, with its AuditEvent; it counts for what they have seen, and nothing that came since."""
    sent, _ = await form_sent(request)
    filed = await _filed(auditor, request)
    if filed is None:
        return auditor.absent()
    status, note = sent.values.get("step", ""), " ".join(sent.values.get("note", "").split())[:LONGEST_NOTE]
    seen = sent.values.get("seen") == _seen(filed)
    if not auditor.fits(sent.values.get("form")) or status not in SAID:
        return await _page(auditor, filed, (None, "expired"), note=note)
    if not seen:
        return await _page(auditor, filed, (None, "review_stale"), note=note)
    if status == Status.QUESTIONED and not note:
        return await _page(auditor, filed, ("note", "note_missing"))
    try:
        await _store(auditor, filed, Status(status), note)
    except Conflict:
        latest = await auditor.use.emergencies.one(auditor.institution, filed.id)
        return await _page(auditor, latest or filed, (None, "review_stale"), note=note)
    return auditor.moved(auditor.to(f"/emergencies/{filed.id}"))


async def _store(auditor: Auditor, filed: Filed, status: Status, note: str) -> None:
    use, unit = auditor.use, Unit()
    at, requester = use.now(), auditor.call.requester
    await use.emergencies.review(filed, auditor.institution, Review(requester.user, at, status, note), unit)
    whose = filed.patient.removeprefix("Patient/") if filed.patient else None
    touched = (Touched(f"Patient/{whose}", None, (whose,)),) if whose else ()
    told = Happening("emergency-review", touched=touched, query=f"emergencies/{filed.id}", note=str(status))
    await use.audit.add(told, requester, unit, at=at)
    await use.committer.commit(unit)


async def _filed(auditor: Auditor, request: HttpRequest) -> Filed | None:
    id = request.path_params["id"]
    return await auditor.use.emergencies.one(auditor.institution, id) if ROW.fullmatch(id) else None


def _seen(filed: Filed) -> str:
    """Return what changes whenever there is more to be seen of a row."""
    return f"{filed.times}.{len(filed.reviews)}"


async def _page(
    auditor: Auditor, filed: Filed, wrong: tuple[str | None, str] | None = None, *, note: str = ""
) -> Response:
    names, speech = await _names(auditor, filed), auditor.speech
    values: dict[str, Any] = {
        "row": _shown(filed, auditor, names),
        "reviews": [
            (
                speech(
                    "review_line",
                    when=local(instant(each.at), auditor.zone),
                    by=names.get(each.by) or each.by,
                    status=speech.codes[f"status|{each.status}"],
                ),
                each.note,
            )
            for each in filed.reviews
        ],
        "events": _events(auditor, filed),
        "seen": _seen(filed),
        "note": note,
    }
    errors = ((wrong[0], speech(wrong[1])),) if wrong else ()
    status = 409 if wrong and wrong[1] == "review_stale" else 400 if wrong else 200
    return auditor.page("emergency", f"{QUEUE}/{filed.id}", status=status, errors=errors, **values)


def _events(auditor: Auditor, filed: Filed) -> str:
    """Return the page link to the AuditEvents of an emergency access."""
    named = (("patient", filed.patient),) if filed.patient else ()
    time = (("date", f"ge{instant(filed.first)}"), ("date", f"le{instant(filed.last)}"))
    return auditor.sealed((*named, ("agent", filed.user), *time, NEWEST_FIRST, WITH_NAMES, A_PAGE))


async def _names(auditor: Auditor, *filed: Filed) -> Names:
    people = {each.user for each in filed} | {one.by for each in filed for one in each.reviews}
    return await auditor.names([*people, *(f"Organization/{each.organization}" for each in filed)])


def _shown(filed: Filed, auditor: Auditor, names: Names) -> Shown:
    return Shown(
        filed,
        local(instant(filed.first), auditor.zone),
        local(instant(filed.last), auditor.zone),
        names.get(filed.user, ""),
        names.get(f"Organization/{filed.organization}", "") or filed.organization,
        auditor.speech.codes[f"status|{filed.status}"],
    )
