"""FHIR R4 "FHIRPath Patch" beyond its published cases: choices, primitives with extensions, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidRequest, Problem, Unprocessable
from fhir_server.fhir_json import dump, parse
from fhir_server.patching.fhirpath_patch import patched

Json = dict[str, Any]
NAMES = ("name", "path", "type")


def parameters(*operations: Json) -> Json:
    """Return a patch of these operations: a text is a valueString, a number a valueInteger, an object the part itself."""

    def part(name: str, value: Any) -> Json:
        if isinstance(value, dict):
            return {"name": name, **value}
        if isinstance(value, int):
            return {"name": name, "valueInteger": value}
        return {"name": name, "valueCode" if name == "type" else "valueString": value}

    given = [{"name": "operation", "part": [part(*each) for each in operation.items()]} for operation in operations]
    return {"resourceType": "Parameters", "parameter": given}


def change(type: str, path: str, **parts: Any) -> Json:
    return {"type": type, "path": path, **parts}


PATIENT: Json = {
    "resourceType": "Patient",
    "name": [{"use": "official", "family": "A", "given": ["x", "y"]}, {"use": "usual", "given": ["z"]}],
    "birthDate": "1970",
    "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1970-01-01T10:00:00Z"}]},
    "deceasedBoolean": False,
    "contact": [{"name": {"text": "C"}}],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "generalPractitioner": [{"reference": "#o"}],
}
TIME = {"url": "urn:time", "valueDateTime": "1970-01-01T10:00:00Z"}

# (what, operation, the members that are then so; None: gone)
GOOD: list[tuple[str, Json, Json]] = [
    ("a choice is added with its type", change("add", "Patient", name="multipleBirth", value={"valueInteger": 2}),
     {"multipleBirthInteger": 2}),
    ("a choice may be called with [x]", change("add", "Patient", name="multipleBirth[x]", value={"valueBoolean": True}),
     {"multipleBirthBoolean": True}),
    ("a choice may be called with its type",
     change("add", "Patient", name="multipleBirthInteger", value={"valueInteger": 2}), {"multipleBirthInteger": 2}),
    ("a choice is replaced by another type",
     change("replace", "Patient.deceased", value={"valueDateTime": "2020"}),
     {"deceasedBoolean": None, "deceasedDateTime": "2020"}),
    ("a choice is deleted by its bare name", change("delete", "Patient.deceased"), {"deceasedBoolean": None}),
    ("a choice of the type asked for is deleted", change("delete", "Patient.deceased.ofType(boolean)"),
     {"deceasedBoolean": None}),
    ("a choice of another type is not there", change("delete", "Patient.deceased.ofType(dateTime)"), {}),
    ("what is not there is deleted already", change("delete", "Patient.gender"), {}),
    ("a path need not begin with the type", change("delete", "deceased"), {"deceasedBoolean": None}),
    ("a criterion", change("replace", "Patient.name.where(use = 'usual').given[0]", value={"valueString": "w"}),
     {"name": [PATIENT["name"][0], {"use": "usual", "given": ["w"]}]}),
    ("several criteria", change("delete", "Patient.name.where(use = 'official' and family.exists()).family"),
     {"name": [{"use": "official", "given": ["x", "y"]}, PATIENT["name"][1]]}),
    ("first and last", change("delete", "Patient.name.last().given.first()"),
     {"name": [PATIENT["name"][0], {"use": "usual"}]}),
    ("a primitive goes with its extensions", change("delete", "Patient.birthDate"),
     {"birthDate": None, "_birthDate": None}),
    ("a primitive is replaced with its extensions",
     change("replace", "Patient.birthDate", value={"valueDate": "1971", "_valueDate": {"id": "b"}}),
     {"birthDate": "1971", "_birthDate": {"id": "b"}}),
    ("an extension of a primitive is deleted", change("delete", "Patient.birthDate.extension('urn:time')"),
     {"_birthDate": None}),
    ("an extension is added to a primitive",
     change("add", "Patient.name[0].given[1]", name="extension",
            value={"part": [{"name": "url", "valueUri": "urn:x"}, {"name": "value", "valueString": "v"}]}),
     {"name": [{**PATIENT["name"][0], "_given": [None, {"extension": [{"url": "urn:x", "valueString": "v"}]}]},
               PATIENT["name"][1]]}),
    ("parts within parts",
     change("add", "Patient", name="contact", value={"part": [
         {"name": "name", "part": [{"name": "given", "valueString": "a"}, {"name": "given", "valueString": "b"}]},
         {"name": "gender", "valueCode": "male"}]}),
     {"contact": [{"name": {"text": "C"}}, {"name": {"given": ["a", "b"]}, "gender": "male"}]}),
    ("what a deletion leaves empty goes too", change("delete", "Patient.contact[0].name.text"), {"contact": None}),
    ("an insert into a list that is not there",
     change("insert", "Patient.telecom", index=0, value={"valueContactPoint": {"value": "1"}}),
     {"telecom": [{"value": "1"}]}),
    ("an element of a contained resource",
     change("replace", "Patient.contained[0].name", value={"valueString": "P"}),
     {"contained": [{"resourceType": "Organization", "id": "o", "name": "P"}]}),
    ("a contained resource",
     change("add", "Patient", name="contained", value={"resource": {"resourceType": "Basic", "id": "b"}}),
     {"contained": [PATIENT["contained"][0], {"resourceType": "Basic", "id": "b"}]}),
]  # fmt: skip

BAD: list[tuple[str, Any, type[Problem]]] = [
    ("no operation", {"name": "other"}, InvalidRequest),
    ("an unknown type", change("merge", "Patient.gender"), InvalidRequest),
    ("no path", {"type": "delete"}, InvalidRequest),
    ("a part too many", change("delete", "Patient.gender", name="x"), InvalidRequest),
    ("a part too few", change("add", "Patient", name="gender"), InvalidRequest),
    ("an index that is no number", change("insert", "Patient.name", index="1", value={"valueHumanName": {}}),
     InvalidRequest),
    ("two values", change("add", "Patient", name="gender", value={"valueCode": "male", "valueString": "x"}),
     InvalidRequest),
    ("a path that is none", change("delete", "Patient.name["), InvalidRequest),
    ("a path that computes", change("delete", "Patient.name.exists()"), InvalidRequest),
    ("a path that leaves the resource", change("delete", "Patient.generalPractitioner.resolve().name"), InvalidRequest),
    ("several to delete", change("delete", "Patient.name"), Unprocessable),
    ("several to replace", change("replace", "Patient.name.given", value={"valueString": "x"}), Unprocessable),
    ("nothing to replace", change("replace", "Patient.gender", value={"valueCode": "male"}), Unprocessable),
    ("the resource itself", change("delete", "Patient"), Unprocessable),
    ("the resource itself replaced", change("replace", "Patient", value={"valueString": "x"}), Unprocessable),
    ("an element that R4 does not have", change("add", "Patient", name="colour", value={"valueString": "x"}),
     Unprocessable),
    ("an element of another type of resource", change("add", "Observation", name="status", value={"valueCode": "final"}),
     Unprocessable),
    ("one that is there", change("add", "Patient", name="birthDate", value={"valueDate": "1971"}), Unprocessable),
    ("a choice that is there", change("add", "Patient", name="deceased", value={"valueDateTime": "2020"}), Unprocessable),
    ("a type the choice does not have", change("add", "Patient", name="multipleBirth", value={"valueString": "x"}),
     Unprocessable),
    ("another type", change("add", "Patient", name="maritalStatus", value={"valueQuantity": {"value": 1}}),
     Unprocessable),
    ("a primitive for a complex", change("add", "Patient", name="maritalStatus", value={"valueString": "x"}),
     Unprocessable),
    ("a complex for a primitive", change("add", "Patient", name="gender", value={"valueCoding": {"code": "x"}}),
     Unprocessable),
    ("parts for a primitive", change("add", "Patient", name="gender", value={"part": [{"name": "x", "valueString": "y"}]}),
     Unprocessable),
    ("behind the end", change("insert", "Patient.name", index=3, value={"valueHumanName": {"text": "x"}}), Unprocessable),
    ("a move from behind the end", change("move", "Patient.name", source=2, destination=0), Unprocessable),
    ("a move to behind the end", change("move", "Patient.name", source=0, destination=2), Unprocessable),
    ("a move of what is no list", change("move", "Patient.birthDate", source=0, destination=0), Unprocessable),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "expected"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_what_r4_allows(operation: Json, expected: Json) -> None:
    whole = {**PATIENT, **expected}
    found = patched(PATIENT, parameters(operation), registry())
    assert found == {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(("operation", "kind"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_r4_refuses(operation: Json, kind: type[Problem]) -> None:
    before = dump(PATIENT)
    patch = parameters(change("delete", "Patient.contact"), operation)
    if operation.get("name") == "other":
        patch["parameter"][1] = operation
    with pytest.raises(kind, match="Operation 2 of the patch"):
        patched(PATIENT, patch, registry())
    assert dump(PATIENT) == before


def test_extensions_of_primitives_move_and_go_with_their_values() -> None:
    name = {"given": ["a", "b", "c"], "_given": [None, {"id": "b"}, None]}
    patch = parameters(
        change("move", "Patient.name[0].given", source=1, destination=0),
        change("insert", "Patient.name[0].given", index=1, value={"valueString": "x"}),
        change("delete", "Patient.name[0].given[3]"),
    )
    found = patched({"resourceType": "Patient", "name": [name]}, patch, registry())
    assert found["name"] == [{"given": ["b", "x", "a"], "_given": [{"id": "b"}, None, None]}]


def test_decimals_keep_their_digits() -> None:
    observation = parse(b'{"resourceType":"Observation","valueQuantity":{"value":1.50}}')
    patch = parse(
        b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"add"},'
        b'{"name":"path","valueString":"Observation"},{"name":"name","valueString":"referenceRange"},{"name":"value",'
        b'"part":[{"name":"low","valueQuantity":{"value":2.500}}]}]}]}'
    )
    found = patched(observation, patch, registry())
    assert dump(found["valueQuantity"]) == b'{"value":1.50}'
    assert dump(found["referenceRange"]) == b'[{"low":{"value":2.500}}]'
