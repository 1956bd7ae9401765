"""Which search parameters read a withheld element: from the expressions of the registry (consent.md, T32)."""

from __future__ import annotations

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.redaction.affected import Effect, effect

NONE, PARTLY, WHOLLY = Effect

CASES = [
    ("Patient", "phone", "Patient.telecom", WHOLLY),
    ("Patient", "telecom", "Patient.telecom", WHOLLY),
    ("Patient", "telecom", "Patient.telecom.value", PARTLY),
    ("Patient", "telecom", "Patient.contact.telecom", NONE),
    ("Patient", "name", "Patient.name", WHOLLY),
    ("Patient", "phonetic", "Patient.name", WHOLLY),
    ("Patient", "name", "Patient.name.given", PARTLY),
    ("Patient", "given", "Patient.name.given", WHOLLY),
    ("Patient", "family", "Patient.name.given", NONE),
    ("Patient", "family", "Patient.name", WHOLLY),
    ("Patient", "death-date", "Patient.deceased", WHOLLY),
    ("Patient", "deceased", "Patient.deceased", PARTLY),  # a condition: it is decided on what is shown
    ("Patient", "birthdate", "Patient.birthDate", WHOLLY),
    ("Patient", "birthdate", "Patient.telecom", NONE),
    ("Patient", "_id", "Patient.telecom", NONE),
    ("Patient", "_lastUpdated", "Patient.telecom", NONE),
    ("Patient", "_text", "Patient.telecom", WHOLLY),
    ("Patient", "_content", "Patient.telecom", PARTLY),
    ("Patient", "unknown", "Patient.telecom", NONE),
    ("Observation", "_text", "Patient.telecom", PARTLY),
    ("Observation", "_content", "Patient.telecom", PARTLY),
    ("Observation", "subject", "Patient.telecom", NONE),
    ("Observation", "value-quantity", "Observation.value", WHOLLY),
    ("Observation", "value-quantity", "Observation.valueQuantity", WHOLLY),
    ("Observation", "combo-value-quantity", "Observation.value", PARTLY),
    ("Observation", "combo-value-quantity", "Observation.component.value", PARTLY),
    ("Observation", "component-value-quantity", "Observation.component.value", WHOLLY),
    ("Observation", "component-value-quantity", "Observation.component", WHOLLY),
    ("Observation", "code-value-quantity", "Observation.value", WHOLLY),
    ("Observation", "code-value-quantity", "Observation.code", WHOLLY),
    ("Observation", "code-value-quantity", "Observation.code.text", PARTLY),
    ("Observation", "code-value-quantity", "Observation.note", NONE),
    ("Observation", "component-code-value-quantity", "Observation.component.value", WHOLLY),
    ("Observation", "component-code-value-quantity", "Observation.value", NONE),
    ("Observation", "combo-code-value-quantity", "Observation.value", PARTLY),
    ("Observation", "date", "Observation.effective", WHOLLY),
    ("Observation", "encounter", "Observation.encounter", WHOLLY),
    ("Composition", "section", "Composition.section", WHOLLY),
    ("Composition", "entry", "Composition.section", WHOLLY),
    ("Composition", "title", "Composition.section", NONE),
]


@pytest.mark.parametrize(("type", "param", "element", "expected"), CASES)
def test_a_parameter_is_affected_as_far_as_it_reads_what_is_withheld(
    type: str, param: str, element: str, expected: Effect
) -> None:
    assert effect(registry(), type, param, element) is expected


def test_no_parameter_of_any_type_is_left_out() -> None:
    """To withhold all of a type's elements affects all of its parameters but those of meta and of the id."""
    for type in sorted(registry().types):
        for param in registry().parameters(type):
            if param in ("_id", "_lastUpdated", "_profile", "_security", "_source", "_tag", "_query"):
                continue
            found = {effect(registry(), type, param, f"{type}.{each}") for each in registry().elements(type)}
            assert found & {PARTLY, WHOLLY}, (type, param)
