"""What every interaction is given (services, the call) and what it gives back (an answer)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from consent_engine.decision import Ground
from fhir_server.audit.basis import Basis
from fhir_server.audit.event import Happening, Touched
from fhir_server.audit.happenings import BROKEN
from fhir_server.audit.told import ToldLog
from fhir_server.auth.gate import Gatekeeper, RequestGate
from fhir_server.auth.policy import CONTEXTS
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Reach
from fhir_server.definitions.registry import Registry
from fhir_server.deliveries.held import Deliveries
from fhir_server.emergencies.emergencies import Emergencies
from fhir_server.errors import Absent, Forbidden, Problem
from fhir_server.fhir_json import dump
from fhir_server.interactions.deciding import basis_of
from fhir_server.interactions.terminology import Terminology
from fhir_server.reindexing.definitions import Definitions
from fhir_server.search.matches import Matches
from fhir_server.search.project import Projector
from fhir_server.search.sorting import SortValues
from fhir_server.settings import Settings
from fhir_server.store.commit import Committer
from fhir_server.store.conditions import Conditions
from fhir_server.store.history import History
from fhir_server.store.instants import http_date, microseconds
from fhir_server.store.past_consents import Past
from fhir_server.store.resources import Document, Resources
from fhir_server.store.writing import Writer

if TYPE_CHECKING:
    from fhir_server.consenting.life_cycle import LifeCycle


# How the log marks what needs no Consent because the law has it reported (auth/policy.py, rule 5).
REPORTED = "statutory-reporting"


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running server, joined once in wiring.py."""

    settings: Settings
    registry: Registry
    definitions: Definitions
    projector: Projector
    matches: Matches
    sort_values: SortValues
    resources: Resources
    history: History
    writer: Writer
    committer: Committer
    conditions: Conditions
    gatekeeper: Gatekeeper
    audit: ToldLog
    emergencies: Emergencies
    terminology: Terminology
    past: Past
    consenting: LifeCycle
    deliveries: Deliveries
    clock: Callable[[], datetime]
    term: Callable[[str], int]
    cursor_key: bytes
    zone: tzinfo

    def now(self) -> int:
        """Return the present instant in microseconds since 1970 UTC, whole milliseconds."""
        return microseconds(self.clock())


class Return(StrEnum):
    """What the client wants back from a write (Prefer: return=…)."""

    MINIMAL = "minimal"
    REPRESENTATION = "representation"
    OUTCOME = "OperationOutcome"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, or one entry of a batch.

    base: the server's base URL, without a slash at the end. if_match: the version number asked for, or None.
    if_none_exist: the search that a conditional create is bound to, as it came. remark: what the log is to say of the
    request beside what was done.
    """

    requester: Requester
    base: str
    lenient: bool = False
    returns: Return = Return.REPRESENTATION
    if_match: str | None = None
    if_none_match: frozenset[str] = frozenset()
    if_modified_since: datetime | None = None
    if_none_exist: str | None = None
    remark: str | None = None

    def remarked(self, happening: Happening) -> Happening:
        """Return what happened with what else the log is to say of this request."""
        if self.remark is None:
            return happening
        return replace(happening, note=" ".join(each for each in (self.remark, happening.note) if each))


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a JSON body (or none), and headers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def outcome(*issues: Mapping[str, Any]) -> bytes:
    """Return the JSON of an OperationOutcome."""
    return dump({"resourceType": "OperationOutcome", "issue": list(issues)})


def refusal(problem: Problem) -> Answer:
    """Return the answer that a problem makes; it is the same whatever hides behind it."""
    return Answer(problem.status, outcome(*problem.issues()), problem.headers)


def serves(use: Services, type: str) -> None:
    """Raise Absent unless resources of this type are served."""
    if type not in use.registry.types:
        reason = use.registry.unserved.get(type)
        raise Absent(f"The resource type is not served here: {reason}." if reason else "Unknown resource type.")


def within_scopes(call: Call, type: str, letter: str) -> None:
    """Raise Forbidden if the token's scopes, whatever the store holds, allow nothing of the kind on the type."""
    requester = call.requester
    if requester.scopes.reach(type, letter, CONTEXTS[requester.role]) is Reach.NONE:
        raise Forbidden(f"The token's scopes do not allow this interaction ({letter}) on {type}.")


