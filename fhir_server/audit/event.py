"""Building AuditEvents.

Source: FHIR R4 AuditEvent; IHE Basic Audit Log Patterns (BALP) 1.1, "RESTful activity" patterns: the requesting user is
the agent with requestor = true, the client and the server are agents with their network, the query is kept base64-encoded,
the patient is an entity of role 1. Of a search the query is the one entity of type 2, "System Object"; what it found has its
resource type instead.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from consent_engine.decision import Ground
from consent_engine.vocabulary import FACADE
from fhir_server.audit.basis import Basis, decision
from fhir_server.audit.security import codings, machines
from fhir_server.auth.requester import Requester
from fhir_server.store.instants import instant

REST = {
    "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "code": "rest",
    "display": "Restful Operation",
}
INTERACTIONS = "http://hl7.org/fhir/restful-interaction"
PURPOSES = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ENTITY_ROLES = "http://terminology.hl7.org/CodeSystem/object-role"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ROLE_CLASSES = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
ROLES = f"{FACADE}/CodeSystem/role"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
# AuditEvent.agent.network.type
IP_ADDRESS, URI = "2", "5"
SERVER = "fhir-facade"
# Roles of entities: what was shown, changed or asked for; the Consents whose provisions decided.
RESOURCE_ROLE, CONSENT_ROLE = "4", "12"
# Stands for the path of a Consent that decided as a whole.
WHOLE = "Consent"

# As many provisions that decided as an event can be found by, and as many sets of them as are kept ready.
NAMED_GROUNDS = 8
KNOWN_GROUNDS = 10_000
KNOWN_AGENTS = 1_000

ACTIONS = {
    "create": "C",
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "history-type": "R",
    "history-system": "R",
    "update": "U",
    "patch": "U",
    "delete": "D",
    "purge": "D",
    "consent-requested": "C",
    "consent-verified": "U",
    "consent-active": "U",
    "consent-declined": "U",
    "consent-expired": "U",
    "consent-revoked": "U",
    "transfer": "R",
    "transfer-in": "C",
    "log-expiry": "D",
    "search-type": "E",
    "batch": "E",
    "transaction": "E",
    "capabilities": "R",
}


class Outcome(Enum):
    """Whether it was done. Codes of AuditEvent.outcome."""

    DONE = "0"
    REFUSED = "4"
    FAILED = "8"


class Touched(NamedTuple):
    """A resource that was disclosed, changed or asked for.

    reference: with its version, if it was found. custodian: the institution it belongs to, None if that is not to be told.
    patients: ids of the Patients whose record it is. grounds: the Consent provisions that decided.
    """

    reference: str
    custodian: str | None = None
    patients: tuple[str, ...] = ()
    grounds: frozenset[Ground] = frozenset()


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened.

    concerned: further institutions whose records it is about. query: the search as asked. notified: the Patients (id,
    custodian) whose records were opened by breaking the glass. withheld: it says more than the requester was told, so
    their own institution's auditors do not see it. basis: on what the decision stood, if one was made. count: how many
    results the requester was told of, if they are not those touched. lapsed: the Consents (id, version) that were met whose
    giver may no longer speak for the patient.
    """

    interaction: str
    outcome: Outcome = Outcome.DONE
    status: int = 200
    touched: tuple[Touched, ...] = ()
    concerned: frozenset[str] = frozenset()
    query: str | None = None
    note: str | None = None
    notified: frozenset[tuple[str, str]] = frozenset()
    withheld: bool = False
    basis: Basis | None = None
    count: int | None = None
    lapsed: frozenset[tuple[str, str]] = frozenset()

    def shares(self, own: str) -> Iterator[tuple[str, Happening]]:
        """Yield what the auditors of each institution are to know of it; own: the requester's institution.

        Those of the requester's know what the requester was told, those of another what concerns their records: an
        institution's log must not tell which records another one holds.
        """
        if not self.withheld:
            yield own, self
        others = {each.custodian for each in self.touched if each.custodian} | self.concerned
        for other in sorted(others - {own}):
            theirs = tuple(each for each in self.touched if each.custodian == other)
            yield other, replace(self, touched=theirs, query=None, count=None)


def audit_event(
    happening: Happening,
    requester: Requester | None,
    *,
    id: str,
    at: int,
    own: bool = True,
    address: str = "",
) -> dict[str, Any]:
    """Return the AuditEvent resource of what happened.

    at: microseconds since 1970 UTC. own: it is for the auditors of the requester's institution. address: where the request
    came from, "" if from nowhere.
    """
    when = instant(at)
    before, behind = _of_kind(
        happening.interaction, happening.outcome, happening.status, happening.note, requester, address
    )
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": id,
        "meta": {"versionId": "1", "lastUpdated": when},
        **before,
        "recorded": when,
        **behind,
    }
    entities = list(_entities(happening))
    if happening.basis and requester:
        count = len(happening.touched) if happening.count is None else happening.count
        shown = 0 if happening.outcome is not Outcome.DONE else count
        entities.append(decision(happening.basis, requester, event=id, count=shown, own=own))
    if entities:
        event["entity"] = entities
    return event


