"""What an institution asks a patient for, and how far that has come; read from, and written as, one R4 Consent.

The Consent of a request carries an extension of ours (ASKED) that says who asked, by which way the patient is to answer and
the state; all else stands in R4's own elements. What an institution's system writes there by itself counts for nothing: a
step is taken only on a version that this server stored (rows.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from consent_engine import vocabulary as v
from consent_engine.dates import span
from fhir_server.consenting.records import types_asked, types_written
from fhir_server.errors import Problem
from fhir_server.store.instants import instant, microseconds

ASKED = f"{v.FACADE}/StructureDefinition/authorization-request"
LOINC = "http://loinc.org"
MILLISECOND = timedelta(milliseconds=1)
# By which way the patient is to answer; each is one module of ways/.
WAYS = ("app", "sms", "message", "paper", "guardian")


class State(StrEnum):
    """How far the request of an authorization has come."""

    REQUESTED = "requested"  # asked; nothing has been sent to the patient
    VERIFYING = "verifying"  # the patient has been asked, and is to prove themselves and answer
    ACTIVE = "active"
    DECLINED = "declined"
    EXPIRED = "expired"  # not answered in time, or past the time that it was given for
    REVOKED = "revoked"


# Consent.status of each state (R4, ConsentState).
STATUS = {
    State.REQUESTED: "proposed",
    State.VERIFYING: "proposed",
    State.ACTIVE: "active",
    State.DECLINED: "rejected",
    State.EXPIRED: "inactive",
    State.REVOKED: "inactive",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What an institution asks a patient for.

    consent: id of the Consent. patient: bare id of the Patient that was named. organization: bare id of who asks, and
    would be let in. user: reference of who asks in its name. purpose: v3-ActReason code. types: resource types asked
    for; () = all (records.py). since, until: of the records (provision.dataPeriod), both included. expires: until when the
    authorization would hold. way: one of WAYS. client: through which a system asks; None for people.
    """

    consent: str
    patient: str
    organization: str
    user: str
    purpose: str
    types: tuple[str, ...]
    since: date | None
    until: date | None
    expires: datetime
    way: str
    client: str | None = None

    @property
    def question(self) -> tuple[object, ...]:
        """What is asked of which Patient: two requests of the same question are one."""
        return self.patient, self.organization, self.purpose, frozenset(self.types), self.since, self.until

    @property
    def scope(self) -> str:
        """All that a code or a signature of the patient's is bound to, as one text (ids, no names)."""
        parts = (self.purpose, ",".join(sorted(self.types)), self.since, self.until, self.expires.astimezone(UTC))
        return "\x1f".join(str(each or "") for each in (self.patient, self.organization, *parts))


@dataclass(frozen=True, slots=True)
class Proof:
    """That the patient, or who may speak for them, agreed to a request.

    type: code of the way. by: "Patient/…" or "RelatedPerson/…", who proved themselves. at: microseconds since 1970 UTC.
    evidence: reference to what was kept of it, such as a scanned form. own: what proved it is out of the hands of who asks
    (the patient's own token, a code sent to a number that the patient confirmed); else it is the word of who asks, which
    opens no more than their own records (ADR 8). digest: SM3 of the evidence (hexadecimal). witness: reference of who has
    checked it.
    """

    type: str
    by: str
    at: int
    evidence: str | None = None
    own: bool = True
    digest: str | None = None
    witness: str | None = None


class NotVerified(Problem):
    """The proof does not hold. left: how many tries are left; None where they are not counted.

    What a way has added to the unit before it raises this (one more try) is stored, with the AuditEvent, before the answer
    leaves: a guess that is not counted is never answered.
    """

    status, issue = 422, "business-rule"

    def __init__(self, reason: str, left: int | None = None) -> None:
        """reason: for the user, in Chinese, nothing personal."""
        super().__init__(reason if left is None else f"{reason}（还可尝试 {left} 次）")
        self.reason = reason
        self.left = left


def consent_of(request: Request, state: State, *, at: int, said: str | None = None) -> dict[str, Any]:
    """Return the Consent of a request that nobody has answered yet.

    at: of this version, µs since 1970 UTC. said: what who asked is told of the way (Way.ask).
    """
    start = instant(at)
    return {
        "resourceType": "Consent",
        "id": request.consent,
        "extension": [_extension(request, state, said)],
        "status": STATUS[state],
        "scope": _concept(v.CONSENT_SCOPE, "patient-privacy", "患者隐私授权"),
        "category": [_concept(LOINC, "59284-0", "患者知情同意书")],
        "patient": {"reference": f"Patient/{request.patient}"},
        "dateTime": start,
        "organization": [{"reference": f"Organization/{request.organization}"}],
        "policyRule": _concept(v.ACT_CODE, "OPTIN"),
        "verification": [{"verified": False}],
        "provision": _provision(request, start),
    }


