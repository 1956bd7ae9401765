"""Two patients of one institution: p, who has something of their records withheld from Dr1, and q, who has not."""

from __future__ import annotations

from typing import Any

from consent_engine.vocabulary import OBLIGATION
from tests.consent_engine.build import ACT_CODE, ACT_REASON, LOINC, actor, coding, codings, concept, consent, permit

Json = dict[str, Any]

PHONE, WORD = "555-0100", "secretword"
MASK: Json = {
    "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]
}
LABEL = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "REDACTED",
    "display": "redacted",
}


def to(place: str) -> Json:
    return {"reference": place}


def patient(id: str, **elements: Any) -> Json:
    return {
        "resourceType": "Patient",
        "id": id,
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{PHONE} {WORD}</div>'},
        "name": [{"family": "Zhang", "given": [f"San{id}"]}],
        "telecom": [{"system": "phone", "value": PHONE}, {"system": "email", "value": f"{id}@example.org"}],
        "gender": "female",
        "birthDate": "1980-01-01" if id.startswith("p") else "1990-01-01",
        "contact": [{"name": {"text": "mother"}, "telecom": [{"system": "phone", "value": "555-0111"}]}],
        **elements,
    }


def observation(id: str, of: str, **elements: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": concept(LOINC, "1-8"),
        "subject": to(f"Patient/{of}"),
        "effectiveDateTime": "2026-01-01",
        **elements,
    }


def encounter(id: str, of: str) -> Json:
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": to(f"Patient/{of}"),
    }


def measured(value: float) -> Json:
    unit = {"unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}
    return {"valueQuantity": {"value": value, **unit}}


def obliged(id: str, of: str, *elements: str, to: str = "Practitioner/dr1", **more: Any) -> Json:
    """Return a Consent that permits somebody all records of a patient but for these elements."""
    said = permit(actor=[actor(to)], purpose=codings(ACT_REASON, "TREAT"), **more)
    if elements:
        said["extension"] = [obligation(each) for each in elements]
    who = {"id": id, "patient": {"reference": f"Patient/{of}"}, "category": [concept(LOINC, "59284-0")]}
    return {**consent(said), **who, "policyRule": {"text": "-"}}


def obligation(element: str, code: str = "REDACT") -> Json:
    said: list[Json] = [
        {"url": "obligation", "valueCoding": coding(ACT_CODE, code)},
        {"url": "element", "valueString": element},
    ]
    return {"url": OBLIGATION, "extension": said}


def composition(id: str, of: str, *sections: Json, **elements: Any) -> Json:
    return {
        "resourceType": "Composition",
        "id": id,
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{WORD}</div>'},
        "status": "final",
        "type": {"text": "summary"},
        "date": "2026-01-01",
        "title": "summary",
        "subject": to(f"Patient/{of}"),
        "author": [{"display": "Dr"}],
        "section": list(sections),
        **elements,
    }


def section(title: str, *entries: str, **elements: Any) -> Json:
    code = {"code": {"coding": [coding("urn:section", title)]}}
    return {"title": title, **code, **({"entry": [to(each) for each in entries]} if entries else {}), **elements}
