"""Reference parameters: R4 Search, "reference"."""

from typing import Any

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Filed, PersonReference
from fhir_server.search.types.reference import widened
from tests.search.reading import BASE, MATCHES, PROJECT, ask, clause, finds


def observation(**reference: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", "subject": reference}


@pytest.mark.parametrize(
    ("query", "reference", "found"),
    [
        ("subject=Patient/1", "Patient/1", True),
        ("subject=Patient/1", "Patient/1/_history/3", True),
        ("subject=Patient/1/_history/2", "Patient/1", True),
        ("subject=1", "Patient/1", True),
        ("subject=1", "Group/1", True),
        ("subject:Patient=1", "Patient/1", True),
        ("subject:Patient=1", "Group/1", False),
        ("subject=Patient/1", "Patient/12", False),
        (f"subject={BASE}/Patient/1", "Patient/1", True),
        ("subject=Patient/1", f"{BASE}/Patient/1", True),
        ("subject=Patient/1", f"{BASE}x/Patient/1", False),
        ("subject=Patient/1", "http://other.org/Patient/1", False),
        ("subject=http://other.org/Patient/1", "http://other.org/Patient/1", True),
        ("subject=http://other.org/Patient/1", "http://other.org/Patient/1/_history/7", True),
        ("subject=1", "http://other.org/Patient/1", False),
        ("patient=1", "Patient/1", True),
        ("patient=1", "Group/1", False),
        ("subject=urn:uuid:5", "urn:uuid:5", True),
        ("subject=p", "#p", False),
        ("subject=%23p", "#p", False),
        ("subject:missing=false", "#p", True),
        ("subject=Patient/1,Group/2", "Group/2", True),
        ("subject=patient/1", "Patient/1", False),
    ],
)
def test_a_reference_is_found(query: str, reference: str, found: bool) -> None:
    assert finds(f"Observation?{query}", observation(reference=reference)) is found


def test_a_logical_reference_is_found_by_its_identifier() -> None:
    logical = observation(identifier={"system": "urn:mrn", "value": "A7"}, display="somebody")
    assert finds("Observation?subject:identifier=urn:mrn|a7", logical)
    assert finds("Observation?subject:identifier=A7", logical)
    assert not finds("Observation?subject:identifier=urn:mrn|a8", logical)
    assert not finds("Observation?subject=A7", logical)


def test_a_canonical_is_found_with_and_without_its_version() -> None:
    answers = {"resourceType": "QuestionnaireResponse", "questionnaire": "http://q.org/Questionnaire/x|2.0"}
    assert finds("QuestionnaireResponse?questionnaire=http://q.org/Questionnaire/x", answers)
    assert finds(r"QuestionnaireResponse?questionnaire=http://q.org/Questionnaire/x|2.0", answers)
    assert not finds("QuestionnaireResponse?questionnaire=http://q.org/Questionnaire/x|1.0", answers)


@pytest.mark.parametrize("query", ["subject=Patient/1", "subject=1", "patient=1", f"patient={BASE}/Patient/1"])
def test_a_patient_means_the_person(query: str) -> None:
    asked = clause(f"Observation?{query}")
    assert isinstance(asked, PersonReference)
    assert asked.references == ("Patient/1",)


@pytest.mark.parametrize("query", ["subject=Group/1", "subject:Group=1", "performer=Patient/1", "subject=urn:uuid:1"])
def test_other_references_are_literal(query: str) -> None:
    assert isinstance(clause(f"Observation?{query}"), Filed)


def test_alternatives_of_a_person_and_others_are_one_look_up() -> None:
    asked = clause("Observation?subject=Patient/1,Group/2,Patient/3")
    assert isinstance(asked, PersonReference)
    assert asked.references == ("Patient/1", "Patient/3")
    assert asked.terms == ("subject|Patient/1", "subject|Group/2", "subject|Patient/3")


def test_a_person_is_looked_up_under_further_patients() -> None:
    asked = clause("Observation?subject=Patient/1,Group/2")
    assert isinstance(asked, PersonReference)
    looked_up = widened(asked, ["Patient/1", "Patient/7"])
    assert looked_up.terms == ("subject|Patient/1", "subject|Group/2", "subject|Patient/7")
    assert MATCHES(looked_up, observation(reference="Patient/7"))


def test_references_are_given_for_includes_without_versions_and_once() -> None:
    resource = {
        "resourceType": "Observation",
        "performer": [
            {"reference": "Practitioner/1/_history/2"},
            {"reference": f"{BASE}/Practitioner/1"},
            {"reference": "#x"},
            {"reference": "http://other.org/Practitioner/9"},
            {"display": "nobody"},
        ],
    }
    assert PROJECT.references("Observation", "performer", resource) == ["Practitioner/1"]
    assert PROJECT.references("Observation", "subject", resource) == []


def test_a_type_that_contradicts_the_value_is_refused() -> None:
    with pytest.raises(InvalidSearchValue):
        ask("Observation?subject:Patient=Group/1")
    with pytest.raises(UnsupportedParameter):
        ask("Observation?subject:Practitioner=1")
