"""The compiled extractors against fhirpathpy on every published example, and the rules of their own."""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from fhir_server.definitions.registry import registry
from fhir_server.search.expressions.compiled import CodeValue, compile_all, compile_expression
from fhir_server.search.expressions.routes import UnknownElement
from fhir_server.search.expressions.syntax import NotSupported
from tests.shared import SHARED, examples

R4 = registry()
CASTS = re.compile(r"\((\S+) as (?!uri)(\w+)\)|\.as\((\w+)\)")
RESOLVES = re.compile(r"resolve\(\) is (\w+)")


@cache
def compiled(expression: str) -> Callable[[Any, Any], list[Any]]:
    return fhirpathpy.compile(expression, models["r4"], {"returnRawData": True})


def by_fhirpathpy(base: str, expression: str, node: Any, resource: Any) -> list[Any]:
    """Return what fhirpathpy finds, with what it does not know rewritten.

    It has no abstract bases and no resolve() (the reference's own text stands for it). Its `as` fails on more than
    one value, by the letter of FHIRPath, where search needs ofType(); but its ofType() leaves out derived types, so
    `as uri`, which takes a canonical too, stays. R4 writes DateTime for dateTime.
    """
    expression = re.sub(r"^Resource\b", base, expression)
    expression = CASTS.sub(lambda m: f"{m[1] or ''}.ofType({m[2] or m[3]})".replace("DateTime", "dateTime"), expression)
    expression = RESOLVES.sub(r"(reference.startsWith('\1/') or reference.contains('/\1/') or type = '\1')", expression)
    start = node if node is resource else ResourceNode.create_node(node, base)
    nodes = compiled(expression)(start, {"resource": resource})
    return [value for node in nodes if (value := getattr(node, "data", node)) is not None]


def as_set(values: list[Any]) -> set[str]:
    """FHIRPath's union drops repeats, and its order is not defined: so neither counts."""
    return {json.dumps(value, sort_keys=True) for value in values}


def has_examples(type: str) -> bool:
    return (SHARED / "data" / "examples-r4" / f"{type}.ndjson.gz").exists()


@pytest.mark.parametrize("type", sorted(filter(has_examples, R4.types)))
def test_every_parameter_finds_on_every_example_what_fhirpathpy_finds(type):
    extract = {code: compile_expression(R4, type, p.expression) for code, p in R4.parameters(type).items()}
    for resource in examples(type):
        for code, parameter in R4.parameters(type).items():
            expected = by_fhirpathpy(type, parameter.expression, resource, resource)
            found = [value for _, value in extract[code](resource)]
            assert as_set(found) == as_set(expected), (code, parameter.expression, resource["id"])


@pytest.mark.parametrize("type", sorted(filter(has_examples, R4.types)))
def test_all_parameters_in_one_walk_find_what_each_finds_alone(type):
    extract = {c: compile_expression(R4, type, p.expression) for c, p in R4.parameters(type).items()}
    together = compile_all(R4, type)
    for resource in examples(type):
        alone = {c: found for c, e in extract.items() if (found := e(resource)) and not is_composite(type, c)}
        assert together(resource) == alone


def is_composite(type: str, code: str) -> bool:
    return R4.parameters(type)[code].type == "composite"


# Many types have composites of their contexts of use, which hardly any published example states.
CONTEXTS = [
    {"code": {"system": "urn:s", "code": "age"}, "valueQuantity": {"value": 3, "unit": "a"}},
    {"code": {"system": "urn:s", "code": "focus"}, "valueCodeableConcept": {"coding": [{"code": "c"}], "text": "t"}},
    {"code": {"system": "urn:s", "code": "range"}, "valueRange": {"low": {"value": 1}}},
]
COMPOSITES = [(type, c) for type in sorted(R4.types) for c in R4.parameters(type) if is_composite(type, c)]


@pytest.mark.parametrize(("type", "code"), COMPOSITES)
def test_components_find_what_fhirpathpy_finds_from_the_composites_element(type, code):
    parameter = R4.parameters(type)[code]
    elements = compile_expression(R4, type, parameter.expression)
    compared = 0
    for resource in [*(examples(type) if has_examples(type) else ()), {"resourceType": type, "useContext": CONTEXTS}]:
        for base, node in elements(resource):
            for part in parameter.components:
                found = compile_expression(R4, base, part.expression, resource=type)(node, resource)
                expected = by_fhirpathpy(base, part.expression, node, resource)
                assert as_set([value for _, value in found]) == as_set(expected), (part, node)
                compared += bool(expected)
    assert compared


def test_every_parameter_of_r4_is_compiled_and_none_left_to_fhirpathpy():
    left = [
        (type, code)
        for type in R4.types
        for code, parameter in R4.parameters(type).items()
        if not compile_expression(R4, type, parameter.expression).compiled
    ]
    assert left == []


def found(base: str, expression: str, node: dict[str, Any]) -> list[tuple[str, Any]]:
    return compile_expression(R4, base, expression)(node)


