"""Structure: what R4 allows passes, what it does not is refused, with the place and without the value."""

import copy
import gzip
import json
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidResource
from fhir_server.fhir_json import parse
from fhir_server.validation.shapes import is_resource, shape
from fhir_server.validation.structure import check
from tests.shared import SHARED, examples

EXAMPLES = SHARED / "data" / "examples-r4"
# Examples of the specification that break its own rules.
FLAWED = {
    ("Questionnaire", "qs1"): "required",  # items without linkId
    ("SearchParameter", "questionnaireresponse-extensions-QuestionnaireResponse-item-subject"): "value",  # id too long
    **{
        ("SearchParameter", f"{type.lower()}-extensions-{type}-{name}"): "required"  # no base
        for type, names in {
            "CodeSystem": ["author", "effective", "end", "keyword", "workflow"],
            "ValueSet": ["author", "effective", "end", "keyword", "workflow"],
        }.items()
        for name in names
    },
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"text": "张三", "family": "张", "given": ["三"]}],
    "gender": "male",
    "birthDate": "1980-02-29",
}
ABSENT = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


def findings(resource: Any) -> list[tuple[str, str | None, str]]:
    """What `check` finds."""
    try:
        check(resource, served=registry().types)
    except InvalidResource as problem:
        return problem.found
    return []


def found(resource: Any) -> list[tuple[str, str | None]]:
    """What `check` finds, without the words."""
    return [(code, where) for code, where, _ in findings(resource)]


@pytest.mark.parametrize("type", sorted(registry().types & {p.name.partition(".")[0] for p in EXAMPLES.glob("*.gz")}))
def test_the_examples_of_r4_fit(type: str) -> None:
    for resource in examples(type):
        said = found(resource)
        if code := FLAWED.get((type, resource["id"])):
            assert said
            assert {c for c, _ in said} == {code}
        else:
            assert said == [], resource["id"]


@pytest.mark.parametrize("path", sorted((SHARED / "data" / "tw-core-examples").glob("*.gz")), ids=lambda p: p.name)
def test_the_taiwan_examples_fit(path: Any) -> None:
    for line in gzip.decompress(path.read_bytes()).splitlines():
        assert found(parse(line)) == []


def test_synthea_fits() -> None:
    paths = sorted((SHARED / "data" / "synthea").glob("*.gz"))[::77]
    entries = [entry for path in paths for entry in parse(gzip.decompress(path.read_bytes()))["entry"]]
    assert len(entries) > 1_000
    for entry in entries:
        assert found(entry["resource"]) == []


def test_the_names_known_are_those_of_the_json_schema_of_r4() -> None:
    schema = json.loads(gzip.decompress((SHARED / "data/definitions/fhir.schema.json.gz").read_bytes()))["definitions"]
    data_types = {"Extension", "HumanName", "Quantity", "Dosage", "Timing", "Meta", "Identifier", "ElementDefinition"}
    for name in registry().types | data_types:
        theirs = schema[name]["properties"].keys()
        ours = shape(name).rules.keys()
        assert {key for key in ours if key[0] != "_"} == {key for key in theirs if key[0] != "_"}, name
        # The schema forgets the extensions of canonicals, and gives them to Extension.url and Narrative.div.
        assert {key for key in theirs if key[0] == "_"} - ours <= {"_url", "_div"}, name


def test_the_codes_known_are_those_of_the_json_schema_of_r4() -> None:
    schema = json.loads(gzip.decompress((SHARED / "data/definitions/fhir.schema.json.gz").read_bytes()))["definitions"]
    compared = 0
    for name in registry().types:
        for key, rule in shape(name).rules.items():
            listed = schema[name]["properties"].get(key, {})
            if codes := listed.get("enum") or listed.get("items", {}).get("enum"):
                compared += 1
                assert rule.codes == frozenset(codes), f"{name}.{key}"
    assert compared > 80


