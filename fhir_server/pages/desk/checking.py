"""GET and POST [origin]/desk/chain: the result of the last verification of the log's chain, and the start of another.

The chain is one for all institutions. An auditor is told whether it is whole, what was found, and which events of their
own are concerned; how many events there are and where in the chain is told to operators alone, since it would tell what
others do here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from fhir_server.audit.event import Happening, Touched
from fhir_server.auth.accounts.browser import form_of as form_sent
from fhir_server.interactions.call import gate_for
from fhir_server.interactions.notice import record
from fhir_server.pages.desk.auditor import LOG, Auditor
from fhir_server.pages.desk.checks import Check, Checks, Stage
from fhir_server.pages.desk.entering import DESK
from fhir_server.pages.desk.telling import local
from fhir_server.store.instants import instant
from fhir_server.store.resources import Sort

Handle = Callable[[Auditor, HttpRequest], Awaitable[Response]]
CHAIN = f"{DESK}/chain"
MOST_IDS = 100
BY_ID: Sort = [("_id", 1)]
STAGES = {Stage.RUNNING: "chain_running", Stage.FAILED: "chain_failed", Stage.BROKEN: "chain_broken"}
NUMBERS = ("events", "before", "expired", "writers", "anchors", "unnamed")


class Told(NamedTuple):
    """What is told of a finding. what: in words; ids: of the auditor's own events; why: for operators."""

    what: str
    ids: tuple[str, ...]
    why: str


def shown(checks: Checks) -> Handle:
    """Return the handler of the page."""

    async def handle(auditor: Auditor, request: HttpRequest) -> Response:
        return await _page(auditor, checks)

    return handle


def started(checks: Checks) -> Handle:
    """Return the handler of the form that starts a verification."""

    async def handle(auditor: Auditor, request: HttpRequest) -> Response:
        sent, _ = await form_sent(request)
        if not auditor.fits(sent.values.get("form")):
            return await _page(auditor, checks, expired=True)
        await record(auditor.use, auditor.call, Happening("chain-verification"))
        await checks.start(auditor.institution)
        return auditor.moved(auditor.to("/chain"))

    return handle


async def _page(auditor: Auditor, checks: Checks, *, expired: bool = False) -> Response:
    check = await checks.of(auditor.institution)
    report = check.report if check else None
    findings = await _findings(auditor, report["findings"]) if report else []
    return auditor.page(
        "chain",
        CHAIN,
        status=400 if expired else 200,
        errors=((None, auditor.speech("expired")),) if expired else (),
        stage=_stage(check, auditor),
        running=check is not None and check.stage is Stage.RUNNING,
        looked=check.looked if check and auditor.operates else None,
        ended=local(instant(check.ended), auditor.zone) if check and check.ended else None,
        intact=report["intact"] if report else None,
        findings=findings,
        numbers=[(each, report[each]) for each in NUMBERS] if report and auditor.operates else [],
        tails=report["notYetAnchored"] if report and auditor.operates else [],
    )


def _stage(check: Check | None, auditor: Auditor) -> str | None:
    """Return what is said of a verification that has no result yet."""
    if check is None:
        return auditor.speech("chain_never")
    if check.stage not in STAGES:
        return None
    seconds = max(0, (auditor.use.now() - check.begun) // 1_000_000)
    return auditor.speech(STAGES[check.stage], seconds=seconds)


async def _findings(auditor: Auditor, findings: list[Mapping[str, Any]]) -> list[Told]:
    """Return what is told of findings: alike ones once, unless there is more to be told of them."""
    named = sorted({id for each in findings for id in each["ids"]})[:MOST_IDS]
    own = await _own(auditor, named) if named else frozenset[str]()
    speech = auditor.speech
    told = [
        Told(
            speech.codes[f"finding|{each['kind']}"] + speech.codes[f"target|{each['target']}"],
            tuple(id for id in each["ids"] if id in own),
            _place(each) if auditor.operates else "",
        )
        for each in findings
    ]
    return list(dict.fromkeys(told))


async def _own(auditor: Auditor, ids: list[str]) -> frozenset[str]:
    """Return those of the events that the auditor may see. They are not opened: what was changed does not open."""
    use, call = auditor.use, auditor.call
    wanted: dict[str, Any] = {"_id": {"$in": ids}}
    rows = await use.resources.find(LOG, wanted, gate_for(use, call, LOG, "s"), sort=BY_ID, limit=0, shown={"_id": 1})
    told = tuple(Touched(f"{LOG}/{each['_id']}") for each in rows)
    await record(use, call, Happening("search-type", touched=told, query=f"{LOG}?chain"))
    return frozenset(each["_id"] for each in rows)


def _place(finding: Mapping[str, Any]) -> str:
    numbers = f"{finding['first']}-{finding['last']}" if finding["last"] else ""
    return " ".join(each for each in (finding["writer"], numbers, finding["why"]) if each)
