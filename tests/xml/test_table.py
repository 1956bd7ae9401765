"""What the tables of elements say is what the standard publishes: which elements, in which order, and how in XML."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.xml.table import Kind, content, resources
from tests.shared import SHARED

DEFINITIONS = SHARED / "data" / "definitions"


def published(*kinds: str) -> Iterator[dict[str, Any]]:
    """Yield the StructureDefinitions of R4 of these kinds."""
    for name in ("profiles-types.json.gz", "profiles-resources.json.gz"):
        for entry in json.loads(gzip.decompress((DEFINITIONS / name).read_bytes()))["entry"]:
            if entry["resource"].get("kind") in kinds and entry["resource"]["resourceType"] == "StructureDefinition":
                yield entry["resource"]


@pytest.fixture(scope="module")
def structures() -> list[dict[str, Any]]:
    if not DEFINITIONS.exists():
        pytest.skip("needs the published definitions in ../shared/data")
    return [each for each in published("resource", "complex-type") if not each["abstract"]]


def names(structure: dict[str, Any]) -> dict[str, list[str]]:
    """Return the names of the child elements by path, in the order of the standard."""
    found: dict[str, list[str]] = {}
    for element in structure["snapshot"]["element"][1:]:
        parent, _, name = element["path"].rpartition(".")
        found.setdefault(parent, []).append(name.removesuffix("[x]"))
    return found


def test_elements_are_listed_in_the_order_of_the_standard(structures: list[dict[str, Any]]) -> None:
    assert len(structures) > 180  # 148 resource types, and the complex data types
    for structure in structures:
        for path, expected in names(structure).items():
            assert list(registry().elements(path)) == expected, path


def test_attributes_and_narratives_are_those_that_the_standard_represents_so(structures: list[dict[str, Any]]) -> None:
    represented = {
        element["base"]["path"]: element["representation"][0]
        for structure in structures
        for element in structure["snapshot"]["element"]
        if "representation" in element
    }
    assert represented == {"Element.id": "xmlAttr", "Extension.url": "xmlAttr"}
    (div,) = (each for each in registry().elements("Narrative").values() if each.types == ("xhtml",))
    assert content("Narrative").fields[div.name].kind is Kind.XHTML
    for path in ("Element", "HumanName", "Patient.contact", "Extension"):
        assert content(path).fields["id"].kind is Kind.ATTRIBUTE
    assert content("Extension").fields["url"].kind is Kind.ATTRIBUTE
    assert content("Patient").fields["id"].kind is Kind.PRIMITIVE
    assert content("ValueSet").fields["url"].kind is Kind.PRIMITIVE


def test_every_resource_type_of_r4_can_be_written(structures: list[dict[str, Any]]) -> None:
    types = {each["type"] for each in structures if each["kind"] == "resource"}
    assert resources().fields.keys() == types
    assert all(content(type).fields for type in types)


def test_no_element_is_called_like_the_member_that_names_the_type() -> None:
    """JSON keeps the type of a resource among its elements; an element of that name would hide it."""
    assert not [type for type in resources().fields if "resourceType" in content(type).fields]