BAD: list[tuple[Any, str, str | None]] = [
    (None, "structure", None),
    ([], "structure", None),
    ("Patient", "structure", None),
    ({}, "required", None),
    ({"resourceType": 3}, "required", None),
    ({"resourceType": "Nonsense"}, "not-supported", None),
    ({"resourceType": "HumanName"}, "not-supported", None),
    ({"resourceType": "DomainResource"}, "not-supported", None),
    ({**PATIENT, "foo": 1}, "structure", "Patient.foo"),
    ({**PATIENT, "resource_type": "Patient"}, "structure", "Patient"),
    ({**PATIENT, "active__ext": {"id": "x"}}, "structure", "Patient"),
    ({**PATIENT, "fhir_comments": "x"}, "structure", "Patient"),
    ({**PATIENT, "张三": "x"}, "structure", "Patient"),
    ({**PATIENT, "id": "a b"}, "value", "Patient.id"),
    ({**PATIENT, "id": "x" * 65}, "value", "Patient.id"),
    ({**PATIENT, "id": ""}, "value", "Patient.id"),
    ({**PATIENT, "id": "a\n"}, "value", "Patient.id"),
    ({**PATIENT, "id": "１"}, "value", "Patient.id"),
    ({**PATIENT, "active": "yes"}, "value", "Patient.active"),
    ({**PATIENT, "active": 1}, "value", "Patient.active"),
    ({**PATIENT, "active": None}, "structure", "Patient.active"),
    ({**PATIENT, "active": [True]}, "structure", "Patient.active"),
    ({**PATIENT, "gender": "foo"}, "code-invalid", "Patient.gender"),
    ({**PATIENT, "gender": ""}, "value", "Patient.gender"),
    ({**PATIENT, "birthDate": "2020-13-45"}, "value", "Patient.birthDate"),
    ({**PATIENT, "birthDate": "2021-02-29"}, "value", "Patient.birthDate"),
    ({**PATIENT, "birthDate": "2020-01-01T00:00:00Z"}, "value", "Patient.birthDate"),
    ({**PATIENT, "birthDate": 20200101}, "value", "Patient.birthDate"),
    ({**PATIENT, "deceasedDateTime": "2020-01-01T10:00:00"}, "value", "Patient.deceased.ofType(dateTime)"),
    ({**PATIENT, "deceasedDateTime": "2020-02-30T10:00:00Z"}, "value", "Patient.deceased.ofType(dateTime)"),
    ({**PATIENT, "deceasedBoolean": True, "deceasedDateTime": "2020"}, "structure", "Patient.deceased"),
    ({**PATIENT, "multipleBirthInteger": "5"}, "value", "Patient.multipleBirth.ofType(integer)"),
    ({**PATIENT, "multipleBirthInteger": 1.0}, "value", "Patient.multipleBirth.ofType(integer)"),
    ({**PATIENT, "multipleBirthInteger": True}, "value", "Patient.multipleBirth.ofType(integer)"),
    ({**PATIENT, "multipleBirthInteger": 2**31}, "value", "Patient.multipleBirth.ofType(integer)"),
    ({**PATIENT, "name": []}, "structure", "Patient.name"),
    ({**PATIENT, "name": [{}]}, "structure", "Patient.name[0]"),
    ({**PATIENT, "name": {"family": "x"}}, "structure", "Patient.name"),
    ({**PATIENT, "name": ["x"]}, "structure", "Patient.name[0]"),
    ({**PATIENT, "name": [None]}, "structure", "Patient.name[0]"),
    ({**PATIENT, "name": [{"family": "x"}, {"family": " "}]}, "value", "Patient.name[1].family"),
    ({**PATIENT, "name": [{"family": "a\x00"}]}, "value", "Patient.name[0].family"),
    ({**PATIENT, "name": [{"given": ["a", 3]}]}, "value", "Patient.name[0].given[1]"),
    ({**PATIENT, "name": [{"given": ["a", None]}]}, "structure", "Patient.name[0].given[1]"),
    ({**PATIENT, "name": [{"given": [None], "_given": [None]}]}, "structure", "Patient.name[0].given[0]"),
    ({**PATIENT, "_birthDate": {}}, "structure", "Patient.birthDate"),
    ({**PATIENT, "_birthDate": {"foo": 1}}, "structure", "Patient.birthDate.foo"),
    ({**PATIENT, "_name": [{"id": "x"}]}, "structure", "Patient._name"),
    ({"resourceType": "Patient", "_gender": {"id": "x"}}, "required", "Patient.gender"),
    ({**PATIENT, "managingOrganization": {"reference": 3}}, "value", "Patient.managingOrganization.reference"),
    ({**PATIENT, "managingOrganization": "Organization/1"}, "structure", "Patient.managingOrganization"),
    ({**PATIENT, "link": [{"type": "refer"}]}, "required", "Patient.link[0].other"),
    ({**PATIENT, "photo": [{"data": "!!!"}]}, "value", "Patient.photo[0].data"),
    ({**PATIENT, "photo": [{"size": -1}]}, "value", "Patient.photo[0].size"),
    ({**PATIENT, "meta": {"lastUpdated": "2020"}}, "value", "Patient.meta.lastUpdated"),
    ({**PATIENT, "implicitRules": "not a uri"}, "value", "Patient.implicitRules"),
    ({**PATIENT, "extension": [{"valueString": "x"}]}, "required", "Patient.extension[0].url"),
    ({**PATIENT, "extension": [{"url": "u:x"}]}, "invariant", "Patient.extension[0]"),
    (
        {**PATIENT, "extension": [{"url": "u:x", "valueCodeableReference": {"concept": {"text": "x"}}}]},
        "structure",
        "Patient.extension[0].valueCodeableReference",
    ),
    (
        {**PATIENT, "extension": [{"url": "u:x", "valueRatioRange": {"lowNumerator": {"value": 1}}}]},
        "structure",
        "Patient.extension[0].valueRatioRange",
    ),
    ({**PATIENT, "contained": [{"resourceType": "Foo"}]}, "structure", "Patient.contained[0]"),
    ({**PATIENT, "contained": [{"resourceType": "Meta"}]}, "structure", "Patient.contained[0]"),
    ({**PATIENT, "contained": [{"id": "x"}]}, "structure", "Patient.contained[0]"),
    # Types that are not served: as R4 has them, not as R4B does.
    ({**PATIENT, "contained": [{"resourceType": "Citation", "id": "x"}]}, "structure", "Patient.contained[0]"),
    ({**PATIENT, "contained": [{"resourceType": "Evidence", "foo": 1}]}, "structure", "Patient.contained[0].foo"),
    (
        {**PATIENT, "contained": [{"resourceType": "PlanDefinition", "action": [{"prefix": 1}]}]},
        "value",
        "Patient.contained[0].action[0].prefix",
    ),
    (
        {**PATIENT, "contained": [{"resourceType": "ActivityDefinition", "subjectCanonical": "http://x"}]},
        "structure",
        "Patient.contained[0].subjectCanonical",
    ),
    (
        {**PATIENT, "contained": [{"resourceType": "PlanDefinition", "status": "x"}]},
        "code-invalid",
        "Patient.contained[0].status",
    ),
    ({**PATIENT, "contained": [{**PATIENT, "contained": [PATIENT]}]}, "invariant", "Patient.contained[0].contained"),
    (
        {**PATIENT, "contained": [{**PATIENT, "meta": {"security": [{"code": "R"}]}}]},
        "invariant",
        "Patient.contained[0].meta",
    ),
    ({"resourceType": "Observation", "code": {"text": "x"}}, "required", "Observation.status"),
    ({"resourceType": "Observation", "status": "final"}, "required", "Observation.code"),
    ({**OBSERVATION, "status": "+"}, "code-invalid", "Observation.status"),
    ({**OBSERVATION, "valueString": "x", "valueInteger": 1}, "structure", "Observation.value"),
    ({**OBSERVATION, "valueQuantity": {"value": "1.0"}}, "value", "Observation.value.ofType(Quantity).value"),
    ({**OBSERVATION, "valueAddress": {"text": "x"}}, "structure", "Observation.valueAddress"),
    ({**OBSERVATION, "effectiveInstant": "2020-01-01"}, "value", "Observation.effective.ofType(instant)"),
]


