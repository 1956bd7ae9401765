"""Short ways to write Consents, requests and records in tests."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from consent_engine.consent import NO_FACTS, Consent, read_consent
from consent_engine.dates import microseconds, span
from consent_engine.groups import Facts
from consent_engine.predicate import Attribute, Record
from consent_engine.reasons import Reason
from consent_engine.rules import AccessRequest, Compiled, rules_for
from consent_engine.vocabulary import canonical_label

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
TYPES = "http://hl7.org/fhir/resource-types"
LOINC = "http://loinc.org"
OBLIGATION = "https://fhir-facade.example.org/fhir/StructureDefinition/consent-obligation"

T0 = datetime(2026, 6, 15, 12, tzinfo=UTC)
R, N = (CONFIDENTIALITY, "R"), (CONFIDENTIALITY, "N")
HIV, PSY = (ACT_CODE, "HIV"), (ACT_CODE, "PSY")

Json = dict[str, Any]


def coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


def codings(system: str, *codes: str) -> list[Json]:
    return [coding(system, code) for code in codes]


def concept(system: str, *codes: str) -> Json:
    return {"coding": codings(system, *codes)}


def actor(reference: str, role: str = "PRCP", system: str = PARTICIPATION) -> Json:
    return {"role": concept(system, role), "reference": {"reference": reference}}


def labels(*named: tuple[str, str]) -> list[Json]:
    return [coding(*each) for each in named]


def obligation(action: str, element: str) -> Json:
    """The extension of a provision that obliges who shows a record."""
    parts = [
        {"url": "obligation", "valueCoding": coding(ACT_CODE, action)},
        {"url": "element", "valueString": element},
    ]
    return {"url": OBLIGATION, "extension": parts}


def consent(provision: Json | None = None, **elements: Any) -> Json:
    """A Consent that takes part, with this root provision."""
    base = {"resourceType": "Consent", "status": "active", "scope": concept(SCOPE, "patient-privacy")}
    return {**base, **({} if provision is None else {"provision": provision}), **elements}


def permit(**elements: Any) -> Json:
    return {"type": "permit", **elements}


def deny(**elements: Any) -> Json:
    return {"type": "deny", **elements}


def read(json: Json, *, id: str = "c", authority: str | None = None, facts: Facts = NO_FACTS) -> Consent:
    return read_consent(json, id=id, version="1", zone=UTC, authority=authority, facts=facts)


def unreadable(said: Consent) -> tuple[str, ...]:
    """Return what the engine could not understand of a Consent, as "path: element: reason".

    Of an element that it does not know, there is no reason.
    """
    return tuple(
        f"{path}: {element}" + ("" if reason is Reason.UNKNOWN_ELEMENT else f": {reason}")
        for path, (element, reason) in said.doubts
    )


def ask(*actors: str, purpose: str = "TREAT", action: str = "access", delegate: bool = False) -> AccessRequest:
    return AccessRequest(frozenset(actors), purpose, action, delegate)


def compiled(json: Json, request: AccessRequest, at: datetime = T0, **how: Any) -> Compiled:
    return rules_for(read(json, **how), request, at)


def record(
    id: str = "Observation/1",
    *,
    labels: Iterable[tuple[str, str]] = (),
    codes: Iterable[str] = (),
    profiles: Iterable[str] = (),
    authors: Iterable[str] = (),
    refers: Iterable[str] = (),
    custodian: str = "Org9",
    date: str = "2026-05-01",
    persons: Iterable[str] = ("p1",),
) -> Record:
    """A record as the server would describe it."""
    covered = span(date, UTC)
    assert covered
    canonical = frozenset(filter(None, (canonical_label(*label) for label in labels)))
    return Record(
        {
            Attribute.TYPE: frozenset({id.split("/")[0]}),
            Attribute.ID: frozenset({id}),
            Attribute.CUSTODIAN: frozenset({custodian}),
            Attribute.LABEL: canonical,
            Attribute.CODE: frozenset(codes),
            Attribute.PROFILE: frozenset(profiles),
            Attribute.AUTHOR: frozenset(authors),
            Attribute.REFERS: frozenset(refers),
        },
        frozenset(persons),
        microseconds(covered[0]),
        microseconds(covered[1]) - 1,
    )
