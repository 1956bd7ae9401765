"""What a record looks like of which elements are withheld: said a second time, element by element, from the standard.

Sources: FHIR R4 StructureDefinition data-absent-reason, code masked; FHIR R4 Security Labels, "Redacted"; ADR 23.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

Json = dict[str, Any]

REASON: Json = {
    "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]
}
CONCEPT: Json = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "masked",
            "display": "Masked",
        }
    ]
}
REDACTED: Json = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "REDACTED",
    "display": "redacted",
}

# By element: the properties under which it stands, and what stands there instead.
ELEMENTS: Mapping[str, tuple[tuple[str, ...], Json]] = {
    "Patient.birthDate": (("birthDate",), {"_birthDate": REASON}),
    "Patient.gender": (("gender",), {"_gender": REASON}),
    "Patient.name": (("name",), {"name": [REASON]}),
    "Patient.identifier": (("identifier",), {"identifier": [REASON]}),
    "Patient.generalPractitioner": (("generalPractitioner",), {"generalPractitioner": [REASON]}),
    "Patient.link": (("link",), {"link": [REASON]}),
    "Observation.value": (("valueQuantity",), {"dataAbsentReason": CONCEPT}),
    "Observation.code": (("code",), {"code": REASON}),
    "Observation.subject": (("subject",), {"subject": REASON}),
    "Observation.performer": (("performer",), {"performer": [REASON]}),
    "Observation.encounter": (("encounter",), {"encounter": REASON}),
    "Observation.effective": (("effectiveDateTime", "effectivePeriod"), {"_effectiveDateTime": REASON}),
    "Condition.subject": (("subject",), {"subject": REASON}),
    "Condition.encounter": (("encounter",), {"encounter": REASON}),
    "Condition.code": (("code",), {"code": REASON}),
    "Condition.onset": (("onsetDateTime",), {"_onsetDateTime": REASON}),
    "Encounter.subject": (("subject",), {"subject": REASON}),
    "Encounter.class": (("class",), {"class": REASON}),
    "Encounter.period": (("period",), {"period": REASON}),
    "MedicationRequest.subject": (("subject",), {"subject": REASON}),
    "MedicationRequest.medication": (
        ("medicationCodeableConcept", "medicationReference"),
        {"medicationCodeableConcept": REASON},
    ),
    "Appointment.start": (("start",), {"_start": REASON}),
    "Appointment.participant": (("participant",), {"participant": [REASON]}),
    "Medication.code": (("code",), {"code": REASON}),
    "List.entry": (("entry",), {"entry": [REASON]}),
    "Composition.encounter": (("encounter",), {"encounter": REASON}),
    "Composition.author": (("author",), {"author": [REASON]}),
    "Composition.section": (("section",), {"section": [REASON]}),
    "Consent.provision": (("provision",), {"provision": REASON}),
    "Group.member": (("member",), {"member": [REASON]}),
}


def masked(resource: Json, elements: Collection[str]) -> Json:
    """Return a resource of which these elements are withheld, and in what it contains: with neither, the same object."""
    found = _without(resource, elements)
    contained = [_without(each, elements) for each in resource.get("contained", ())]
    if any(new is not old for new, old in zip(contained, resource.get("contained", ()), strict=True)):
        found = {**found, "contained": contained}
    if found is resource:
        return resource
    lost = _named(resource) - _named(found)
    if "contained" in found:
        kept = [each for each in found.pop("contained") if each["id"] not in lost]
        found |= {"contained": kept} if kept else {}
    meta = resource.get("meta", {})
    rest = {name: value for name, value in found.items() if name != "text"}
    return {**rest, "meta": {**meta, "security": [*meta.get("security", ()), REDACTED]}}


def _named(resource: Json) -> set[str]:
    """Return the ids of those contained to which the resource itself refers."""
    outer = json.dumps({name: value for name, value in resource.items() if name != "contained"})
    return {each["id"] for each in resource.get("contained", ()) if f'"#{each["id"]}"' in outer}


def _without(resource: Json, elements: Collection[str]) -> Json:
    """Return a resource without those of the elements that its type has, and without the words about it."""
    own = sorted(each for each in elements if each.partition(".")[0] == resource["resourceType"])
    if not own:
        return resource
    found = {name: value for name, value in resource.items() if name != "text"}
    for gone, instead in (ELEMENTS[each] for each in own):
        found = {name: value for name, value in found.items() if name not in gone} | instead
    return found
