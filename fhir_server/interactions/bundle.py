"""POST [base] — FHIR R4 RESTful API, "batch/transaction"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fhir_server.bundle_references import rewritten
from fhir_server.errors import InvalidRequest, InvalidResource, NotAllowed, Problem, UnsupportedParameter
from fhir_server.fhir_json import dump
from fhir_server.interactions import changes
from fhir_server.interactions.bundles import Raw
from fhir_server.interactions.call import Answer, Call, Return, Services
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request, interaction_of
from fhir_server.store.ids import new_id
from fhir_server.store.instants import instant
from fhir_server.store.writing import Draft, Removal, Written

MOST_ENTRIES = 5_000
# A transaction's interactions take place in this order, whatever that of its entries.
ORDER = ("DELETE", "POST", "PUT", "GET")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a batch or transaction: its place in the Bundle, and what it asks for."""

    number: int
    method: str
    type: str
    id: str | None
    request: Request
    full_url: str | None = None
    resource: Any = None
    if_match: str | None = None

    @property
    def where(self) -> str:
        return f"Bundle.entry[{self.number}]"


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
        answers = [await _alone(use, call, number, raw) for number, raw in enumerate(entries)]
        return Answer(200, _response("batch-response", answers))
    read = [_read(number, raw, call.base) for number, raw in enumerate(entries)]
    return Answer(200, _response("transaction-response", await _transaction(use, call, read)))


async def _alone(use: Services, call: Call, number: int, raw: Any) -> dict[str, Any]:
    """Return the response of one entry of a batch; what goes wrong with it is its own."""
    try:
        entry = _read(number, raw, call.base)
    except Problem as problem:
        request, unreadable = Request("batch", "GET", None, None), problem

        async def fail() -> Answer:
            raise unreadable

        return _entry(await perform(use, call, request, fail))
    return _entry(await _carried_out(use, call, entry))


async def _carried_out(use: Services, call: Call, entry: Entry) -> Answer:
    own = replace(call, if_match=entry.if_match, if_none_match=frozenset(), if_modified_since=None)
    return await perform(use, own, entry.request, lambda: entry.request.run(use, own, entry.resource))


