"""What a record looks like of which elements are withheld: said a second time, element by element, from the standard.

Sources: FHIR R4 StructureDefinition data-absent-reason, code masked; FHIR R4 Security Labels, "Redacted"; ADR 23.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    "Condition.code": (("code",), {"code": REASON}),
    "Condition.onset": (("onsetDateTime",), {"_onsetDateTime": REASON}),
    "Encounter.class": (("class",), {"class": REASON}),
    "Encounter.period": (("period",), {"period": REASON}),
    "MedicationRequest.medication": (("medicationCodeableConcept",), {"medicationCodeableConcept": REASON}),
    "Appointment.start": (("start",), {"_start": REASON}),
    "Appointment.participant": (("participant",), {"participant": [REASON]}),
    "List.entry": (("entry",), {"entry": [REASON]}),
    "Composition.author": (("author",), {"author": [REASON]}),
    "Composition.section": (("section",), {"section": [REASON]}),
    "Consent.provision": (("provision",), {"provision": REASON}),
    "Group.member": (("member",), {"member": [REASON]}),
}


def masked(resource: Json, elements: Iterable[str]) -> Json:
    """Return a resource of which these elements are withheld."""
    found = dict(resource)
    for gone, instead in (ELEMENTS[each] for each in sorted(elements)):
        found = {name: value for name, value in found.items() if name not in gone} | instead
    meta = resource.get("meta", {})
    return {**found, "meta": {**meta, "security": [*meta.get("security", ()), REDACTED]}}
