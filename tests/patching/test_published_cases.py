"""The cases that HL7 publishes for patches (repository fhir-test-cases, r4/patch)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.errors import Problem
from fhir_server.patching.json_patch import patched as json_patched
from fhir_server.patching.json_patch import same
from fhir_server.patching.patch import patched
from fhir_server.xml.read import from_xml
from tests.shared import SHARED

CASES = SHARED / "data" / "fhir-test-cases" / "r4" / "patch"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the published cases are in the folder shared")

Json = dict[str, Any]


def resource_in(case: str, name: str) -> Json | None:
    """Return the resource in an element of a case, None if there is none. It is cut out as it was written."""
    found = re.search(rf"<{name}>\s*(<.*?)\s*</{name}>", case, re.DOTALL)
    if found is None:
        return None
    # An empty resource is no valid one, so the reader refuses it.
    empty = re.fullmatch(r"<(\w+) xmlns=\"[^\"]*\">\s*</\1>", found[1])
    return {"resourceType": empty[1]} if empty else from_xml(found[1].encode())


def evenly_spaced(resource: Json) -> Json:
    """Return a resource with its narrative written one way: white space and entities in it are not part of the cases."""
    text = resource.get("text")
    if not text:
        return resource
    return {**resource, "text": {**text, "div": re.sub(r"\s+", " ", text["div"].replace("&quot;", '"'))}}


def fhirpath_cases() -> list[Any]:
    if not CASES.is_dir():
        return []
    text = (CASES / "fhir-patch-tests.xml").read_text(encoding="utf-8")
    cases = re.findall(r"<case name=\"([^\"]*)\"(.*?)</case>", text, re.DOTALL)
    return [pytest.param(case, id=f"{number} {name}") for number, (name, case) in enumerate(cases, 1)]


def json_cases() -> list[Any]:
    if not CASES.is_dir():
        return []
    return [
        pytest.param(each, id=each["comment"]) for each in json.loads((CASES / "json-patch-tests.json").read_text())
    ]


def test_all_published_cases_are_run() -> None:
    assert (len(fhirpath_cases()), len(json_cases())) == (33, 16)


@pytest.mark.parametrize("case", fhirpath_cases())
def test_fhirpath_patch(case: str) -> None:
    given, patch, expected = (resource_in(case, name) for name in ("input", "diff", "output"))
    assert given is not None
    assert patch is not None
    if "<error " in case:
        with pytest.raises(Problem, match="Operation 1 of the patch"):
            patched(given, patch, registry())
    else:
        assert expected is not None
        assert evenly_spaced(patched(given, patch, registry())) == evenly_spaced(expected)


@pytest.mark.parametrize("case", json_cases())
def test_json_patch(case: Json) -> None:
    if "error" in case:
        with pytest.raises(Problem, match="Operation 1 of the patch"):
            json_patched(case["doc"], case["patch"])
    else:
        assert same(json_patched(case["doc"], case["patch"]), case["expected"])