@pytest.mark.parametrize(
    ("base", "expression", "node", "expected"),
    [
        ("Patient", "Patient.deceased", {"deceasedDateTime": "2020"}, [("dateTime", "2020")]),
        ("Patient", "Patient.deceased", {"deceasedBoolean": False}, [("boolean", False)]),
        ("Patient", "(Patient.deceased as dateTime)", {"deceasedBoolean": True}, []),
        ("Observation", "Observation.value.as(DateTime)", {"valueDateTime": "2020"}, [("dateTime", "2020")]),
        (
            "Observation",
            "(Observation.value as CodeableConcept).text",
            {"valueCodeableConcept": {"text": "a"}},
            "string",
        ),
        ("Condition", "Condition.onset.as(Age)", {"onsetAge": {"value": 3}}, [("Quantity", {"value": 3})]),
        ("ConceptMap", "(ConceptMap.source as uri)", {"sourceCanonical": "urn:x"}, [("canonical", "urn:x")]),
        ("Observation", "Observation.component", {"component": [{"valueInteger": 1}]}, "Observation.component"),
        ("Observation.component", "value", {"valueInteger": 1}, [("integer", 1)]),
        ("Timing", "repeat", {"repeat": {"count": 2}}, [("Timing.repeat", {"count": 2})]),
        ("Questionnaire", "Questionnaire.item.item.text", {"item": [{"item": [{"text": "a"}]}]}, "string"),
        ("Bundle", "Bundle.entry[0].resource", {"entry": [{"resource": {"resourceType": "List"}}, {}]}, "List"),
        ("Bundle", "(Bundle.entry.resource as List).code", {"entry": [{"resource": {"resourceType": "Flag"}}]}, []),
        ("Patient", "Patient.extension('urn:a').value", {"extension": [{"url": "urn:a", "valueCode": "x"}]}, "code"),
        ("Patient", "Patient.extension('urn:a').value", {"extension": [{"url": "urn:b", "valueCode": "x"}]}, []),
        ("InsurancePlan", "name | alias", {"alias": ["b", None, "c"]}, [("string", "b"), ("string", "c")]),
    ],
)
def test_values_come_with_their_concrete_type(base, expression, node, expected):
    if isinstance(expected, str):
        assert [type for type, _ in found(base, expression, node)] == [expected]
    else:
        assert found(base, expression, node) == expected


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020"}, True),
    ],
)
def test_deceased_is_true_or_false_and_never_absent(patient, expected):
    expression = R4.parameters("Patient")["deceased"].expression
    assert found("Patient", expression, patient) == [("boolean", expected)]
    assert compile_all(R4, "Patient")(patient)["deceased"] == [("boolean", expected)]


@pytest.mark.parametrize(
    ("subject", "is_patient"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Patient/1/_history/2"}, True),
        ({"reference": "https://example.org/fhir/Patient/1"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "Group/Patient"}, False),
        ({"reference": "Group/1", "type": "Patient"}, False),  # the literal reference counts, not its label
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}, False),
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "type": "Patient"}, True),
        ({"reference": "#p", "type": "http://hl7.org/fhir/StructureDefinition/Patient"}, True),
        ({"identifier": {"value": "1"}, "type": "Patient"}, True),
        ({"identifier": {"value": "1"}}, False),
        ({"reference": "/"}, False),
        ({"reference": 7, "type": 8}, False),
        ("Patient/1", True),
    ],
)
def test_what_a_reference_resolves_to_is_decided_on_its_own_text(subject, is_patient):
    pairs = found("Condition", "Condition.subject.where(resolve() is Patient)", {"subject": subject})
    assert pairs == ([("Reference", subject)] if is_patient else [])


def test_a_code_knows_the_system_of_its_required_binding():
    [(type, code)] = found("Patient", "Patient.gender", {"gender": "male"})
    assert (type, code) == ("code", "male")
    assert isinstance(code, CodeValue)
    assert code.system == "http://hl7.org/fhir/administrative-gender"
    [(_, language)] = found("Patient", "Patient.language", {"language": "zh"})
    assert language.system is None


def test_values_come_in_the_order_of_the_json():
    node = {"name": [{"given": ["a", "b"], "family": "c"}, {"family": "d", "given": ["e"]}]}
    assert [value for _, value in found("Patient", "Patient.name.family | Patient.name.given", node)] == [*"abcde"]


@pytest.mark.parametrize(
    "node",
    [
        {"name": None},
        {"name": "a"},
        {"name": [None, 3, "a", [], {"given": None}, {"given": [None]}]},
        {"_name": [{"given": ["a"]}]},
        {"name": {"_given": [{"extension": []}]}},
    ],
)
def test_nulls_siblings_of_primitives_and_broken_shapes_give_nothing(node):
    assert found("Patient", "Patient.name.given", node) == []


def test_the_json_paths_of_an_expression_are_known():
    assert compile_expression(R4, "Condition", "Condition.onset.as(Age) | Condition.onset.as(Range)").paths == (
        ("onsetAge",),
        ("onsetRange",),
    )
    assert compile_expression(R4, "Observation", "Observation.component.code").paths == (("component", "code"),)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("Patient.nome", UnknownElement),
        ("Observation.code", UnknownElement),
        ("Patient.name.as(Quantity)", UnknownElement),
        ("Patient.name.", NotSupported),
        ("Patient.name[", NotSupported),
        ("Patient.name.nosuch()", NotSupported),
        ("Patient.name; drop", NotSupported),
        ("", NotSupported),
    ],
)
def test_an_expression_that_could_never_find_anything_is_refused(expression, error):
    with pytest.raises(error):
        compile_expression(R4, "Patient", expression)


def test_what_the_compiler_does_not_take_is_evaluated_by_fhirpathpy():
    patient = {"resourceType": "Patient", "name": [{"given": ["Ann"]}, {"given": ["Bo"]}]}
    second = compile_expression(R4, "Patient", "Patient.name.skip(1).given")
    assert not second.compiled
    assert second(patient) == [("string", "Bo")]
    assert found("Patient", "Patient.name.count() > 1", patient) == [("boolean", True)]
    assert found("Patient", "Patient.name.given.upper()", patient) == []  # wants one value, and there are two
    assert found("Patient", "Patient.name.given[1]", patient) == [("string", "Bo")]  # the second of all given names
