"""The table of operations against the standard's OperationDefinitions, and how parameters are read."""

from __future__ import annotations

import gzip
import json
from datetime import UTC
from typing import Any

import pytest

from fhir_server.errors import InvalidRequest, InvalidSearchValue, Problem, UnsupportedParameter
from fhir_server.operations.definition import OURS, Invocation, Level, Operation
from fhir_server.operations.parameters import read
from fhir_server.operations.table import OPERATIONS, operation_at
from tests.shared import SHARED

DEFINITIONS = SHARED / "data" / "definitions" / "profiles-resources.json.gz"
# Inputs that the standard has and this server does not take.
LEFT_OUT = {"Composition-document": {"graph"}}
# Levels of the standard that are not offered.
NOT_OFFERED = {("Encounter-everything", Level.TYPE)}
AUTHORIZATIONS = {"authorization-status", "request-authorization", "verify", "confirm", "decline", "revoke"}
OUR_OWN = {"explain-access", "receive", "replay", "consent-enforcement", *AUTHORIZATIONS}


@pytest.mark.skipif(not DEFINITIONS.exists(), reason="needs ../shared")
def test_the_table_says_what_the_standard_says() -> None:
    with gzip.open(DEFINITIONS) as file:
        found = {each["resource"]["id"]: each["resource"] for each in json.load(file)["entry"]}
    for id, operation in OPERATIONS.items():
        if operation.base == OURS:
            assert id not in found
            continue
        standard = found[id]
        assert (operation.url, operation.code) == (standard["url"], standard["code"])
        assert (operation.types or {"Resource"}) == set(standard["resource"])
        levels = {level for level in (Level.SYSTEM, Level.TYPE, Level.INSTANCE) if standard[level]}
        assert operation.levels - {Level.VERSION} == {each for each in levels if (id, each) not in NOT_OFFERED}
        inputs = {each["name"]: each for each in standard["parameter"] if each["use"] == "in"}
        assert {each.name for each in operation.parameters} == inputs.keys() - LEFT_OUT.get(id, set())
        for each in operation.parameters:
            said = inputs[each.name]
            assert (each.min, "*" if each.max is None else str(each.max)) == (said["min"], said["max"])
            assert each.type == said["type"] or (each.type, said["type"]) == ("positiveInt", "integer")


def test_our_own_operations_are_named_as_ours() -> None:
    ours = {each.url for each in OPERATIONS.values() if each.base == OURS}
    base = "https://fhir-facade.example.org/fhir/OperationDefinition"
    assert ours == {f"{base}/{id}" for id in OUR_OWN}


EVERYTHING, LASTN, META_ADD = (
    OPERATIONS[id] for id in ("Patient-everything", "Observation-lastn", "Resource-meta-add")
)


def parameters(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parts)}


def given(operation: Operation, pairs: list[tuple[str, str]], body: Any = None) -> Invocation:
    return read(operation, Invocation(operation.code, "Patient", "1"), tuple(pairs), body, zone=UTC)


def test_the_query_and_the_body_say_the_same() -> None:
    by_query = given(EVERYTHING, [("_type", "Observation"), ("_count", "5"), ("start", "1970"), ("_format", "json")])
    body = parameters(
        {"name": "_type", "valueCode": "Observation"},
        {"name": "_count", "valueInteger": 5},
        {"name": "start", "valueDate": "1970"},
    )
    assert by_query == given(EVERYTHING, [], body)
    assert by_query.given == {"_type": ("Observation",), "_count": (5,), "start": ((0, 31535999999999),)}
    assert by_query.pairs == (("_type", "Observation"), ("_count", "5"), ("start", "1970"))


def test_what_is_no_parameter_is_a_search_parameter_where_the_operation_takes_them() -> None:
    found = given(LASTN, [("max", "2"), ("code", "a")], parameters({"name": "patient", "valueString": "1"}))
    assert (found.one("max"), found.searched) == (2, (("code", "a"), ("patient", "1")))


WRONG: list[tuple[Operation, list[tuple[str, str]], Any, type[Problem]]] = [
    (EVERYTHING, [("other", "1")], None, UnsupportedParameter),
    (EVERYTHING, [("_count", "1"), ("_count", "2")], None, InvalidRequest),
    (EVERYTHING, [("_count", "1")], parameters({"name": "_count", "valueInteger": 1}), InvalidRequest),
    (EVERYTHING, [("_count", "-1")], None, InvalidSearchValue),
    (EVERYTHING, [("_count", "1" * 10)], None, InvalidSearchValue),
    (EVERYTHING, [("_type", "")], None, InvalidSearchValue),
    (EVERYTHING, [("_since", "soon")], None, InvalidSearchValue),
    (EVERYTHING, [], parameters({"name": "_count", "valueDecimal": 1.5}), InvalidSearchValue),
    (EVERYTHING, [], parameters({"name": "_count", "valuePeriod": {"start": "2026"}}), InvalidSearchValue),
    (EVERYTHING, [], parameters({"name": "_count", "valueInteger": 1, "valueCode": "x"}), InvalidRequest),
    (EVERYTHING, [], parameters({"name": "_count", "resource": {}}), InvalidRequest),
    (EVERYTHING, [], parameters({"valueInteger": 1}), InvalidRequest),
    (EVERYTHING, [], {"resourceType": "Parameters", "parameter": ["x"]}, InvalidRequest),
    (EVERYTHING, [], "x", InvalidRequest),
    (LASTN, [], parameters({"name": "code", "valuePeriod": {}}), InvalidSearchValue),
    (META_ADD, [], None, InvalidRequest),
    (META_ADD, [("meta", "x")], None, InvalidSearchValue),
    (META_ADD, [], parameters({"name": "meta", "valueMeta": ["x"]}), InvalidSearchValue),
]


@pytest.mark.parametrize(("operation", "pairs", "body", "problem"), WRONG)
def test_what_cannot_be_read_is_refused(
    operation: Operation, pairs: list[tuple[str, str]], body: Any, problem: type[Problem]
) -> None:
    with pytest.raises(problem):
        given(operation, pairs, body)


PLACES = [
    ("everything", "Patient", Level.INSTANCE, "Patient-everything"),
    ("everything", "Encounter", Level.INSTANCE, "Encounter-everything"),
    ("everything", "Observation", Level.INSTANCE, None),
    ("everything", None, Level.SYSTEM, None),
    ("meta", None, Level.SYSTEM, "Resource-meta"),
    ("meta", "Device", Level.VERSION, "Resource-meta"),
    ("meta-add", "Device", Level.VERSION, None),
    ("nothing", None, Level.SYSTEM, None),
    ("explain-access", "Device", Level.INSTANCE, "explain-access"),
    ("explain-access", "Device", Level.VERSION, None),
    ("replay", "AuditEvent", Level.INSTANCE, "replay"),
    ("replay", "Device", Level.INSTANCE, None),
    ("enforcement", "Consent", Level.TYPE, "consent-enforcement"),
    ("enforcement", "Consent", Level.INSTANCE, "consent-enforcement"),
]


@pytest.mark.parametrize(("code", "type", "level", "id"), PLACES)
def test_an_operation_is_found_where_it_is_offered(code: str, type: str | None, level: Level, id: str | None) -> None:
    found = operation_at(code, type, level)
    assert (found.id if found else None) == id
