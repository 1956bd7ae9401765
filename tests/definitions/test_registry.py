"""The tables as the server reads them, against what the R4 pages say."""

import dataclasses
import subprocess
import sys

import pytest

from fhir_server.definitions.registry import Component, registry

R4 = registry()


def test_the_types_served_are_those_that_r4b_left_alone():
    assert len(R4.types) == 123
    assert {"Patient", "Observation", "Consent", "AuditEvent", "Bundle", "Binary"} <= R4.types
    assert not {"Resource", "DomainResource", "MetadataResource", "Parameters"} & R4.types
    assert not R4.types & R4.unserved.keys()
    assert len(R4.types | R4.unserved.keys()) == 146  # all concrete types of R4
    assert R4.unserved["MedicinalProduct"] == "gone in R4B"
    assert R4.unserved["ActivityDefinition"] == "differs in R4B: ActivityDefinition.subject[x]"


@pytest.mark.parametrize("type", sorted(R4.types))
def test_every_type_has_the_parameters_of_every_resource_and_no_full_text(type):
    codes = R4.parameters(type).keys()
    assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= codes
    assert not {"_text", "_content", "_query"} & codes
    assert all(code == parameter.code for code, parameter in R4.parameters(type).items())


def test_an_expression_shared_by_many_bases_is_cut_down_to_one():
    assert R4.parameters("Condition")["code"].expression == "Condition.code"
    assert R4.parameters("MedicationRequest")["code"].expression == "(MedicationRequest.medication as CodeableConcept)"
    assert (
        R4.parameters("AllergyIntolerance")["code"].expression
        == "AllergyIntolerance.code | AllergyIntolerance.reaction.substance"
    )


def test_a_component_has_the_type_of_the_definition_it_refers_to():
    assert R4.parameters("Observation")["code-value-quantity"].components == (
        Component("code", "token", "code"),
        Component("value-quantity", "quantity", "value.as(Quantity)"),
    )


@pytest.mark.parametrize(
    ("type", "code", "targets"),
    [
        ("Observation", "patient", ("Patient",)),  # R4 lists Group as well, which the expression leaves out
        ("AllergyIntolerance", "patient", ("Patient",)),  # the element admits patients only
        ("DeviceUseStatement", "patient", ("Group", "Patient")),
        ("Observation", "subject", ("Device", "Group", "Location", "Patient")),
        ("Patient", "gender", ()),
    ],
)
def test_targets_are_what_the_expression_can_lead_to(type, code, targets):
    assert R4.parameters(type)[code].targets == targets


def test_targets_are_served_types():
    assert all(set(p.targets) <= R4.types for type in R4.types for p in R4.parameters(type).values())
    assert set(R4.parameters("Provenance")["target"].targets) == R4.types


@pytest.mark.parametrize(
    ("code", "size"), [("Patient", 66), ("Encounter", 24), ("Practitioner", 58), ("RelatedPerson", 31), ("Device", 32)]
)
def test_compartments_name_served_types_and_known_parameters(code, size):
    compartment = R4.compartment(code)
    assert len(compartment) == size
    for type, parameters in compartment.items():
        assert type in R4.types
        for name in parameters:
            assert code in R4.parameters(type)[name].targets, (type, name)


def test_the_patient_compartment_is_that_of_the_standard():
    assert R4.compartment("Patient")["Observation"] == ("subject", "performer")
    assert R4.compartment("Patient")["Appointment"] == ("actor",)
    assert R4.compartment("Patient")["Patient"] == ("link",)
    assert "Organization" not in R4.compartment("Patient")
    assert not R4.compartment("Organization")


def test_elements_say_types_number_and_where_their_children_stand():
    value = R4.elements("Observation.component")["value"]
    assert value.choice
    assert ("valueQuantity", "Quantity") in value.json_names()
    assert ("valueDateTime", "dateTime") in value.json_names()
    assert R4.elements("Patient")["name"].many
    assert R4.elements("Patient")["name"].json_names() == (("name", "HumanName"),)
    assert not R4.elements("Patient")["birthDate"].many
    assert R4.elements("Patient")["contact"].path == "Patient.contact"
    assert R4.elements("Questionnaire.item")["item"].path == "Questionnaire.item"
    assert R4.elements("Observation.component")["referenceRange"].path == "Observation.referenceRange"


def test_inherited_elements_are_listed_with_each_type():
    assert R4.elements("Patient")["id"].types == ("id",)
    assert {"meta", "text", "contained", "extension", "modifierExtension"} <= R4.elements("Patient").keys()
    assert {"id", "extension", "modifierExtension"} <= R4.elements("Patient.contact").keys()
    assert {"value", "unit", "extension"} <= R4.elements("Age").keys()
    assert "text" not in R4.elements("Bundle")
    assert not R4.elements("string")


def test_every_child_path_and_complex_type_is_listed():
    paths = [type for type in R4.types]
    seen = set(paths)
    while paths:
        for element in R4.elements(paths.pop()).values():
            for type in element.types:
                path = element.path if type in ("BackboneElement", "Element") else type
                if path[0].isupper() and path not in seen:
                    assert R4.elements(path), path
                    seen.add(path)
                    paths.append(path)
    assert len(seen) > 500


def test_a_code_has_a_system_only_if_its_required_value_set_draws_from_one():
    assert R4.elements("Patient")["gender"].system == "http://hl7.org/fhir/administrative-gender"
    assert R4.elements("Observation")["status"].system == "http://hl7.org/fhir/observation-status"
    assert R4.elements("Patient")["language"].system is None  # preferred, not required
    assert R4.elements("Quantity")["code"].system is None  # no binding


def test_the_definitions_cannot_be_changed():
    with pytest.raises(TypeError):
        R4.parameters("Patient")["x"] = R4.parameters("Patient")["name"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        R4.types = frozenset()
    assert registry() is R4


def test_reading_the_tables_takes_a_moment_only():
    """In processor time: what else the machine does, this test run's other workers included, is not the tables'."""
    code = (
        "import time; start = time.process_time()\n"
        "from fhir_server.definitions.registry import registry; registry()\n"
        "print(time.process_time() - start)"
    )
    took = min(float(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout) for _ in range(3))
    assert took < 0.15
