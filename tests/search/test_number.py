"""Number parameters: R4 Search, "number"."""

from typing import Any

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.fhir_json import FhirDecimal
from tests.search.reading import PROJECT, ask, finds


def risk(*values: Any) -> dict[str, Any]:
    return {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": value} for value in values]}


@pytest.mark.parametrize(
    ("asked", "inside", "outside"),
    [
        ("100", ["99.5", "100.49"], ["100.5", "99.49"]),
        ("100.00", ["99.995", "100.0049"], ["100.005", "99.9949"]),
        ("1e2", ["95", "104.9"], ["105", "94.9"]),
        ("5.4e-3", ["0.00535", "0.005449"], ["0.00545"]),
        ("-2", ["-2.5", "-1.6"], ["-1.5"]),
        ("0", ["-0.5", "0.49"], ["0.5"]),
    ],
)
def test_a_number_stands_for_what_rounds_to_it(asked: str, inside: list[str], outside: list[str]) -> None:
    for text in inside:
        assert finds(f"RiskAssessment?probability={asked}", risk(FhirDecimal(text)))
        assert not finds(f"RiskAssessment?probability=ne{asked}", risk(FhirDecimal(text)))
    for text in outside:
        assert not finds(f"RiskAssessment?probability={asked}", risk(FhirDecimal(text)))
        assert finds(f"RiskAssessment?probability=ne{asked}", risk(FhirDecimal(text)))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("gt5", [5.001, 6]),
        ("ge5", [5, 5.001, 6]),
        ("lt5", [4, 4.999]),
        ("le5", [4, 4.999, 5]),
        ("sa5", [5.001, 6]),
        ("eb5", [4, 4.999]),
        ("ap5.0", [4.999, 5, 5.001]),
        ("ap5.5", [4.999, 5, 5.001, 6]),
    ],
)
def test_with_a_prefix_a_number_stands_for_itself(asked: str, found: list[float]) -> None:
    values = [4, 4.999, 5, 5.001, 6]
    assert [value for value in values if finds(f"RiskAssessment?probability={asked}", risk(value))] == found


def test_any_of_several_values_will_do() -> None:
    assert finds("RiskAssessment?probability=1,3", risk(2, 3))
    assert finds("RiskAssessment?probability=gt2&probability=lt1.5", risk(1, 3))


@pytest.mark.parametrize(
    "text", ["x", "1x", "--1", "1e999", "NaN", "inf", "1_0", "eq", "gtx", "0x1", "１", "1e9999999"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"RiskAssessment?probability={text}")


def test_modifiers_other_than_missing_are_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        ask("RiskAssessment?probability:exact=1")


def test_what_is_no_number_in_a_resource_is_not_filed() -> None:
    assert PROJECT(risk("1", True, 10**400)).ranges == {}
    assert finds("RiskAssessment?probability:missing=true", risk("1"))