@lru_cache(KNOWN_AGENTS)
def _of_kind(
    interaction: str, outcome: Outcome, status: int, note: str | None, requester: Requester | None, address: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the elements that events of a kind share, before and behind `recorded`; the same objects for the same."""
    before = {**codings(interaction, REST, INTERACTIONS), "action": ACTIONS.get(interaction, "E")}
    behind: dict[str, Any] = {"outcome": outcome.value}
    if outcome is not Outcome.DONE or note:
        behind["outcomeDesc"] = " ".join(part for part in (f"HTTP {status}", note) if part)
    if requester:
        behind["purposeOfEvent"] = [{"coding": [{"system": PURPOSES, "code": requester.purpose}]}]
    behind["agent"] = _agents(requester, interaction, address)
    behind["source"] = {"observer": {"display": SERVER}, "type": [_coding("security-source-type", "4")]}
    return before, behind


def _agents(requester: Requester | None, interaction: str, address: str) -> list[dict[str, Any]]:
    """Return the agents: the user, the institution, the client and the server."""
    client, server = machines(interaction)
    agents = list(_people(requester))
    if address or (requester and requester.client):
        who = {"identifier": {"value": requester.client}} if requester and requester.client else {"display": "unknown"}
        network = {"network": {"address": address, "type": IP_ADDRESS}} if address else {}
        agents.append({"type": {"coding": [client]}, "who": who, "requestor": False, **network})
    agents.append(
        {"type": {"coding": [server]}, "who": {"display": SERVER}, "requestor": False, "network": {"type": URI}}
    )
    return agents


def _people(requester: Requester | None) -> Iterable[dict[str, Any]]:
    if requester is None:
        yield {"who": {"display": "unknown"}, "requestor": True}
        return
    user: dict[str, Any] = {
        "type": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]},
        "role": [{"coding": [{"system": ROLES, "code": str(requester.role)}], "text": str(requester.role)}],
        "who": {"reference": requester.user},
        "altId": requester.token,
        "requestor": True,
    }
    if not requester.token:
        del user["altId"]
    if requester.reason:
        user["purposeOfUse"] = [{"coding": [{"system": PURPOSES, "code": requester.purpose}], "text": requester.reason}]
    yield user
    yield {
        "type": {"coding": [{"system": ROLE_CLASSES, "code": "PROV"}]},
        "who": {"reference": f"Organization/{requester.organization}"},
        "requestor": False,
    }


def _entities(happening: Happening) -> Iterable[dict[str, Any]]:
    found = happening.query is not None
    for each in happening.touched:
        type = each.reference.partition("/")[0]
        yield {
            "what": {"reference": each.reference},
            "type": {"system": RESOURCE_TYPES, "code": type} if found else OBJECT,
            "role": RESOURCE,
        }
    for patient in sorted({patient for each in happening.touched for patient in each.patients}):
        yield {
            "what": {"reference": f"Patient/{patient}"},
            "type": PERSON,
            "role": PATIENT,
        }
    if happening.query is not None:
        encoded = base64.b64encode(happening.query.encode()).decode()
        yield {"type": OBJECT, "role": QUERY, "query": encoded}
    yield from _grounds(_joint({each.grounds for each in happening.touched}))


def _joint(several: set[frozenset[Ground]]) -> frozenset[Ground]:
    """Return the grounds of all; most often those of all records are the same."""
    return several.pop() if len(several) == 1 else frozenset().union(*several)


@lru_cache(KNOWN_GROUNDS)
def _grounds(grounds: frozenset[Ground]) -> tuple[dict[str, Any], ...]:
    """Return the entities of the provisions that decided.

    The first have one each, by which an event is found; where there are very many, as where a patient gave hundreds of
    Consents that permit the same, the others are listed in one.
    """
    found = sorted(grounds, key=lambda each: (each.consent, each.version, each.path))
    entities = [
        {
            "what": {"reference": f"Consent/{ground.consent}/_history/{ground.version}"},
            "type": {"system": RESOURCE_TYPES, "code": "Consent"},
            "role": _role(CONSENT_ROLE),
            "detail": [{"type": "provision", "valueString": ground.path or WHOLE}],
        }
        for ground in found[:NAMED_GROUNDS]
    ]
    if others := found[NAMED_GROUNDS:]:
        lines = (f"Consent/{each.consent}/_history/{each.version}#{each.path or WHOLE}" for each in others)
        entities.append({**OTHERS, "detail": [{"type": "provisions", "valueString": "\n".join(lines)}]})
    return tuple(entities)


def _coding(system: str, code: str) -> dict[str, Any]:
    return {"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}


def _role(code: str) -> dict[str, Any]:
    return {"system": ENTITY_ROLES, "code": code}


# What lists the provisions that decided beside those that are named.
OTHERS = {"type": {"system": RESOURCE_TYPES, "code": "Consent"}, "role": _role(CONSENT_ROLE)}
# What the entities of most events hold.
OBJECT, PERSON = _coding("audit-entity-type", "2"), _coding("audit-entity-type", "1")
RESOURCE, PATIENT, QUERY = _role(RESOURCE_ROLE), _role("1"), _role("24")