def gate_for(use: Services, call: Call, type: str, letter: str, *, action: str = "access") -> RequestGate:
    """Return the request's gate, its readings begun. Raises Forbidden as within_scopes does."""
    within_scopes(call, type, letter)
    gate = use.gatekeeper.gate(call.requester, letter, action=action)
    gate.begin()
    return gate


def types_open_to(use: Services, call: Call) -> list[str]:
    """Return the types that a token's scopes allow to be searched, the log only for auditors.

    Raises Forbidden if they allow none.
    """
    requester = call.requester
    allowed = CONTEXTS[requester.role]
    found = [
        type for type in sorted(use.registry.types) if requester.scopes.reach(type, "s", allowed) is not Reach.NONE
    ]
    if not found:
        raise Forbidden("The token's scopes do not allow this interaction (s) on any type.")
    return [type for type in found if type != "AuditEvent" or requester.role is Role.AUDITOR]


def version_headers(document: Document) -> dict[str, str]:
    """Return the ETag and Last-Modified of a stored version."""
    return {"ETag": f'W/"{document["v"]}"', "Last-Modified": http_date(document["at"])}


def disclosed(
    interaction: str, type: str, documents: Sequence[Document], gate: RequestGate, *, query: str | None = None
) -> Happening:
    """Return what is to be recorded when these documents leave."""
    found, notified = list[Touched](), set[tuple[str, str]]()
    opened = False
    for each in documents:
        decision = gate.decision(type, each)
        found.append(touched(type, each, decision.grounds if decision else frozenset()))
        if gate.broke_glass(type, each, decision):
            opened = True
            notified.update((patient, each["org"]) for patient in each.get("pr", ()))
    return Happening(
        interaction,
        touched=tuple(found),
        query=query,
        note=_basis_of_access(gate, broken=bool(opened)),
        notified=frozenset(notified),
        basis=basis_of(gate, type),
        lapsed=gate.lapsed,
    )


def joined(interaction: str, parts: Iterable[Happening], *, query: str | None = None) -> Happening:
    """Return what is to be recorded when documents of several types leave in one answer."""
    found = list(parts)
    return Happening(
        interaction,
        touched=tuple(each for part in found for each in part.touched),
        query=query,
        note=next((part.note for part in found if part.note), None),
        notified=frozenset(each for part in found for each in part.notified),
        basis=_together([part.basis for part in found if part.basis]),
        lapsed=frozenset(each for part in found for each in part.lapsed),
    )


def _together(found: Sequence[Basis]) -> Basis | None:
    """Return on what the parts of one answer stood, which is the same but for the predicates of their types."""
    return replace(found[0], predicates=tuple(each for one in found for each in one.predicates)) if found else None


def touched(type: str, document: Document, grounds: frozenset[Ground] = frozenset()) -> Touched:
    """Return what is to be recorded of a stored version."""
    reference = f"{type}/{document['_id']}/_history/{document['v']}"
    # What a log says of a log is nobody else's business.
    custodian = None if type == "AuditEvent" else document["org"]
    return Touched(reference, custodian, tuple(document.get("pr", ())), grounds)


def _basis_of_access(gate: RequestGate, *, broken: bool) -> str | None:
    """Return the note of what opened records beside Consents and the own institution: an emergency, or a duty to report."""
    return BROKEN if broken else REPORTED if gate.reports else None


def decided(happening: Happening, gate: RequestGate, types: Sequence[str]) -> Happening:
    """Return what is to be recorded of an answer about types in which perhaps nothing was found."""
    if happening.basis:
        return happening
    return replace(happening, basis=basis_of(gate, *(types if len(types) == 1 else ())), lapsed=gate.lapsed)


def counted(
    gate: RequestGate, total: int, concerned: frozenset[str], query: str, opened: frozenset[tuple[str, str]]
) -> Happening:
    """Return what is to be recorded when nothing but a number leaves. A number tells of the records as well.

    opened: the Patients (id, custodian) of whose records the glass was broken to tell it.
    """
    return Happening(
        "search-type",
        concerned=concerned,
        query=query,
        note=_basis_of_access(gate, broken=bool(opened)),
        notified=opened,
        count=total,
    )
