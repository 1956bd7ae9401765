"""What resources are filed under, as a whole."""

from __future__ import annotations

import gzip
import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.search.project import Projector
from fhir_server.search.support import unsupported
from tests.search.reading import BASE, PROJECT
from tests.shared import SHARED

FILES = [
    path
    for collection in ("examples-r4", "tw-core-examples")
    for path in sorted((SHARED / "data" / collection).glob("*.ndjson.gz"))
    if path.name.partition(".")[0] in registry().types
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_every_published_example_can_be_filed(path: Path) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            resource: dict[str, Any] = json.loads(line)
            if resource["resourceType"] not in registry().types:
                continue
            filed = PROJECT(resource)
            codes = registry().parameters(resource["resourceType"]).keys() | {"_text", "_content"}
            assert {term.partition("|")[0].partition(":")[0] for term in filed.terms} <= codes
            assert filed.ranges.keys() <= codes
            assert filed.sort.keys() <= filed.ranges.keys()
            assert all(isinstance(end, int | float | None) for end in _ends(filed.ranges))
            assert PROJECT(resource) == filed


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_a_reference_parameter_alone_leads_where_it_leads_among_all(path: Path) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for resource in map(json.loads, lines):
            parameters = registry().parameters(resource["resourceType"]).values()
            codes = [each.code for each in parameters if each.type == "reference"]
            for found in (PROJECT.links, PROJECT.canonicals):
                together = found(resource)
                assert {code: led for each in codes for code, led in found(resource, each).items()} == together


def _ends(ranges: Any) -> list[Any]:
    return [end for spans in ranges.values() for span in spans for end in (span.lo, span.hi)]


def test_id_and_update_time_are_not_filed() -> None:
    resource = {"resourceType": "Basic", "id": "1", "meta": {"lastUpdated": "2024-01-01T00:00:00Z", "versionId": "1"}}
    filed = PROJECT(resource)
    assert (filed.terms, dict(filed.ranges), dict(filed.sort)) == (frozenset(), {}, {})


def test_an_observation_is_filed_as_the_store_expects() -> None:
    zone_less = Projector(registry(), zone=UTC)
    filed = zone_less(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "subject": {"reference": "Patient/1"},
            "effectiveDateTime": "1970-01-01T00:00:01Z",
            "valueQuantity": {"value": 70.5, "system": "http://unitsofmeasure.org", "code": "kg"},
        }
    )
    assert {"subject|Patient/1", "patient|Patient/1", "code|http://loinc.org|29463-7", "status||final"} <= filed.terms
    (date,) = filed.ranges["date"]
    assert (date.lo, date.hi, date.terms) == (1_000_000, 1_999_999, ())
    (weight,) = filed.ranges["value-quantity"]
    assert (weight.lo, weight.hi) == (70.5, 70.5)
    assert set(weight.terms) == {
        f"value-quantity|{form}" for form in ("http://unitsofmeasure.org|", "http://unitsofmeasure.org|kg", "|kg")
    } | {"value-quantity:base|g1"}
    assert weight.second == (70500.0, 70500.0)
    (both,) = filed.ranges["code-value-quantity"]
    assert {"code-value-quantity$0||29463-7", "code-value-quantity$1||kg"} <= set(both.terms)
    assert filed.sort == {"date": 1_000_000, "value-quantity": 70.5, "combo-value-quantity": 70.5}


def test_every_parameter_of_the_standard_is_answered() -> None:
    refused = {
        (type, code)
        for type in registry().types
        for code, parameter in registry().parameters(type).items()
        if unsupported(parameter)
    }
    assert refused == set()


def test_what_a_resource_leads_to_is_kept_by_parameter() -> None:
    observation = {
        "resourceType": "Observation",
        "subject": {"reference": f"{BASE}/Patient/1/_history/2"},
        "performer": [{"reference": "Practitioner/2"}, {"reference": "#p"}, {"reference": "Practitioner/2"}],
        "encounter": {"reference": "http://elsewhere.org/Encounter/3"},
        "device": {"identifier": {"value": "x"}},
    }
    links = PROJECT(observation).links
    assert links == {"subject": ("Patient/1",), "patient": ("Patient/1",), "performer": ("Practitioner/2",)}


@pytest.mark.parametrize(
    ("value", "sorted_by"),
    [
        ({"valueQuantity": {"value": 7}}, 7),
        ({"valueQuantity": {"value": 7, "comparator": ">="}}, 7),
        ({"valueQuantity": {"value": 7, "comparator": "<"}}, None),
        ({"valueQuantity": {"unit": "mg"}}, None),
    ],
)
def test_a_quantity_sorts_by_its_lower_end(value: dict[str, Any], sorted_by: float | None) -> None:
    assert PROJECT({"resourceType": "Observation", **value}).sort.get("value-quantity") == sorted_by


def test_numbers_sort_by_the_lowest() -> None:
    risk = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.5}, {"probabilityDecimal": 0.25}]}
    assert PROJECT(risk).sort == {"probability": 0.25}


@pytest.mark.parametrize(
    ("type", "param", "placed"),
    [
        ("Observation", "subject", True),
        ("Observation", "patient", True),
        ("Procedure", "subject", True),
        ("Observation", "focus", False),
        ("Appointment", "patient", True),
        ("Consent", "actor", False),
        ("Organization", "partof", False),
    ],
)
def test_which_parameters_place_a_record_in_a_patients_compartment(type: str, param: str, placed: bool) -> None:
    assert Projector(registry(), zone=UTC).places(type, param) is placed
