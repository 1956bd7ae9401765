"""Quantity parameters: R4 Search, "quantity"."""

from typing import Any

import pytest

from fhir_server.errors import InvalidSearchValue
from tests.search.reading import PROJECT, ask, finds

UCUM = "http://unitsofmeasure.org"


def observation(**value: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "valueQuantity": value}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("5.4", True),
        (f"5.4|{UCUM}|mg", True),
        ("5.4||mg", True),
        ("5.4||毫克", True),
        ("5.4||MG", False),
        (f"5.4|{UCUM}|", True),
        (f"5.4|{UCUM}|毫克", False),
        (f"5.4|{UCUM}|g", False),
        ("5.4|urn:x|mg", False),
        ("gt5||mg", True),
        ("gt5||g", False),
        ("ne6||mg", True),
        ("ne6||g", False),
    ],
)
def test_number_and_unit_are_of_the_same_quantity(query: str, found: bool) -> None:
    value = observation(value=5.4, unit="毫克", system=UCUM, code="mg")
    assert finds(f"Observation?value-quantity={query}", value) is found


@pytest.mark.parametrize(
    ("comparator", "found"),
    [
        ("<", {"lt5", "le5", "lt6", "lt4", "eb5", "ne5", "ge4", "gt4", "ap5"}),
        ("<=", {"lt5", "le5", "lt6", "lt4", "ge5", "ne5", "ge4", "gt4", "ap5"}),
        (">", {"gt5", "ge5", "gt6", "gt4", "ge4", "sa5", "sa4", "ne5", "lt6", "ap5"}),
        (">=", {"gt5", "ge5", "gt6", "gt4", "ge4", "le5", "sa4", "ne5", "lt6", "ap5"}),
    ],
)
def test_a_comparator_makes_the_value_a_range(comparator: str, found: set[str]) -> None:
    value = observation(value=5, comparator=comparator)
    asked = "5 ne5 lt4 lt5 lt6 le5 gt4 gt5 gt6 ge4 ge5 sa4 sa5 eb5 ap5".split()
    assert {each for each in asked if finds(f"Observation?value-quantity={each}", value)} == found


def test_a_range_is_found_by_what_it_reaches() -> None:
    condition = {"resourceType": "Condition", "onsetRange": {"low": {"value": 3, "code": "a"}, "high": {"value": 5}}}
    assert finds("Condition?onset-age=gt4", condition)
    assert finds("Condition?onset-age=lt4||a", condition)
    assert not finds("Condition?onset-age=gt5", condition)
    assert not finds("Condition?onset-age=4", condition)
    assert finds("Condition?onset-age=sa2", condition)


def test_sampled_data_is_found_by_its_bounds() -> None:
    sampled = {
        "resourceType": "Observation",
        "valueSampledData": {
            "origin": {"value": 10, "code": "mV"},
            "period": 1,
            "dimensions": 1,
            "factor": 2,
            "lowerLimit": -5,
            "data": "1 E 3 L",
        },
    }
    assert finds("Observation?value-quantity=gt15||mV", sampled)
    assert not finds("Observation?value-quantity=gt16", sampled)
    assert finds("Observation?value-quantity=lt1", sampled)
    assert not finds("Observation?value-quantity=lt0", sampled)


def test_money_is_found_by_its_currency() -> None:
    invoice = {"resourceType": "Invoice", "totalGross": {"value": 12.5, "currency": "CNY"}}
    assert finds("Invoice?totalgross=12.5|urn:iso:std:iso:4217|CNY", invoice)
    assert finds("Invoice?totalgross=12.5||CNY", invoice)
    assert not finds("Invoice?totalgross=12.5||USD", invoice)


def test_a_quantity_without_value_is_missing() -> None:
    assert finds("Observation?value-quantity:missing=true", observation(unit="mg"))
    assert PROJECT(observation(unit="mg")).ranges == {}


@pytest.mark.parametrize("text", ["5|mg", "|mg", "||mg", "5|a|b|c", "x||mg", ""])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Observation?value-quantity={text}")
