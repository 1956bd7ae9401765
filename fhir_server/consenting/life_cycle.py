"""The life cycle of an authorization: each step is one unit of the next version of the Consent and all that tells of it.

In the unit: the Consent, its Provenance, the AuditEvent, what the way sends, the row by which the server knows its own
version again, the notice to who asked, and the outbox entry for those outside who must know. All is stored, or nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from fhir_server.auth.requester import INSTITUTIONAL, Role
from fhir_server.consenting import recording
from fhir_server.consenting.asked import NotVerified, Proof, Request, State, consent_of, read_request
from fhir_server.consenting.bringing import Bringing, in_name_of
from fhir_server.consenting.checking import checked
from fhir_server.consenting.ends import Ends
from fhir_server.consenting.holding import Held, by_institution, by_patient, held, permits
from fhir_server.consenting.looking import looked_up
from fhir_server.consenting.recording import Happened, following
from fhir_server.consenting.rows import Row, Rows
from fhir_server.consenting.standing import Standing
from fhir_server.consenting.steps import FIRST, NotNow, Step, TooOften, after
from fhir_server.consenting.versions import next_version
from fhir_server.consenting.ways.way import Way
from fhir_server.errors import Absent, Forbidden, InvalidRequest
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call, Services, gate_for, within_scopes
from fhir_server.interactions.storing import again
from fhir_server.store.commit import Unit
from fhir_server.store.consents import BY_PATIENT
from fhir_server.store.drafts import Draft, Written
from fhir_server.store.ids import new_id
from fhir_server.store.instants import moment
from fhir_server.store.numbers import Outdated
from fhir_server.store.outbox import Outbox

Json = dict[str, Any]
T = TypeVar("T")
HOUR = 3_600_000_000  # µs
TOO_OFTEN = "今天向该患者发起授权请求的次数已达上限。请明天再试，或请患者在自己的授权页面上办理。"
ONLY_INSTITUTIONS = "Only practitioners and systems of an institution ask for this."


class LifeCycle:
    """Takes the steps. services: gives those of the present state of the definitions."""

    def __init__(
        self, services: Callable[[], Services], rows: Rows, ends: Ends, outbox: Outbox, ways: Mapping[str, Way]
    ) -> None:
        self._services = services
        self.rows = rows
        self.ends = ends
        self.outbox = outbox
        self.ways = ways

    async def ensure(self) -> None:
        """Make what the store needs before the first request."""
        await self.rows.ensure()
        await self.ends.ensure()
        await self.outbox.ensure()

    async def request(self, call: Call, request: Request) -> Json:
        """Ask a patient in the name of the requester's institution; return the Consent (status proposed).

        Who already waits for an answer to the same question asks it once more, by the way now named; its validity stays
        as it was. Raises Absent if the requester may not see the Patient, InvalidRequest, TooOften.
        """
        use, requester = self._services(), call.requester
        if requester.role not in INSTITUTIONAL:
            raise Forbidden(ONLY_INSTITUTIONS)
        asked = checked(in_name_of(requester, request), at=use.clock())
        self._way(asked.way)
        within_scopes(call, "Consent", "c")
        if await use.resources.read("Patient", asked.patient, gate_for(use, call, "Patient", "r")) is None:
            raise Absent
        return await self._again(lambda: self._ask(call, asked))

    async def verify(self, call: Call, consent_id: str, proof: Mapping[str, str]) -> Json:
        """Take what the patient has given (a code, a signature, …); return the active Consent.

        A code is entered by who asked (bringing.py), or the patient; a form is handed in by anybody at the institution that
        asked. Raises NotVerified, NotNow, Absent. Of several at once one wins.
        """
        return await self._again(lambda: self._verify(call, consent_id, proof))

    async def confirm(self, call: Call, consent_id: str) -> Json:
        """Say yes, as the patient or as who may speak for them, with their own token; return the active Consent."""
        return await self._again(lambda: self._answer(call, consent_id, Step.CONFIRM))

    async def decline(self, call: Call, consent_id: str) -> Json:
        """Say no, as the patient or as who may speak for them; return the Consent (status rejected)."""
        return await self._again(lambda: self._answer(call, consent_id, Step.DECLINE))

    async def revoke(self, call: Call, consent_id: str) -> Json:
        """End an authorization, as the patient or as who may speak for them; return the Consent (status inactive).

        It holds for every request that begins after the return. An authorization that the patient gave in another way
        than ours can be ended as well; one that was revoked before stays as it is.
        """
        return await self._again(lambda: self._answer(call, consent_id, Step.REVOKE))

    async def status(self, call: Call, patient_id: str) -> State | None:
        """Return the state of a patient's authorization towards the requester's institution; None if there is none."""
        return (await self.standing(call, patient_id)).state

    async def standing(self, call: Call, patient_id: str, *, purpose: str | None = None) -> Standing:
        """Return how a patient's authorization towards the requester's institution stands; of others nothing.

        Raises Absent if the requester may not see the Patient. purpose: that it has to be for; None: any.
        """
        if call.requester.role not in INSTITUTIONAL:
            raise Forbidden(ONLY_INSTITUTIONS)
        return await looked_up(self._services(), call, self.rows, patient_id, purpose)

    async def expire(self, row: Row) -> bool:
        """End a request that nobody has answered in time; return True."""
        use = self._services()
        at, found = use.now(), await held(use, self.rows, row.consent)
        if found is not None and found.row == row and found.document["v"] == row.version:
            await self._taken(Happened(use, None, Step.EXPIRE, Unit(), at), found, row.state)
            return True
        unit = Unit()  # it was answered meanwhile, which a conflict says; or changed, so that nobody can answer it
        self.rows.put(row, replace(row, state=State.EXPIRED), unit)
        await use.committer.commit(unit)
        return True

    async def _ask(self, call: Call, asked: Request) -> Json:
        use = self._services()
        at, unit = use.now(), Unit()
        (person,) = (await use.gatekeeper.persons.keys([asked.patient])).values()
        today, most = moment(at).astimezone(use.zone).date(), use.settings.authorization_requests_a_day
        place = await self.rows.place(person, asked.organization, today, most)
        if place is None:
            raise TooOften(TOO_OFTEN)
        self.rows.take(place, unit, at=at)
        lock = await self.rows.lock(person, asked)
        waiting = await self._waiting(lock.consent, asked, at)
        if waiting is None:
            asked = replace(asked, consent=new_id())
            self.rows.hold(lock, asked.consent, unit)
            waiting = await self._first(Happened(use, call, None, unit, at), asked)
        return await self._send(Happened(use, call, Step.SEND, unit, at), asked, waiting)

    async def _waiting(self, consent: str | None, asked: Request, at: int) -> Held | None:
        """Return the request that already waits for an answer, if its Consent is still as this server wrote it.

        It has to ask what is asked now, whatever the store says holds the question, and of the Patient that is named now:
        another one of the person may be hidden from who asks.
        """
        found = await held(self._services(), self.rows, consent) if consent else None
        try:
            return found if found and found.asked(at)[0].question == asked.question else None
        except NotNow:
            return None

    async def _first(self, happened: Happened, asked: Request) -> Held:
        """Add the first version of a Consent to the unit; return it as if it were stored."""
        at = happened.at
        draft = Draft(consent_of(asked, FIRST, at=at), asked.consent, asked.organization)
        written = await recording.version(happened, draft, asked.patient)
        row = Row(asked.consent, 1, FIRST, at + happened.use.settings.authorization_pending_hours * HOUR)
        resource = _json(written)
        # As it will be read again: a code is bound to it to the letter.
        return Held(written.document, resource, read_request(resource, zone=happened.use.zone), row, begun=True)

    async def _send(self, happened: Happened, asked: Request, waiting: Held) -> Json:
        """Ask the patient by the way that is named. The question stays as it was asked first."""
        use, unit, at = happened.use, happened.unit, happened.at
        kept, row = waiting.asked(at)
        now = replace(kept, way=asked.way, user=asked.user, client=asked.client)
        said = await self._way(now.way).ask(now, unit, at=at)
        state = after(row.state, Step.SEND)
        draft = following(waiting, consent_of(now, state, at=at, said=said))
        written = await recording.version(happened, draft, now.patient)
        self.rows.put(waiting.stored_row, replace(row, version=written.version, state=state), unit)
        await use.committer.commit(unit)
        return _json(written)

    async def _verify(self, call: Call, id: str, given: Mapping[str, str]) -> Json:
        use = self._services()
        if call.requester.role in INSTITUTIONAL:
            found = await by_institution(use, call, self.rows, id)
        else:
            found = await by_patient(use, call, self.rows, id, Step.VERIFY)
        at, unit = use.now(), Unit()
        request, row = found.asked(at)
        after(row.state, Step.VERIFY)
        try:
            proof = await self._way(request.way).proven(request, given, unit, by=Bringing(use, call), at=at)
        except NotVerified:
            await recording.refused(use, call, found, unit, at=at)
            await use.committer.commit(unit)
            raise
        return await self._taken(Happened(use, call, Step.VERIFY, unit, at, proof), found, row.state)

    async def _answer(self, call: Call, id: str, step: Step) -> Json:
        use = self._services()
        found = await by_patient(use, call, self.rows, id, step)
        at = use.now()
        if step is Step.REVOKE:
            state = permits(found, at, use.zone)
            if state is State.REVOKED:
                return dict(found.resource)
        else:
            state = found.asked(at)[1].state
        if call.requester.role is Role.PATIENT:
            # Whichever Patient of the person signed in: who keeps the Consent is not told of the others.
            proof = Proof("app", f"Patient/{found.patient}", at)
        else:
            proof = Proof("guardian", call.requester.user, at)
        return await self._taken(Happened(use, call, step, Unit(), at, proof), found, state)

    async def _taken(self, happened: Happened, found: Held, state: State) -> Json:
        """Store a step from a state: the next version of the Consent with all that goes with it; return it."""
        step = happened.step
        assert step is not None
        reached = after(state, step)
        resource = next_version(found.resource, reached, at=happened.at, proof=happened.proof)
        draft = following(found, resource, spoken_by(found, happened.proof))
        written = await recording.version(happened, draft, found.patient)
        if found.row:
            row = replace(found.row, version=written.version, state=reached)
            self.rows.put(found.stored_row, row, happened.unit)
        await recording.told(happened, found, written, reached)
        await happened.use.committer.commit(happened.unit)
        return _json(written)

    def _way(self, code: str) -> Way:
        if code not in self.ways:
            raise InvalidRequest(f"This server offers these ways: {', '.join(sorted(self.ways))}.", expression="way")
        return self.ways[code]

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what work returns, begun again if another write came first, or the definitions have changed."""
        try:
            return await again(work)
        except Outdated:
            await self._services().definitions.renew(entering=True)
            return await again(work)


def spoken_by(found: Held, proof: Proof | None) -> str | None:
    """Return in whose name a version is stored (Draft.by): the only place where the server speaks for a patient (ADR 31).

    In the patient's, if they have proven themselves by something that is out of the hands of who asked. What nobody has
    proven anything for stays whose it was.
    """
    if proof is None:
        by: str | None = found.document.get("by")
        return by
    return BY_PATIENT if proof.own else None


def _json(version: Written) -> Json:
    found: Json = parse(version.body)
    return found