async def _transaction(use: Services, call: Call, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    ids = {each.number: each.id or new_id() for each in entries if each.method in ("POST", "PUT")}
    places = {
        each.full_url: f"{each.type}/{ids[each.number]}" for each in entries if each.full_url and each.number in ids
    }
    _refuse_overlap((each, f"{each.type}/{ids.get(each.number, each.id)}") for each in entries if each.method != "GET")
    removals: dict[int, Removal] = {}
    drafts: dict[int, Draft] = {}
    for entry in sorted(entries, key=lambda each: ORDER.index(each.method)):
        own = replace(call, if_match=entry.if_match)
        try:
            if entry.method == "DELETE":
                removals[entry.number] = await changes.deletion(use, own, entry.type, str(entry.id))
            elif entry.method == "POST":
                resource = rewritten(entry.resource, places)
                drafts[entry.number] = await changes.creation(use, own, entry.type, resource, id=ids[entry.number])
            elif entry.method == "PUT":
                resource = rewritten(entry.resource, places)
                drafts[entry.number] = await changes.update(use, own, entry.type, str(entry.id), resource)
        except Problem as problem:
            raise _located(problem, entry) from problem
    written = await changes.store(use, call, "transaction", list(drafts.values()), list(removals.values()))
    versions = dict(zip(drafts, written, strict=True))
    answers = []
    for entry in entries:
        if entry.method == "GET":
            answers.append(_entry(await _carried_out(use, call, entry)))
        elif entry.method == "DELETE":
            answers.append({"response": {"status": "204"}})
        else:
            version, created = versions[entry.number], drafts[entry.number].old is None
            answers.append(_stored(call, version, created=created))
    return answers


def _read(number: int, raw: Any, base: str) -> Entry:
    """Return a raw entry as what it asks for.

    Raises InvalidRequest, UnsupportedParameter or NotAllowed if it cannot be read or is not offered here.
    """
    where = f"Bundle.entry[{number}]"
    request = raw.get("request") if isinstance(raw, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("url"), str):
        raise InvalidRequest("Each entry needs request.method and request.url.", expression=where)
    method, url = request.get("method"), request["url"]
    if method not in ORDER:
        raise NotAllowed("request.method must be GET, POST, PUT or DELETE here.", expression=f"{where}.request.method")
    if "ifNoneExist" in request:
        raise UnsupportedParameter("Conditional creates are not supported.", expression=f"{where}.request.ifNoneExist")
    try:
        split = urlsplit(url.removeprefix(base + "/"))
    except ValueError as error:
        raise InvalidRequest("request.url is not a URL.", expression=f"{where}.request.url") from error
    pairs = tuple(parse_qsl(split.query, keep_blank_values=True))
    if pairs and method != "GET":
        raise UnsupportedParameter("Conditional interactions are not supported.", expression=f"{where}.request.url")
    parts = tuple(part for part in split.path.split("/") if part)
    found = interaction_of(method, parts, pairs)
    if found is None or found.type is None or found.interaction == "batch":
        raise InvalidRequest(
            "request.url does not name an interaction of this server.", expression=f"{where}.request.url"
        )
    full_url = raw.get("fullUrl") if isinstance(raw.get("fullUrl"), str) else None
    if method in ("POST", "PUT") and not isinstance(raw.get("resource"), dict):
        raise InvalidRequest("The entry has no resource.", expression=f"{where}.resource")
    if_match = request.get("ifMatch")
    return Entry(
        number,
        method,
        found.type,
        found.id,
        found,
        full_url,
        raw.get("resource"),
        version_of(if_match) if isinstance(if_match, str) else None,
    )


def version_of(etag: str) -> str:
    """Return the version number of an ETag such as W/"3"."""
    return etag.strip().removeprefix("W/").strip('"')


def _refuse_overlap(places: Iterable[tuple[Entry, str]]) -> None:
    seen: set[str] = set()
    for entry, place in places:
        if place in seen:
            raise InvalidRequest("Two entries of the transaction write the same resource.", expression=entry.where)
        seen.add(place)


def _located(problem: Problem, entry: Entry) -> Problem:
    """Return the problem, saying in which entry it is."""
    within = f"{entry.where}.resource" if entry.resource is not None else entry.where

    def place(expression: str | None) -> str:
        return f"{within}.{expression.partition('.')[2]}".rstrip(".") if expression else within

    if isinstance(problem, InvalidResource):
        return InvalidResource([(code, place(where), f"{entry.where}: {said}") for code, where, said in problem.found])
    problem.diagnostics = f"{entry.where}: {problem.diagnostics}"
    problem.expression = place(problem.expression)
    return problem


def _stored(call: Call, version: Written, *, created: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "response": {
            "status": "201" if created else "200",
            "location": f"{call.base}/{version.type}/{version.id}/_history/{version.version}",
            "etag": f'W/"{version.version}"',
            "lastModified": instant(version.at),
        }
    }
    if call.returns is Return.REPRESENTATION:
        answer["resource"] = Raw(version.body)
    return answer


def _entry(answer: Answer) -> dict[str, Any]:
    """Return the response entry of an answer."""
    response: dict[str, Any] = {"status": str(answer.status)}
    response |= {"location": answer.headers["Location"]} if "Location" in answer.headers else {}
    response |= {"etag": answer.headers["ETag"]} if "ETag" in answer.headers else {}
    if answer.status >= 400:
        return {"response": {**response, "outcome": Raw(answer.body)}}
    return {**({"resource": Raw(answer.body)} if answer.body else {}), "response": response}


def _response(type: str, entries: Sequence[Mapping[str, Any]]) -> bytes:
    return dump({"resourceType": "Bundle", "type": type, "entry": list(entries)})
