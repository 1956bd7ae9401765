"""Who may take a step on which Consent: whoever may not is answered as if there were none.

The patient themselves; who may speak for the patient, such as a minor's guardian; and, to enter what the patient has given
them, the institution that asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from consent_engine.proxies import Mandate, read_proxies
from consent_engine.vocabulary import DIRECTIVES, Effect
from fhir_server.auth.requester import INSTITUTIONAL, Role
from fhir_server.consenting.asked import Request, State, read_request, read_state
from fhir_server.consenting.rows import Row, Rows
from fhir_server.consenting.steps import CHANGED, REFUSALS, NotNow
from fhir_server.errors import Absent, PreconditionFailed
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call, Services, gate_for, within_scopes
from fhir_server.store.facts import Facts
from fhir_server.store.instants import moment
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document, Ungated

WHY = "a step of an authorization"
OUT = frozenset(code for code, effect in DIRECTIVES.items() if effect is Effect.DENY)


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
    def person(self) -> int:
        return int(self.document["pat"])

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


async def by_patient(use: Services, call: Call, rows: Rows, id: str) -> Held:
    """Return a Consent for the patient whose it is, or for who may speak for them now. Raises Absent for everybody else."""
    role = call.requester.role
    if role is Role.PATIENT:
        document = await use.resources.read("Consent", id, gate_for(use, call, "Consent", "u"))
        held = await _held(use, rows, document)
        own = await use.gatekeeper.persons.keys([call.requester.user.removeprefix("Patient/")])
        if persons_of(held.document) <= set(own.values()):
            return _expected(call, held)
    if role is Role.RELATED_PERSON:
        within_scopes(call, "Consent", "u")
        held = await _held(use, rows, await use.resources.read("Consent", id, Ungated(WHY)))
        if await speaks_for(use, call.requester.user, held.resource["patient"]):
            return _expected(call, held)
    raise Absent


async def by_institution(use: Services, call: Call, rows: Rows, id: str) -> Held:
    """Return the Consent that the requester's institution has asked for. Raises Absent for everything else."""
    if call.requester.role not in INSTITUTIONAL:
        raise Absent
    held = await _held(use, rows, await use.resources.read("Consent", id, gate_for(use, call, "Consent", "u")))
    if held.row is None or held.document["org"] != call.requester.organization:
        raise Absent
    return _expected(call, held)


async def speaks_for(use: Services, user: str, patient: Mapping[str, Any]) -> bool:
    """Return whether a RelatedPerson may speak for a patient now (consent_engine/proxies.py)."""
    facts = await Facts(use.resources).now([user, str(patient.get("reference"))])
    known = {reference: fact.resource for reference, fact in facts.items()}
    proxies = read_proxies({"patient": patient, "performer": [{"reference": user}]}, use.zone, known)
    return proxies is not None and proxies.mandate(use.clock()) is Mandate.VALID


def permits(held: Held, at: int, zone: tzinfo) -> State:
    """Return how far an authorization has come that is to be ended. Raises NotNow for what is none."""
    state = read_state(held.resource, at=moment(at), zone=zone)
    policy = held.resource.get("policyRule", {}).get("coding", ())
    # To end a denial would open records.
    denies = held.resource.get("provision", {}).get("type") == "deny" or any(each.get("code") in OUT for each in policy)
    if state is None or denies:
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
