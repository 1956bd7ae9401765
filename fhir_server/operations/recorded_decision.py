"""What an AuditEvent says of a decision, read back (fhir_server/audit): who asked, under what, for which records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consent_engine.decision import Ground
from consent_engine.vocabulary import Mode
from fhir_server.audit.basis import EMERGENCY, NOT_TOLD, PATIENT, bound, details_of
from fhir_server.audit.event import CONSENT_ROLE, RESOURCE_ROLE, WHOLE, Outcome
from fhir_server.audit.filing import NAMED
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Scopes

# The SMART permission by which each interaction is judged; the others are no decisions on what may be seen.
LETTERS = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "operation": "r",
    "search-type": "s",
    "search-system": "s",
    "search-compartment": "s",
    "history-type": "s",
    "history-system": "s",
}

DENIALS = frozenset({"403", "404", "410"})  # HTTP statuses


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was recorded.

    at: the instant of the decision; written: that of the record. permitted: the records were shown. resources: type, id and
    version, which is None where nothing was shown. patient_told: whether it is told which patient was in context.
    memberships: as they are told: "Type/id", or a digest that is bound to the event.
    """

    event: str
    interaction: str
    letter: str
    at: datetime
    written: datetime
    permitted: bool
    requester: Requester
    memberships: frozenset[str]
    mode: Mode
    implicit: str
    resources: tuple[tuple[str, str, int | None], ...]
    grounds: frozenset[Ground]
    patient_told: bool = True

    def belongs_to(self, named: Iterable[str]) -> frozenset[str]:
        """Return those of the groups, teams and institutions that are named to which the requester belonged."""
        return frozenset(each for each in named if {each, bound(each, self.event)} & self.memberships)


def recorded_decision(event: Mapping[str, Any]) -> Recorded | None:
    """Return the decision that an event tells of; None if it tells of none that can be made again."""
    said, interaction = details_of(event), event["subtype"][0]["code"]
    permitted = event["outcome"] == Outcome.DONE.value
    if said is None or interaction not in LETTERS or not (permitted or _denied(event)):
        return None
    patient = _one(said, PATIENT)
    return Recorded(
        event=event["id"],
        interaction=interaction,
        letter=LETTERS[interaction] if permitted else "r",
        at=datetime.fromisoformat(said["at"][0]),
        written=datetime.fromisoformat(event["recorded"]),
        permitted=permitted,
        requester=_requester(event, said, None if patient == NOT_TOLD else patient),
        memberships=frozenset(said.get("membership", ())),
        mode=Mode(said["mode"][0]),
        implicit=said["implicit policy"][0],
        resources=tuple(_resources(event)),
        grounds=frozenset(_grounds(event)),
        patient_told=patient != NOT_TOLD,
    )


def _denied(event: Mapping[str, Any]) -> bool:
    """Return whether something was refused because it was not to be seen; not, say, because it could not be read."""
    return event["outcome"] == Outcome.REFUSED.value and event["outcomeDesc"].split()[1] in DENIALS


def _requester(event: Mapping[str, Any], said: Mapping[str, tuple[str, ...]], patient: str | None) -> Requester:
    user, institution, *_ = event["agent"]
    return Requester(
        role=Role(user["role"][0]["text"]),
        user=user["who"]["reference"],
        organization=institution["who"]["reference"].removeprefix("Organization/"),
        purpose=event["purposeOfEvent"][0]["coding"][0]["code"],
        scopes=Scopes.parse(_one(said, "scope") or ""),
        patient=patient,
        department=_one(said, "department"),
        practitioner_role=_one(said, "practitionerRole"),
        # One that did not count is as none.
        reason=None if EMERGENCY in said else next((each["text"] for each in user.get("purposeOfUse", ())), None),
        client=_one(said, "client"),
    )


def _resources(event: Mapping[str, Any]) -> Iterator[tuple[str, str, int | None]]:
    """Yield what the event names; what cannot be the id of anything was never there.

    Of what was shown the version is named; a Patient without one was asked for in a search, and not found.
    """
    done = event["outcome"] == Outcome.DONE.value
    for each in _of_role(event, RESOURCE_ROLE):
        if named := NAMED.fullmatch(each["what"]["reference"]):
            type, id, version = named.groups()
            if version or not done:
                yield type, id, int(version) if version else None


def _grounds(event: Mapping[str, Any]) -> Iterator[Ground]:
    for each in _of_role(event, CONSENT_ROLE):
        (detail,) = each["detail"]
        if "what" in each:
            yield _ground(each["what"]["reference"], detail["valueString"])
        else:
            yield from (_ground(*line.split("#")) for line in detail["valueString"].split("\n"))


def _ground(reference: str, path: str) -> Ground:
    _, id, _, version = reference.split("/")
    return Ground(id, version, "" if path == WHOLE else path)


def _of_role(event: Mapping[str, Any], role: str) -> Iterator[Mapping[str, Any]]:
    return (each for each in event.get("entity", ()) if each["role"]["code"] == role)


def _one(said: Mapping[str, tuple[str, ...]], name: str) -> str | None:
    return next(iter(said.get(name, ())), None)
