"""Small builders and the code systems of the demo data."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ATC = "http://www.whocc.no/atc"
UCUM = "http://unitsofmeasure.org"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"


def hl7(system: str, code: str, display: str | None = None) -> Json:
    """Return a Coding of one of HL7's own code systems."""
    return {"system": _TERMINOLOGY + system, "code": code, **({"display": display} if display else {})}


def concept(*codings: Json, text: str | None = None) -> Json:
    """Return a CodeableConcept."""
    return {**({"coding": list(codings)} if codings else {}), **({"text": text} if text else {})}


def coded(system: str, code: str, text: str) -> Json:
    """Return a CodeableConcept of one code with its Chinese name."""
    return concept({"system": system, "code": code}, text=text)


def reference(type: str, id: str, display: str | None = None) -> Json:
    """Return a literal Reference."""
    return {"reference": f"{type}/{id}", **({"display": display} if display else {})}


RESTRICTED = hl7("v3-Confidentiality", "R", "restricted")
HIV = hl7("v3-ActCode", "HIV", "HIV/AIDS information sensitivity")
PSY = hl7("v3-ActCode", "PSY", "psychiatry disorder information sensitivity")
