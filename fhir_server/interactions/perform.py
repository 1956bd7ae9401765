"""Carrying out one interaction: whatever goes wrong becomes an answer, and a refusal is recorded before it leaves."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlencode

from pymongo.errors import PyMongoError

from fhir_server.audit.event import Happening, Outcome, Touched
from fhir_server.errors import Problem
from fhir_server.interactions.call import Answer, Call, Services, outcome, refusal
from fhir_server.interactions.routes import Request
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Ungated

log = logging.getLogger(__name__)


async def perform(use: Services, call: Call, request: Request, run: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return the answer of an interaction, or the one that its problem makes.

    A problem that nobody foresaw is logged under a number by its kind alone: its text could hold a patient's data.
    """
    try:
        return await _answered(use, call, request, run)
    except Exception as error:
        number = uuid.uuid4().hex[:12]
        log.error("failure %s in %s %s: %s", number, request.interaction, request.type, _trace(error))
        status = 503 if isinstance(error, PyMongoError) else 500
        code = "transient" if status == 503 else "exception"
        await _try_to_record(use, call, request, status)
        said = {"severity": "fatal", "code": code, "diagnostics": f"The server failed; its log has it as {number}."}
        return Answer(status, outcome(said))


async def _answered(use: Services, call: Call, request: Request, run: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await run()
    except Problem as problem:
        for each in await _refused(use, call, request, problem):
            await use.audit.record(each, call.requester, at=use.now())
        return refusal(problem)


async def _refused(use: Services, call: Call, request: Request, problem: Problem) -> list[Happening]:
    """Return the records of a refusal: what the requester was told, and, for those concerned, what hides behind it."""
    refused = Happening(request.interaction, Outcome.REFUSED, problem.status, note=problem.issue)
    if request.type not in use.registry.types or request.type is None:
        return [refused]
    if request.id is None:
        return [replace(refused, query=f"{request.type}?{urlencode(request.pairs)}")]
    reference = f"{request.type}/{request.id}"
    refused = replace(refused, touched=(Touched(reference),))
    found = await use.resources.many(request.type, [request.id], Ungated("record of a refusal"))
    if not found or request.type == "AuditEvent":
        return [refused]
    hidden = found[request.id]
    gate = use.gatekeeper.gate(call.requester, "r")
    await gate.among(persons_of(hidden))
    decision = gate.decision(request.type, hidden)
    grounds = decision.grounds if decision else frozenset()
    whole = replace(refused, touched=(Touched(reference, hidden["org"], tuple(hidden.get("pr", ())), grounds),))
    if hidden["org"] == call.requester.organization:
        return [whole]
    return [refused, replace(whole, withheld=True)]


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
