"""Which SearchParameter resources can be put in force, and what they mean; row by row."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidResource
from fhir_server.reindexing.parameters import custom_parameters

R4 = registry()
ETHNIC = "Patient.extension.where(url='urn:ethnic').value"


def resource(**said: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "id": "sp", "url": "urn:sp", "name": "Ethnic", "status": "active",
        "description": "x", "code": "ethnic", "base": ["Patient"], "type": "token", "expression": ETHNIC, **said,
    }  # fmt: skip


def test_there_is_one_parameter_for_each_base_with_its_part_of_the_expression() -> None:
    both = resource(
        base=["Patient", "Practitioner"],
        expression="Patient.birthDate | Practitioner.birthDate",
        type="date",
        code="born",
    )
    patient, practitioner = custom_parameters(both, R4)
    assert (patient.base, patient.expression) == ("Patient", "Patient.birthDate")
    assert (practitioner.base, practitioner.expression) == ("Practitioner", "Practitioner.birthDate")
    assert {patient.type, practitioner.type} == {"date"}


def test_a_reference_leads_to_the_targets_it_names_or_to_all() -> None:
    said = {"type": "reference", "expression": "Patient.link.other"}
    (named,) = custom_parameters(resource(**said, target=["Patient"]), R4)
    (any_of_them,) = custom_parameters(resource(**said), R4)
    assert named.targets == ("Patient",)
    assert any_of_them.targets == tuple(sorted(R4.types))


def test_a_composite_has_the_types_of_the_parameters_that_it_is_made_of() -> None:
    parts = [
        {"definition": "http://hl7.org/fhir/SearchParameter/clinical-code", "expression": "code"},
        {"definition": "http://hl7.org/fhir/SearchParameter/Observation-value-date", "expression": "value"},
    ]
    (made,) = custom_parameters(
        resource(base=["Observation"], type="composite", code="c-d", expression="Observation", component=parts), R4
    )
    assert [(each.code, each.type) for each in made.components] == [("code", "token"), ("value-date", "date")]


@pytest.mark.parametrize(
    ("said", "where", "why"),
    [
        ({"code": "a.b"}, "code", "a letter followed by"),
        ({"code": "_tag2"}, "code", "a letter followed by"),
        ({"code": "$where"}, "code", "a letter followed by"),
        ({"code": "gender"}, "code", "another search parameter of Patient"),
        ({"base": ["AuditEvent"]}, "base", "names AuditEvent"),
        ({"base": ["Resource"]}, "base", "names Resource"),
        ({"base": ["Nothing"]}, "base", "names Nothing"),
        ({"expression": None}, "expression", "is missing"),
        ({"expression": "Observation.code"}, "expression", "says nothing of Patient"),
        ({"expression": "Patient.birthPlace"}, "expression", "cannot be evaluated on Patient"),
        ({"expression": "Patient.name.("}, "expression", "cannot be evaluated on Patient"),
        ({"expression": "Patient.name.telepathy()"}, "expression", "cannot be evaluated on Patient"),
        ({"type": "special"}, "type", "its type is special"),
        ({"type": "composite"}, "component", "is missing"),
        ({"type": "composite", "component": [{"definition": "urn:nothing", "expression": "code"}]}, "component[0].definition",
         "names no search parameter"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_with_the_reason(said: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        custom_parameters(resource(**said), R4)
    found = {(place, why in text) for _, place, text in refused.value.found}
    assert (f"SearchParameter.{where}", True) in found
