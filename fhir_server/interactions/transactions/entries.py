"""The entries of a batch or transaction: what each asks for, and what it is answered.

Source: FHIR R4 Bundle, Bundle.entry.request and Bundle.entry.response; RESTful API, "batch/transaction".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fhir_server.errors import InvalidRequest, InvalidResource, NotAllowed, Problem, UnsupportedParameter
from fhir_server.interactions.bundles import Raw
from fhir_server.interactions.call import Answer, Call, Return, Services
from fhir_server.interactions.patch import patch_in
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request, interaction_of
from fhir_server.search.results import UNSEEN
from fhir_server.store.instants import instant, microseconds

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PRECONDITIONS = ("ifMatch", "ifNoneMatch", "ifModifiedSince", "ifNoneExist")
# What a transaction carries out as a whole, in R4's order; all else is carried out after it, each for itself.
WRITES = ("delete", "create", "update", "patch")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its place in the Bundle, what it asks for, and the call with the entry's own preconditions."""

    number: int
    request: Request
    call: Call
    full_url: str | None = None
    resource: Any = None

    @property
    def type(self) -> str:
        return str(self.request.type)

    @property
    def writes(self) -> bool:
        """Whether it is part of what a transaction carries out as a whole."""
        return self.request.interaction in WRITES

    @property
    def conditional(self) -> bool:
        """Whether a search decides which resource it is about."""
        if self.request.interaction == "create":
            return self.call.if_none_exist is not None
        return self.writes and self.request.id is None

    @property
    def where(self) -> str:
        return f"Bundle.entry[{self.number}]"


def read_entry(number: int, raw: Any, call: Call) -> Entry:
    """Return a raw entry as what it asks for.

    Raises InvalidRequest, UnsupportedParameter or NotAllowed if it cannot be read or is not offered here.
    """
    where = f"Bundle.entry[{number}]"
    request = raw.get("request") if isinstance(raw, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("url"), str):
        raise InvalidRequest("Each entry needs request.method and request.url.", expression=where)
    asked = _asked(request, call.base, where)
    resource = raw.get("resource")
    if asked.interaction in ("create", "update", "patch") and not isinstance(resource, dict):
        raise InvalidRequest("The entry has no resource.", expression=f"{where}.resource")
    full_url = raw.get("fullUrl")
    own = _own(call, request, f"{where}.request", creates=asked.interaction == "create")
    return Entry(number, asked, own, full_url if isinstance(full_url, str) else None, resource)


def _asked(request: Mapping[str, Any], base: str, where: str) -> Request:
    """Return the interaction that a method and a URL name."""
    method = request.get("method")
    if method not in METHODS:
        raise NotAllowed(f"request.method must be one of {', '.join(METHODS)}.", expression=f"{where}.request.method")
    place = f"{where}.request.url"
    try:
        split = urlsplit(request["url"].removeprefix(base + "/"))
        pairs = tuple(parse_qsl(split.query, keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise InvalidRequest("request.url is not a URL.", expression=place) from error
    found = interaction_of(method, tuple(part for part in split.path.split("/") if part), pairs)
    if found is None or found.interaction == "batch":
        raise InvalidRequest("request.url does not name an interaction of this server.", expression=place)
    by_id = found.interaction in WRITES and (found.id is not None or found.interaction == "create")
    if by_id and any(name not in UNSEEN for name, _ in pairs):
        raise UnsupportedParameter("This interaction takes no parameters.", expression=place)
    return found


def _own(call: Call, request: Mapping[str, Any], where: str, *, creates: bool) -> Call:
    """Return the call with the preconditions of one entry in place of those of the whole Bundle."""
    said = {name: _text(request, name, where) for name in PRECONDITIONS}
    if_match, since = said["ifMatch"], said["ifModifiedSince"]
    return replace(
        call,
        if_match=version_of(if_match) if if_match is not None else None,
        if_none_match=frozenset(version_of(each) for each in (said["ifNoneMatch"] or "").split(",") if each),
        if_modified_since=_instant(since, where) if since is not None else None,
        if_none_exist=said["ifNoneExist"] if creates else None,
    )


def _text(request: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return a precondition; one that cannot be read must not become none. Raises InvalidRequest."""
    if name not in request:
        return None
    if isinstance(found := request[name], str):
        return found
    raise InvalidRequest(f"{name} must be a text.", expression=f"{where}.{name}")


def _instant(text: str, where: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidRequest("ifModifiedSince must be an instant.", expression=f"{where}.ifModifiedSince")
    return found


def version_of(etag: str) -> str:
    """Return the version number of an ETag such as W/"3"."""
    return etag.strip().removeprefix("W/").strip('"')


async def carried_out(use: Services, entry: Entry) -> dict[str, Any]:
    """Return the response of an entry that is carried out for itself; what goes wrong with it is its own."""

    async def run(present: Services) -> Answer:
        body = patch_in(entry.resource) if entry.request.interaction == "patch" else entry.resource
        return await entry.request.run(present, entry.call, body)

    answer = await perform(use, entry.call, entry.request, run)
    if entry.request.method == "HEAD":
        answer = replace(answer, body=b"")
    return response(answer, informs=entry.writes and entry.call.returns is Return.OUTCOME)


def response(answer: Answer, *, informs: bool = False) -> dict[str, Any]:
    """Return the response entry of an answer. informs: its body is an OperationOutcome that goes with a success."""
    said: dict[str, Any] = {"status": str(answer.status)}
    said |= {"location": answer.headers["Location"]} if "Location" in answer.headers else {}
    said |= {"etag": answer.headers["ETag"]} if "ETag" in answer.headers else {}
    if changed := answer.headers.get("Last-Modified"):
        said["lastModified"] = instant(microseconds(parsedate_to_datetime(changed)))
    if answer.body and (informs or answer.status >= 400):
        return {"response": {**said, "outcome": Raw(answer.body)}}
    return {**({"resource": Raw(answer.body)} if answer.body else {}), "response": said}


def located(problem: Problem, entry: Entry) -> Problem:
    """Return the problem, saying in which entry it is."""
    within = f"{entry.where}.resource" if entry.resource is not None else entry.where

    def place(expression: str | None) -> str:
        return f"{within}.{expression.partition('.')[2]}".rstrip(".") if expression else within

    if isinstance(problem, InvalidResource):
        return InvalidResource([(code, place(where), f"{entry.where}: {said}") for code, where, said in problem.found])
    problem.diagnostics = f"{entry.where}: {problem.diagnostics}"
    problem.expression = place(problem.expression)
    return problem