def _provision(request: Request, start: str) -> dict[str, Any]:
    role = _concept(v.PARTICIPATION_TYPE, "IRCP", "信息接收方")
    period = {"start": request.since, "end": request.until}
    dates = {name: day.isoformat() for name, day in period.items() if day}
    return {
        "type": "permit",
        "period": {"start": start, "end": instant(microseconds(request.expires))},
        "actor": [{"role": role, "reference": {"reference": f"Organization/{request.organization}"}}],
        "action": [_concept(v.CONSENT_ACTION, "access", "查阅")],
        "purpose": [{"system": v.ACT_REASON, "code": request.purpose}],
        "class": [{"system": v.RESOURCE_TYPES, "code": each} for each in types_written(request.types)],
        **({"dataPeriod": dates} if dates else {}),
    }


def _extension(request: Request, state: State, said: str | None) -> dict[str, Any]:
    return {
        "url": ASKED,
        "extension": [
            {"url": "state", "valueCode": state.value},
            {"url": "way", "valueCode": request.way},
            {"url": "user", "valueReference": {"reference": request.user}},
            *([{"url": "client", "valueString": request.client}] if request.client else []),
            *([{"url": "said", "valueString": said}] if said else []),
        ],
    }


def _concept(system: str, code: str, text: str | None = None) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}], **({"text": text} if text else {})}


def read_request(consent: Mapping[str, Any], *, zone: tzinfo) -> Request | None:
    """Return what a Consent of consent_of asks for; None if the Consent is not one that was asked for in this way."""
    said = _said(consent)
    try:
        provision = consent["provision"]
        end = last_moment(consent, zone=zone)
        if not said or end is None:
            return None
        dates = provision.get("dataPeriod", {})
        return Request(
            consent=consent["id"],
            patient=_bare(consent["patient"]),
            organization=_bare(provision["actor"][0]["reference"]),
            user=said["user"]["reference"],
            purpose=provision["purpose"][0]["code"],
            types=types_asked(each["code"] for each in provision["class"]),
            since=_day(dates.get("start")),
            until=_day(dates.get("end")),
            expires=end,
            way=said["way"],
            client=said.get("client"),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def last_moment(consent: Mapping[str, Any], *, zone: tzinfo) -> datetime | None:
    """Return the last moment of an authorization's validity; of a day that is its last millisecond. None: it has no end."""
    written = _end(consent)
    found = span(written, zone)
    if found is None:
        return None
    return found[0] if "T" in str(written) else found[1] - MILLISECOND


def read_state(consent: Mapping[str, Any], *, at: datetime, zone: tzinfo) -> State | None:
    """Return how far a Consent has come at an instant; None if it says nothing of the kind (a draft, an error).

    A Consent that nobody asked for in our way has a state too: the patient gave it by themselves.
    """
    status, said = consent.get("status"), _said(consent).get("state")
    match status:
        case "active":
            end = span(_end(consent), zone)
            return State.EXPIRED if end and end[1] <= at else State.ACTIVE
        case "proposed":
            return State.VERIFYING if said == State.VERIFYING else State.REQUESTED
        case "rejected":
            return State.DECLINED
        case "inactive":
            return State.EXPIRED if said == State.EXPIRED else State.REVOKED
    return None


def _said(consent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of our extension by name."""
    extensions = consent.get("extension", ())
    for each in extensions if isinstance(extensions, list) else ():
        if isinstance(each, Mapping) and each.get("url") == ASKED:
            return dict(_parts(each.get("extension", ())))
    return {}


def _parts(extensions: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, Any]]:
    for each in extensions:
        values = [value for name, value in each.items() if name.startswith("value")]
        if values:
            yield str(each.get("url")), values[0]


def _end(consent: Mapping[str, Any]) -> object:
    provision = consent.get("provision")
    period = provision.get("period") if isinstance(provision, Mapping) else None
    return period.get("end") if isinstance(period, Mapping) else None


def _bare(reference: Mapping[str, Any]) -> str:
    return str(reference["reference"]).partition("/")[2]


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
