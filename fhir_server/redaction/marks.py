"""The label and the reason by which a redacted resource says that it is not the whole.

Source: FHIR R4 Security Labels, "Redacted"; StructureDefinition data-absent-reason, code `masked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
REDACTED = {"system": OBSERVATION_VALUE, "code": "REDACTED", "display": "redacted"}

DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
DATA_ABSENT_CODES = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
# What stands in place of the value of an element: an element that has a reason and no value.
MASKED: Json = {"extension": [{"url": DATA_ABSENT, "valueCode": "masked"}]}
# The same where the resource has an element of its own for the reason (Observation.dataAbsentReason).
REASON: Json = {"coding": [{"system": DATA_ABSENT_CODES, "code": "masked", "display": "Masked"}]}


def labelled(resource: Json) -> Json:
    """Return a resource that says by its label that it was redacted, without a narrative, which may repeat anything."""
    meta = resource.get("meta", {})
    said = list(meta.get("security", ()))
    if not is_redacted(resource):
        said.append(REDACTED)
    rest = {key: value for key, value in resource.items() if key != "text"}
    return {**rest, "meta": {**meta, "security": said}}


def is_redacted(resource: Mapping[str, Any]) -> bool:
    """Return whether a resource carries the label of a redacted one."""
    said = resource.get("meta", {}).get("security", ())
    return any((each.get("system"), each.get("code")) == (OBSERVATION_VALUE, "REDACTED") for each in said)
