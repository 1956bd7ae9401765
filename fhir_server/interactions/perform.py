"""Carrying out one interaction: whatever goes wrong becomes an answer, and a refusal is recorded before it leaves."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlencode

from pymongo.errors import PyMongoError

from fhir_server.audit.event import Happening, Outcome, Touched
from fhir_server.errors import Gone, InvalidSearchValue, Problem, Unauthenticated, UnsupportedParameter
from fhir_server.interactions.call import Answer, Call, Services, outcome, refusal
from fhir_server.interactions.deciding import basis_of
from fhir_server.interactions.notice import record
from fhir_server.interactions.routes import Request
from fhir_server.store.keys import Unreadable
from fhir_server.store.numbers import Outdated
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document, Ungated

log = logging.getLogger(__name__)


Run = Callable[[Services], Awaitable[Answer]]
T = TypeVar("T")
TRIES = 5
# What may be done without asking the gate for anything, which otherwise finds out that a token was revoked.
UNGATED = frozenset({"create", "batch", "operation"})


async def perform(use: Services, call: Call, request: Request, run: Run) -> Answer:
    """Return the answer of an interaction, or the one that its problem makes.

    run: carries the interaction out under the services of one state of the definitions, and is called again under those
    of the next if they change meanwhile; whatever finds that out comes before anything is stored or leaves.
    A problem that nobody foresaw is logged under a number by its kind alone: its text could hold a patient's data.
    """
    try:
        return await _answered(use, call, request, run)
    except Exception as error:
        answer = failure(error, f"{request.interaction} {request.type}")
        await _try_to_record(use, call, request, answer.status)
        return answer


def failure(error: Exception, what: str) -> Answer:
    """Return the answer to an error that nobody foresaw, and log it."""
    number = uuid.uuid4().hex[:12]
    log.error("failure %s in %s: %s", number, what, _trace(error))
    status = 503 if isinstance(error, PyMongoError) else 500
    code = "transient" if status == 503 else "exception"
    said = {"severity": "fatal", "code": code, "diagnostics": f"The server failed; its log has it as {number}."}
    return Answer(status, outcome(said))


async def _answered(use: Services, call: Call, request: Request, run: Run) -> Answer:
    async def begun(present: Services) -> Answer:
        if request.interaction in UNGATED:
            await present.gatekeeper.gate(call.requester, "c").stands()
        return await run(present)

    try:
        return await _under_present(use, begun)
    except Problem as problem:
        refused = problem
    try:
        await _under_present(use, lambda present: _record(present, call, request, refused))
    except Unauthenticated as revoked:  # found out only now, since what is absent was refused without asking the gate
        refused = revoked
        await _under_present(use, lambda present: _record(present, call, request, refused))
    return refusal(refused)


async def _record(use: Services, call: Call, request: Request, refused: Problem) -> None:
    await record(use, call, *await _refused(use, call, request, refused))


async def _under_present(use: Services, work: Callable[[Services], Awaitable[T]]) -> T:
    """Return what work returns, begun again for as long as the definitions change in the middle of it."""
    for left in range(TRIES - 1, -1, -1):
        present = use.definitions.services
        try:
            return await work(present)
        except Problem as problem:
            if not left or not await _outdated(present, problem):
                raise
        except Unreadable:  # purged between finding and opening: begun again, it is no longer found
            if not left:
                raise Gone("What was asked for was purged.") from None
    raise AssertionError("unreachable")


async def _outdated(use: Services, problem: Problem) -> bool:
    """Return whether these services are no longer the present ones, so that a problem may be none any more."""
    if not isinstance(problem, Outdated | UnsupportedParameter | InvalidSearchValue):
        return False
    await use.definitions.renew(entering=isinstance(problem, Outdated))
    return use.definitions.services is not use


async def _refused(use: Services, call: Call, request: Request, problem: Problem) -> list[Happening]:
    """Return the records of a refusal: what the requester was told, and, for those concerned, what hides behind it."""
    refused = Happening(request.interaction, Outcome.REFUSED, problem.status, note=problem.issue)
    if request.id is None:
        asked = request.type in use.registry.types or request.pairs
        return [replace(refused, query=f"{request.place}?{urlencode(request.pairs)}")] if asked else [refused]
    if request.type not in use.registry.types or request.type is None:
        return [refused]
    reference = _asked_for(request.type, request)
    refused = replace(refused, touched=(Touched(reference),))
    if isinstance(problem, Unauthenticated):  # nothing was decided: the token was revoked
        return [refused]
    hidden = await _behind(use, request.type, request.id, request)
    gate = use.gatekeeper.gate(call.requester, "r")
    await gate.among(persons_of(hidden) if hidden else ())
    refused = replace(refused, basis=basis_of(gate), lapsed=gate.lapsed)
    if hidden is None or request.type == "AuditEvent":
        return [refused]
    decision = gate.decision(request.type, hidden)
    grounds = decision.grounds if decision else frozenset()
    whole = replace(refused, touched=(Touched(reference, hidden["org"], tuple(hidden.get("pr", ())), grounds),))
    if hidden["org"] == call.requester.organization:
        return [whole]
    return [refused, replace(whole, withheld=True)]


def _asked_for(type: str, request: Request) -> str:
    """Return what was asked for, as it was asked: of a vread the version too."""
    version = request.version if request.interaction == "vread" else None
    named = version is not None and version.isascii() and version.isdecimal()
    return f"{type}/{request.id}" + (f"/_history/{version}" if named else "")


async def _behind(use: Services, type: str, id: str, request: Request) -> Document | None:
    """Return what there is of what was asked for: of a vread that version, which may be hidden where the current is not."""
    why = Ungated("record of a refusal")
    if request.interaction == "vread":
        versions = await use.resources.versions(type, id, why)
        return next((each for each in versions if str(each["v"]) == request.version), None)
    return (await use.resources.many(type, [id], why)).get(id)


async def _try_to_record(use: Services, call: Call, request: Request, status: int) -> None:
    happening = Happening(request.interaction, Outcome.FAILED, status, note="exception")
    try:
        await use.audit.record(happening, call.requester, at=use.now())
    except Exception as error:  # the store itself may be what failed
        log.error("the failure could not be recorded: %s", type(error).__name__)


def _trace(error: BaseException) -> str:
    """Return the kind of an error and where it came from, without its text."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' > '.join(places[-6:])}"
