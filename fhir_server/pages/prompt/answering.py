"""What a patient does on the page of a prompt, each thing a step of the authorization's life cycle, by its operations.

It is asked for in the name of the booking, and answered by the patient or who speaks for them, or proven by a code that was
sent to the patient. Nobody's word is taken for the patient's: whoever only has the page can send them a code or put it off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.audit.event import Happening
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.signing_in import Failed
from fhir_server.auth.server.authority import Authority
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request
from fhir_server.pages.my.acting import ROLES
from fhir_server.pages.my.entering import LONGEST_LOGIN, leave
from fhir_server.pages.my.visiting import Visit
from fhir_server.pages.prompt.prompts import Kept, Prompts
from fhir_server.store.instants import instant, microseconds

Json = Mapping[str, Any]
AGREED, DECLINED, LATER = "agreed", "declined", "later"
APP, SMS = "app", "sms"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a form: the visit and the prompt after it, the page that comes next, and what it says."""

    visit: Visit
    kept: Kept
    step: str | None = None
    said: Mapping[str, str] = field(default_factory=dict)


Take = Callable[[Visit, Kept, Mapping[str, str]], Awaitable[Done]]


class Answering:
    """The steps, by the value of the button."""

    def __init__(self, desk: Reception, authority: Authority, prompts: Prompts) -> None:
        self._desk = desk
        self._authority = authority
        self._prompts = prompts
        self._takes: Mapping[str, Take] = {
            "agree": self._agree,
            "decline": self._decline,
            "later": self._later,
            "send": self._send,
            "verify": self._verify,
            "sign-in": self._sign_in,
            "code": self._code,
            "leave": self._leave,
            "cancel": self._leave,
        }

    async def take(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        """Return what came of a form that a page of ours has sent."""
        take = self._takes.get(values.get("step", ""))
        return await take(visit, kept, values) if take else Done(visit, kept)

    async def institution(self, kept: Kept) -> str:
        """Return the name of who asks, as the booking may read it."""
        read = Request("read", "GET", "Organization", kept.prompt.organization)
        answer = await self._for_booking(kept, read)
        name = parse(answer.body).get("name") if answer.status == 200 else None
        return str(name or kept.prompt.organization)

    async def _agree(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        return await self._answered(visit, kept, "confirm", AGREED)

    async def _decline(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        """Decline. Of somebody who has not signed in it is not known who they are: nothing is written in their name."""
        if visit.is_in:
            return await self._answered(visit, kept, "decline", DECLINED)
        happening = Happening("operation", note="consent prompt declined without sign-in")
        await self._desk.use.audit.record(happening, kept.prompt.requester, at=self._desk.use.now())
        return Done(visit, await self._prompts.note(kept, result=DECLINED))

    async def _later(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        """Put it off: the request waits among the patient's authorizations."""
        kept, _ = await self._asked(kept, APP)
        return Done(visit, await self._prompts.note(kept, result=LATER))

    async def _answered(self, visit: Visit, kept: Kept, operation: str, result: str) -> Done:
        if not visit.is_in:
            return Done(visit, kept, "sign-in")
        kept, refused = await self._asked(kept, APP)
        if kept.progress.consent is None:
            return Done(visit, kept, said={"said": refused})
        answer = await visit.acting(self._desk).step(kept.progress.consent, operation)
        if answer.status == 404:
            return Done(visit, kept, said={"said": "not_yours"})
        if answer.status >= 400:
            now = await self._prompts.of(kept.token) or kept  # answered in another window, perhaps
            return Done(visit, now, said={"said": "not_done"})
        return Done(visit, await self._prompts.note(kept, result=result))

    async def _send(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        """Send a code to the number that is known of the patient; once more, if it did not come."""
        kept, refused = await self._asked(kept, SMS, again=True)
        if refused or kept.progress.way != SMS:
            return Done(visit, kept, said={"said": refused or "not_sent"})
        return Done(visit, kept, "sms")

    async def _verify(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        """Take the code, which says yes."""
        if kept.progress.consent is None or kept.progress.way != SMS:
            return Done(visit, kept)
        code = "".join(values.get("code", "").split())[:8]
        body = _parameters(("code", "valueString", code))
        verify = Request("operation", "POST", "Consent", kept.progress.consent, operation="verify")
        answer = await self._for_booking(kept, verify, body)
        if answer.status >= 400:
            now = await self._prompts.note(kept, told=_diagnostics(answer) if answer.status == 422 else None)
            return Done(
                visit, now, "sms", {"said": "told" if now.progress.told and visit.lang == "zh" else "code_wrong"}
            )
        return Done(visit, await self._prompts.note(kept, result=AGREED))

    async def _sign_in(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        login, password = values.get("login", "")[:LONGEST_LOGIN], values.get("password", "")
        found = await self._desk.signing_in.password(login, password, visit.source)
        if isinstance(found, Failed):
            return Done(visit, kept, "sign-in", _failed(found, "sign_in_wrong"))
        if found.account.role not in ROLES:
            await self._desk.signing_in.leave(found)
            return Done(visit, kept, "sign-in", {"said": "wrong_role"})
        return Done(visit.of(found), kept)

    async def _code(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        if visit.signed is None:
            return Done(visit, kept)
        found = await self._desk.signing_in.code(visit.signed, values.get("code", ""))
        if isinstance(found, Failed):
            return Done(visit, kept, said=_failed(found, "otp_wrong"))
        return Done(visit.of(found), kept)

    async def _leave(self, visit: Visit, kept: Kept, values: Mapping[str, str]) -> Done:
        """Let somebody else sign in."""
        await leave(self._desk, self._authority, visit)
        return Done(visit.anew(), kept)

    async def _asked(self, kept: Kept, way: str, *, again: bool = False) -> tuple[Kept, str]:
        """Return the prompt with its Consent, and what is said if the patient could not be asked by the way."""
        if kept.progress.consent and not again:
            return kept, ""
        wanted = kept.prompt.request(way, self._desk.use.zone)
        days = {"start": wanted.since, "end": wanted.until}
        period = {name: day.isoformat() for name, day in days.items() if day}
        body = _parameters(
            ("way", "valueCode", way),
            ("purpose", "valueCode", wanted.purpose),
            *(("type", "valueCode", each) for each in wanted.types),
            *((("dataPeriod", "valuePeriod", period),) if period else ()),
            ("expires", "valueDateTime", instant(microseconds(wanted.expires))),
        )
        ask = Request("operation", "POST", "Patient", kept.prompt.patient, operation="request-authorization")
        answer = await self._for_booking(kept, ask, body)
        if answer.status >= 400:
            return kept, "too_often" if answer.status == 429 else "not_sent" if way == SMS else "not_done"
        return await self._prompts.note(kept, consent=parse(answer.body)["id"], way=way), ""

    async def _for_booking(self, kept: Kept, request: Request, body: Json | None = None) -> Answer:
        """Return the answer to what is done in the name of the booking, with the token that it came with."""
        use = self._desk.use
        call = Call(kept.prompt.requester, use.settings.public_base, remark="consent prompt")
        return await perform(use, call, request, lambda now: request.run(now, call, body))


def _parameters(*parts: tuple[str, str, Any]) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": name, type: value} for name, type, value in parts]}


def _diagnostics(answer: Answer) -> str | None:
    issues = parse(answer.body).get("issue", ()) if answer.body else ()
    return next((each["diagnostics"] for each in issues if each.get("diagnostics")), None)


def _failed(failed: Failed, key: str) -> dict[str, str]:
    return {"said": "waiting", "wait": str(failed.wait)} if failed.wait else {"said": key}