@pytest.mark.parametrize(("resource", "code", "where"), BAD)
def test_what_does_not_fit_is_refused_with_its_place(resource: Any, code: str, where: str | None) -> None:
    assert (code, where) in found(resource)


@pytest.mark.parametrize(
    "resource",
    [
        PATIENT,
        {
            **PATIENT,
            "name": [{"given": [None, "b"], "_given": [{"extension": [{"url": "u:x", "valueString": "y"}]}, None]}],
        },
        {"resourceType": "Patient", "_gender": {"extension": [ABSENT]}},
        {**PATIENT, "_birthDate": {"id": "x"}},
        {**PATIENT, "birthDate": "1980"},
        {**PATIENT, "contained": [{"resourceType": "MedicinalProductPharmaceutical", "id": "x"}]},
        {
            **PATIENT,
            "contained": [
                {
                    "resourceType": "PlanDefinition",
                    "name": "x",
                    "_name": {"id": "n"},
                    "action": [{"action": [{"textEquivalent": "x"}], "timingAge": {"value": 1}}],
                }
            ],
        },
        {**PATIENT, "deceasedDateTime": "2020-06-30T23:59:60.000+08:00"},
        {**PATIENT, "contained": [{"resourceType": "Organization", "id": "o", "name": "医院\u3000内科"}]},
        {**OBSERVATION, "valueQuantity": parse(b'{"value": 1.50}')},
        {**OBSERVATION, "valueQuantity": {"value": 1, "unit": "mmol/L"}},
        {
            "resourceType": "Observation",
            "code": {"text": "x"},
            "_status": {"extension": [{"url": "u:x", "valueCode": "y"}]},
        },
    ],
)
def test_what_r4_allows_passes_and_stays_as_it_was(resource: dict[str, Any]) -> None:
    before = copy.deepcopy(resource)
    assert found(resource) == []
    assert resource == before


