"""Who may take a step on which Consent: whoever may not is answered as if there were none.

The patient themselves; who may speak for the patient, such as a minor's guardian; and, to enter what the patient has given
them, the institution that asked.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from fhir_server.auth.requester import INSTITUTIONAL, Requester, Role
from fhir_server.consenting.asked import Request, State, read_request, read_state
from fhir_server.consenting.following import denies
from fhir_server.consenting.rows import Row, Rows
from fhir_server.consenting.speaking import speaking_now
from fhir_server.consenting.steps import CHANGED, REFUSALS, NotNow, Step
from fhir_server.errors import Absent, PreconditionFailed
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call, Services, gate_for
from fhir_server.store.instants import moment
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document, Ungated

WHY = "a step of an authorization"


@dataclass(frozen=True, slots=True)
class Held:
    """A Consent on which a step may be taken.

    request, row: None if it was not asked for in our way. begun: it is not stored yet, but in the same unit.
    """

    document: Document
    resource: Mapping[str, Any]
    request: Request | None
    row: Row | None
    begun: bool = False

    @property
    def patient(self) -> str:
        return str(self.document["pr"][0])

    @property
    def stored_row(self) -> Row | None:
        """The row that the store holds."""
        return None if self.begun else self.row

    def asked(self, at: int) -> tuple[Request, Row]:
        """Return the request that still waits for its answer. Raises NotNow if it was changed, or waits no more."""
        if self.row is None or self.request is None or self.row.version != self.document["v"]:
            raise NotNow(CHANGED)
        if not self.row.pending:
            raise NotNow(REFUSALS[self.row.state])
        if self.row.until <= at:
            raise NotNow(REFUSALS[State.EXPIRED])
        return self.request, self.row


async def by_patient(use: Services, call: Call, rows: Rows, id: str, step: Step) -> Held:
    """Return a Consent for the patient whose it is, or for who may speak for them now. Raises Absent for everybody else.

    Who speaks for a patient ends any authorization of that person. Their yes is taken for the Patient whom they were
    recorded for, since the Consent names them as performer and would not hold for another one.
    """
    if call.requester.role not in (Role.PATIENT, Role.RELATED_PERSON):
        raise Absent
    document = await use.resources.read("Consent", id, gate_for(use, call, "Consent", "u"))
    held = await _held(use, rows, document)
    if not persons_of(held.document) <= await theirs(use, call.requester):
        raise Absent
    if call.requester.role is Role.RELATED_PERSON and step in (Step.CONFIRM, Step.VERIFY):
        spoken = await speaking_now(use).patient(call.requester.user, use.clock())
        if spoken != held.patient:
            raise Absent
    return _expected(call, held)


async def theirs(use: Services, requester: Requester) -> frozenset[Hashable]:
    """Return the person keys of those whose word a requester gives: their own as a patient, or of whom they speak for."""
    own = requester.subject
    keys = await use.gatekeeper.persons.keys([own.removeprefix("Patient/")]) if own else {}
    return frozenset(keys.values()) | await use.gatekeeper.sources.spoken(requester, use.clock())


async def by_institution(use: Services, call: Call, rows: Rows, id: str) -> Held:
    """Return the Consent that the requester's institution has asked for. Raises Absent for everything else."""
    if call.requester.role not in INSTITUTIONAL:
        raise Absent
    held = await _held(use, rows, await use.resources.read("Consent", id, gate_for(use, call, "Consent", "u")))
    if held.row is None or held.document["org"] != call.requester.organization:
        raise Absent
    return _expected(call, held)


def permits(held: Held, at: int, zone: tzinfo) -> State:
    """Return how far an authorization has come that is to be ended. Raises NotNow for what is none."""
    state = read_state(held.resource, at=moment(at), zone=zone)
    if state is None or denies(held.resource):  # to end a denial would open records
        raise NotNow("这份知情同意不是一份授权，不能用撤销来终止。")
    return state


async def held(use: Services, rows: Rows, id: str) -> Held | None:
    """Return a Consent for the server's own steps; None if it is gone."""
    document = await use.resources.read("Consent", id, Ungated(WHY))
    return None if document is None else await _held(use, rows, document)


async def _held(use: Services, rows: Rows, document: Document | None) -> Held:
    if document is None or len(persons_of(document)) != 1 or not document.get("pr"):
        raise Absent
    (body,) = await use.resources.opened("Consent", [document])
    resource = parse(body)
    return Held(document, resource, read_request(resource, zone=use.zone), await rows.row(document["_id"]))


def _expected(call: Call, held: Held) -> Held:
    """Return what is held. Raises PreconditionFailed if the client has seen another version (RFC 9110, 13.1.1)."""
    if call.if_match is not None and call.if_match != str(held.document["v"]):
        raise PreconditionFailed("If-Match names another version than the current one: read the Consent again.")
    return held
