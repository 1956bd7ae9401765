"""Whatever a patch says, it is carried out, or it is a problem that FHIR can say; never a failure of the server."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidRequest, Unprocessable
from fhir_server.fhir_json import dump
from fhir_server.patching.patch import patched
from tests.patching.test_fhirpath_patch import PATIENT, change, parameters

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(0, 2), st.sampled_from(["", "x", "official"])
)
NAMES = [
    "name",
    "given",
    "extension",
    "url",
    "birthDate",
    "value",
    "deceased",
    "contact",
    "contained",
    "id",
    "text",
    "0",
]
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)),
)
pointers = st.lists(st.sampled_from([*NAMES, "1", "-", "~1", "_birthDate"]), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
json_operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"value": values, "from": pointers},
)
steps = [f".{name}" for name in NAMES[:-1]] + [
    "[0]", "[1]", ".first()", ".last()", ".where(use = 'official')", ".where(given.exists() and use != 'x')",
    ".extension('urn:time')", ".ofType(boolean)", ".where(value)", ".exists()",
]  # fmt: skip
paths = st.lists(st.sampled_from(steps), max_size=4).map(lambda found: "Patient" + "".join(found))
TYPES = ["String", "HumanName", "Extension", "Boolean", "Date", "Nothing", "Identifier"]
parts = st.one_of(
    st.builds(lambda type, value: {f"value{type}": value}, st.sampled_from(TYPES), values),
    st.builds(lambda type, value: {f"_value{type}": value}, st.sampled_from(TYPES), values),
    st.builds(
        lambda name, type, value: {"part": [{"name": name, f"value{type}": value}]},
        st.sampled_from(NAMES), st.sampled_from(TYPES), values,
    ),
    values.map(lambda value: {"resource": value}),
)  # fmt: skip
numbers = st.integers(0, 2)
fhirpath_operations = st.one_of(
    st.builds(
        lambda path, name, value: change("add", path, name=name, value=value), paths, st.sampled_from(NAMES), parts
    ),
    st.builds(lambda path, index, value: change("insert", path, index=index, value=value), paths, numbers, parts),
    st.builds(lambda path: change("delete", path), paths),
    st.builds(lambda path, value: change("replace", path, value=value), paths, parts),
    st.builds(lambda path, one, two: change("move", path, source=one, destination=two), paths, numbers, numbers),
)


def tried(patch: Any) -> None:
    before = dump(PATIENT)
    with suppress(InvalidRequest, Unprocessable):
        dump(patched(PATIENT, patch, registry()))
    assert dump(PATIENT) == before


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.lists(json_operations, max_size=4))
def test_any_json_patch(patch: list[Any]) -> None:
    tried(patch)


@settings(max_examples=600, derandomize=True, deadline=None, database=None)
@given(st.lists(fhirpath_operations, min_size=1, max_size=4))
def test_any_fhirpath_patch(operations: list[Any]) -> None:
    tried(parameters(*operations))


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(values, values)
def test_any_parameters(parameter: Any, part: Any) -> None:
    tried({"resourceType": "Parameters", "parameter": parameter})
    tried({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]})


@pytest.mark.parametrize("patch", [None, 1, "x", {}, {"resourceType": "Patient"}])
def test_what_is_no_patch_is_400(patch: Any) -> None:
    with pytest.raises(InvalidRequest):
        patched(PATIENT, patch, registry())


LONG = ["Patient" + ".name" * 5000, "(" * 400 + "Patient" + ")" * 400, "Patient.where(" * 30 + ")" * 30]


@pytest.mark.parametrize("path", LONG, ids=["names", "brackets", "criteria"])
def test_a_path_that_is_too_long_is_400(path: str) -> None:
    with pytest.raises(InvalidRequest):
        patched(PATIENT, parameters(change("delete", path)), registry())


NOT_THERE = ["abc", 5, {"a": 1}, [1], ["x"], [None], [[1]]]
BEHIND = ["extension[0].url", "extension('x')", "given[0]", "extension.where(url = 'x')", "given.extension"]


@pytest.mark.parametrize("bad", NOT_THERE, ids=repr)
@pytest.mark.parametrize("name", ["extension", "given", "_given"])
def test_what_an_operation_leaves_malformed_does_not_upset_the_next(bad: Any, name: str) -> None:
    first = change("insert", "Patient.name", index=0, value={"valueHumanName": {name: bad}})
    text: Any = {"valueString": "z"}
    for behind in (f"Patient.name[0].{each}" for each in BEHIND):
        tried(parameters(first, change("delete", behind)))
        tried(parameters(first, change("replace", behind, value=text)))
        tried(parameters(first, change("add", behind, name="extension", value={"valueExtension": {"url": "u"}})))
    for behind in ("Patient.name[0].given", "Patient.name[0].extension"):
        tried(parameters(first, change("insert", behind, index=0, value=text)))
        tried(parameters(first, change("move", behind, source=0, destination=0)))
