"""_summary and _elements on resources themselves (FHIR R4 Search, "Summary" and "Elements")."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.definitions.summary import kept
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.subset import SUBSETTED, Shape, shape_of, subset
from tests.shared import SHARED

Json = dict[str, Any]

OBSERVATION: Json = {
    "resourceType": "Observation",
    "id": "o",
    "meta": {"versionId": "1", "tag": [{"code": "x"}]},
    "language": "zh",
    "text": {"status": "generated", "div": "<div>x</div>"},
    "contained": [{"resourceType": "Patient", "id": "c"}],
    "extension": [{"url": "urn:x", "valueString": "x"}],
    "modifierExtension": [{"url": "urn:m", "valueString": "m"}],
    "status": "final",
    "_status": {"id": "s"},
    "category": [{"text": "lab"}],
    "code": {"text": "glucose", "extension": [{"url": "urn:y", "valueString": "y"}]},
    "valueQuantity": {"value": 1.5, "unit": "g", "id": "q"},
    "note": [{"text": "n"}],
    "component": [{"id": "1", "code": {"text": "a"}, "valueString": "v", "interpretation": [{"text": "high"}]}],
}
HEAD = {"resourceType", "id", "meta"}


def names(shape: Shape) -> set[str]:
    return {*subset(OBSERVATION, shape)} - HEAD


@pytest.mark.parametrize(
    ("summary", "left"),
    [
        ("true", {"modifierExtension", "status", "_status", "code", "valueQuantity", "component"}),
        ("text", {"text", "status", "_status", "code"}),
        ("data", {*OBSERVATION} - HEAD - {"text"}),
    ],
)
def test_what_a_summary_keeps(summary: str, left: set[str]) -> None:
    shape = shape_of(("Observation",), summary, None)
    assert shape is not None
    assert names(shape) == left


def test_a_summary_goes_into_elements_and_leaves_them_their_extensions() -> None:
    found = subset(OBSERVATION, Shape("true"))
    assert found["component"] == [{"id": "1", "code": {"text": "a"}, "valueString": "v"}]
    assert found["code"] == OBSERVATION["code"]
    assert found["valueQuantity"] == OBSERVATION["valueQuantity"]
    photo = {"contentType": "image/png", "data": "AAAA", "title": "x"}
    document: Json = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": photo}]}
    assert subset(document, Shape("true"))["content"] == [{"attachment": {"contentType": "image/png", "title": "x"}}]


@pytest.mark.parametrize(
    ("elements", "left"),
    [
        ("note", {"note"}),
        ("value", {"valueQuantity"}),
        ("valueQuantity", {"valueQuantity"}),
        ("id,category,contained", {"category", "contained"}),
        ("Observation.note", {"note"}),
        ("Observation.note,category", {"note", "category"}),
    ],
)
def test_elements_keep_what_is_named_and_what_must_not_be_missing(elements: str, left: set[str]) -> None:
    shape = shape_of(("Observation",), None, elements)
    assert shape is not None
    assert names(shape) == {*left, "status", "_status", "code", "modifierExtension"}


def test_elements_of_one_type_leave_others_whole() -> None:
    shape = shape_of(("Observation",), None, "Patient.name")
    assert shape is not None
    assert subset(OBSERVATION, shape) is OBSERVATION
    patient: Json = {"resourceType": "Patient", "id": "p", "name": [{"family": "x"}], "gender": "male"}
    assert {*subset(patient, shape)} == {"resourceType", "id", "meta", "name"}


@pytest.mark.parametrize("shape", [Shape("true"), Shape("text"), Shape("data"), Shape(None, frozenset({"note"}))])
def test_what_is_not_whole_says_so_once_and_the_source_stays(shape: Shape) -> None:
    before = deepcopy(OBSERVATION)
    once = subset(OBSERVATION, shape)
    assert before == OBSERVATION
    assert once["meta"] == {"versionId": "1", "tag": [{"code": "x"}, SUBSETTED]}
    assert subset(once, shape) == once
    assert list(once)[:3] == ["resourceType", "id", "meta"]
    assert subset({"resourceType": "Basic", "code": {}}, shape)["meta"] == {"tag": [SUBSETTED]}


@pytest.mark.parametrize(
    ("summary", "elements"),
    [("all", None), ("", None), (None, "colour"), (None, "note,"), (None, "Nothing.name"), (None, "Patient.note"),
     ("true", "note"), (None, "code.text")],
)  # fmt: skip
def test_what_no_shape_is(summary: str | None, elements: str | None) -> None:
    with pytest.raises(InvalidSearchValue):
        shape_of(("Observation",), summary, elements)


@pytest.mark.parametrize(("summary", "elements"), [(None, None), ("false", None), ("count", None)])
def test_resources_stay_whole_unless_asked(summary: str | None, elements: str | None) -> None:
    assert shape_of(("Observation",), summary, elements) is None


def test_the_names_of_several_types_are_those_of_any() -> None:
    assert shape_of(("Observation", "Patient"), None, "note,gender") is not None
    assert shape_of(("Resource",), None, "gender") is not None


def test_the_marks_are_those_of_the_definitions() -> None:
    text = gzip.decompress((SHARED / "data" / "definitions" / "profiles-resources.json.gz").read_bytes())
    checked = 0
    for entry in json.loads(text)["entry"]:
        structure = entry["resource"]
        if structure["resourceType"] != "StructureDefinition" or structure["id"] not in registry().types:
            continue
        for element in structure["snapshot"]["element"][1:]:
            parent, _, name = element["path"].rpartition(".")
            marked = kept(parent)
            json_names = {each for each, plain in marked.names.items() if plain == name.removesuffix("[x]")}
            assert json_names, element["path"]
            assert bool(element.get("isSummary")) == (json_names <= marked.summary), element["path"]
            assert bool(element["min"]) == (json_names <= marked.mandatory), element["path"]
            assert bool(element.get("isModifier")) == (json_names <= marked.modifying), element["path"]
            checked += 1
    assert checked > 5_000
