"""GET and POST [origin]/desk, GET [origin]/desk/events/[id] and …/replay: the log searched, one event told, decided again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from fhir_server.auth.accounts.browser import form_of as form_sent
from fhir_server.auth.requester import ID
from fhir_server.fhir_json import parse
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.routes import Request
from fhir_server.interactions.searching.query import CURSOR
from fhir_server.operations.recorded_decision import recorded_decision
from fhir_server.pages.desk.asking import OUTCOMES, WITH_NAMES, Asked, Unclear, asked, form_of, pairs_of
from fhir_server.pages.desk.auditor import LOG, Auditor, Unanswered
from fhir_server.pages.desk.entering import DESK
from fhir_server.pages.desk.telling import ground, lines, local, row

A_PAGE = ("_count", "25")
Json = Mapping[str, Any]


async def search(auditor: Auditor, request: HttpRequest) -> Response:
    """Show the form and, where a link says so, what was found."""
    text = request.query_params.get("page")
    if not text:
        return form(auditor, Asked())
    pairs = auditor.opened(text)
    if pairs is None:
        return form(auditor, Asked(), wrong=(None, auditor.speech("page_unclear")))
    try:
        found = await auditor.search(((CURSOR, text),))
    except Unanswered as problem:
        return form(auditor, form_of(pairs), wrong=(None, auditor.speech("failed", why=problem)))
    rows = [row(each, found.names, auditor.speech, auditor.zone) for each in found.events]
    return form(auditor, form_of(pairs), at=text, rows=rows, damaged=found.damaged, total=found.total, next=found.next)


async def take(auditor: Auditor, request: HttpRequest) -> Response:
    """Take the form: what it asks for becomes a link that tells nothing."""
    sent, _ = await form_sent(request)
    given = asked(sent.values)
    if not auditor.fits(sent.values.get("form")):
        return form(auditor, given, wrong=(None, auditor.speech("expired")))
    try:
        pairs = pairs_of(given)
    except Unclear as unclear:
        return form(auditor, given, wrong=(unclear.field, auditor.speech(unclear.key)))
    return auditor.moved(auditor.to("", page=auditor.sealed((*pairs, WITH_NAMES, A_PAGE))))


def form(
    auditor: Auditor, given: Asked, *, at: str | None = None, wrong: tuple[str | None, str] | None = None, **found: Any
) -> Response:
    """Return the page of the search. at: the page link that is shown."""
    most = auditor.use.settings.most_exported
    values: dict[str, Any] = {"rows": None, "damaged": (), "total": None, "next": None, **found}
    return auditor.page(
        "search",
        f"{DESK}?page={at}" if at else DESK,
        status=400 if wrong else 200,
        errors=(wrong,) if wrong else (),
        given=given,
        outcomes=OUTCOMES,
        page=at,
        most=most,
        **values,
    )


async def event(auditor: Auditor, request: HttpRequest) -> Response:
    """Tell one event."""
    id = request.path_params["id"]
    found = await auditor.search((("_id", id), WITH_NAMES)) if ID.fullmatch(id) else None
    if found and found.damaged:
        return auditor.failed("damaged")
    if found is None or not found.events:
        return auditor.absent()
    told = lines(found.events[0], found.names, auditor.speech, auditor.zone)
    decided = recorded_decision(found.events[0]) is not None
    return auditor.page("event", f"{DESK}/events/{id}", lines=told, id=id, decided=decided)


async def replay(auditor: Auditor, request: HttpRequest) -> Response:
    """Tell whether the decision of an event comes out again."""
    id = request.path_params["id"]
    if not ID.fullmatch(id):
        return auditor.absent()
    answer = await auditor.done(Request("operation", "POST", LOG, id, operation="replay"))
    if answer.status >= 500:
        return auditor.failed("replay_failed")
    if answer.status not in (200, 422):
        return auditor.absent()
    told = _replayed(parse(answer.body), auditor) if answer.status == 200 else None
    return auditor.page("replay", f"{DESK}/events/{id}/replay", told=told, id=id)


def _replayed(parameters: Json, auditor: Auditor) -> dict[str, Any]:
    """Return what a replay has found, as the page shows it."""
    said = {each["name"]: each for each in parameters["parameter"]}
    verdict = "replay_same" if said["same"]["valueBoolean"] else "replay_other"
    return {
        "verdict": verdict if said["complete"]["valueBoolean"] else "replay_incomplete",
        "same": said["same"]["valueBoolean"],
        "at": local(said["at"]["valueInstant"], auditor.zone),
        "then": _decision(said["then"], auditor),
        "again": _decision(said["recomputed"], auditor),
        "records": [
            _record(each, auditor) for each in parameters["parameter"] if each["name"] in ("record", "missing")
        ],
    }


def _decision(part: Json, auditor: Auditor) -> list[str]:
    (effect,) = (each["valueCode"] for each in part["part"] if each["name"] == "effect")
    return [auditor.speech(effect), *_grounds(part["part"], auditor)]


def _record(part: Json, auditor: Auditor) -> tuple[str, list[str]]:
    """Return a record that was decided on, and what came out."""
    said = {each["name"]: each for each in part["part"]}
    text = said["text" if auditor.lang == "zh" else "text-en"]["valueString"]
    effect = [auditor.speech(said["effect"]["valueCode"])] if "effect" in said else []
    return said["resource"]["valueReference"]["reference"], [*effect, text, *_grounds(part["part"], auditor)]


def _grounds(parts: list[Json], auditor: Auditor) -> list[str]:
    found = [{one["name"]: one for one in each["part"]} for each in parts if each["name"] == "ground"]
    return [
        ground(each["consent"]["valueReference"]["reference"], each["provision"]["valueString"], auditor.speech)
        for each in found
    ]


def plain(pairs: Pairs) -> Pairs:
    """Return what a search asks for, without how it is to be shown."""
    return tuple(pair for pair in pairs if not pair[0].startswith("_"))