def test_the_value_is_never_quoted() -> None:
    secret = "张秘密 13800138000"
    with pytest.raises(InvalidResource) as refused:
        check(
            {
                **PATIENT,
                "gender": secret,
                "birthDate": secret,
                "id": secret,
                secret: 1,
                "active": secret,
                "name": secret,
            },
            served=registry().types,
        )
    assert len(refused.value.found) == 6
    assert secret not in repr(refused.value.issues())


def test_findings_and_depth_are_bounded() -> None:
    assert len(found({**PATIENT, "name": [{}] * 10_000})) == 51
    deep: dict[str, Any] = {"linkId": "1", "type": "group"}
    for _ in range(300):
        deep = {"linkId": "1", "type": "group", "item": [deep]}
    assert [code for code, _ in found({"resourceType": "Questionnaire", "status": "draft", "item": [deep]})] == [
        "too-costly"
    ]


def test_what_the_models_refuse_is_refused() -> None:
    """The models of fhir.resources as an independent check: each example with one value exchanged."""
    odd = ["", "x y", 7, -1.5, True, {"foo": 1}, ["x"], "2020-13-01"]
    refused = 0
    for type in ("Patient", "Observation", "Consent", "Encounter", "MedicationRequest"):
        model = get_fhir_model_class(type)
        for resource in list(examples(type))[:6]:
            for name in [n for n in resource if n != "resourceType"]:
                for value in odd:
                    changed = {**resource, name: value}
                    try:
                        model.model_validate(changed)
                    except (ValidationError, KeyError):
                        refused += 1
                        assert found(changed), (type, resource["id"], name, value)
    assert refused > 1000


def test_only_concrete_resources_are_resources() -> None:
    names = ["Patient", "Bundle", "Resource", "DomainResource", "Meta", "String", "", "a b", None, "../x"]
    assert [name for name in names if is_resource(name)] == ["Patient", "Bundle"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("2020-02-30")
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["extension", "contained", "resourceType", "meta", "url", "value", "x"]), inner
        )
    ),
    max_leaves=8,
)
NAMES = sorted(shape("Patient").rules.keys() | shape("Observation").rules.keys())


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4), st.sampled_from(["Patient", "Observation"]))
def test_nothing_but_a_finding_comes_of_any_content(content: dict[str, Any], type: str) -> None:
    before = copy.deepcopy(content)
    for code, where, text in findings({**content, "resourceType": type}):
        assert code
        assert where
        assert where.startswith(type)
        assert text.endswith(".")
    assert repr(content) == repr(before)
