"""Units of UCUM: what they are in base units, and quantities that are found whatever unit they are in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir_json import FhirDecimal
from fhir_server.search.types.ucum import SYSTEM, read
from tests.search.reading import finds


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("mg", "1000.ug"),
        ("g/L", "mg/mL"),
        ("mg/dL", "10.mg/L"),
        ("mmol/L", "umol/mL"),
        ("10*9/L", "/nL"),
        ("10*3/uL", "10*9/L"),
        ("{cells}/uL", "/uL"),
        ("mL/min", "L.min-1.10*-3"),
        ("ukat/L", "60.U/L"),
        ("kPa", "10.mbar"),
        ("cm[H2O]", "10.mm[H2O]"),
        ("Hz", "60/min"),
        ("m/s2", "m.s-2"),
        ("wk", "7.d"),
        ("a", "12.mo"),
        ("%", "10*-2"),
        ("[lb_av]", "16.[oz_av]"),
        ("[ft_i]", "12.[in_i]"),
        ("[IU]/mL", "k[iU]/L"),
        ("kcal", "4184.J"),
        ("J/s", "W"),
        ("V.A", "W"),
        ("l", "dm3"),
        ("1", "100.%"),
    ],
)
def test_units_that_are_the_same(left: str, right: str) -> None:
    assert read(left) == read(right)
    assert read(left) is not None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("g", "mol"),
        ("meq/L", "mmol/L"),
        ("[iU]/L", "U/L"),
        ("Cel", "K"),
        ("Cel", "[degF]"),
        ("m", "m2"),
        ("g/L", "g.L"),
    ],
)
def test_units_of_different_kinds(left: str, right: str) -> None:
    one, other = read(left), read(right)
    assert one is not None
    assert other is not None
    assert one.kind != other.kind


@pytest.mark.parametrize(
    "code",
    [
        "",
        "mcg",
        "mmHg",
        "hr",
        "MG",
        "{score}",
        "g//L",
        "g/",
        ".",
        "mg/(24.h)",
        "kmin",
        "m%",
        "10*99",
        "g" * 50,
        "毫克",
        "m²",
        "１",
    ],
)
def test_what_is_not_known_is_compared_as_it_is_written(code: str) -> None:
    assert read(code) is None


def test_a_pressure_in_millimetres_of_mercury() -> None:
    one, other = read("mm[Hg]"), read("Pa")
    assert one is not None
    assert other is not None
    assert one.factor / other.factor == Fraction("133.322387415")


def observation(value: Any, code: str, **more: Any) -> dict[str, Any]:
    quantity = {"value": value, "system": SYSTEM, "code": code, **more}
    return {"resourceType": "Observation", "code": {"coding": [{"code": "c"}]}, "valueQuantity": quantity}


@pytest.mark.parametrize(
    ("asked", "value", "code", "found"),
    [
        ("5.4|{}|mg", "5400", "ug", True),
        ("5.4|{}|mg", "0.0054", "g", True),
        ("5.4|{}|mg", "5449", "ug", True),
        ("5.4|{}|mg", "5450", "ug", False),
        ("5.4|{}|mg", "5350", "ug", True),
        ("5.4|{}|mg", "5349", "ug", False),
        ("5.4|{}|mg", "5.4", "mL", False),
        ("5.4||mg", "5400", "ug", False),
        ("5.4", "5400", "ug", False),
        ("5400", "5400", "ug", True),
        ("gt5|{}|mmol/L", "5001", "umol/L", True),
        ("gt5|{}|mmol/L", "5000", "umol/L", False),
        ("ge5|{}|mmol/L", "5000", "umol/L", True),
        ("ne5.0|{}|mmol/L", "5000", "umol/L", False),
        ("ne5.0|{}|mmol/L", "5", "mg/dL", False),
        ("120|{}|mm[Hg]", "16.0", "kPa", True),
        ("120|{}|mm[Hg]", "16.1", "kPa", False),
        ("le72|{}|/min", "1.2", "Hz", True),
        ("36.5|{}|Cel", "36.5", "Cel", True),
        ("36.5|{}|Cel", "309.65", "K", False),
        ("70.5|{}|kg", "155.4", "[lb_av]", True),
        ("2|{}|{{score}}", "2", "{score}", True),
        ("2|{}|{{score}}", "2", "{points}", False),
        ("2|{}|mcg", "2", "mcg", True),
        ("2|{}|", "2", "mg", True),
    ],
)
def test_a_quantity_is_found_whatever_unit_it_is_in(asked: str, value: str, code: str, found: bool) -> None:
    text = quote(asked.format(SYSTEM))
    held = observation(FhirDecimal(value), code)
    assert finds(f"Observation?value-quantity={text}", held) is found
    assert finds(f"Observation?code-value-quantity=c${text}", held) is found


@pytest.mark.parametrize(
    ("comparator", "asked", "found"),
    [
        ("<", "lt4|{}|mg", True),
        ("<", "gt5|{}|mg", False),
        ("<", "ge5|{}|mg", False),
        (">=", "5|{}|mg", False),
        (">", "sa5|{}|mg", True),
    ],
)
def test_a_comparator_holds_in_every_unit(comparator: str, asked: str, found: bool) -> None:
    held = observation(5000, "ug", comparator=comparator)
    assert finds(f"Observation?value-quantity={quote(asked.format(SYSTEM))}", held) is found


def test_ranges_and_samples_are_converted_as_well() -> None:
    age = {"value": 24, "system": SYSTEM, "code": "mo"}
    condition = {"resourceType": "Condition", "onsetRange": {"low": age, "high": {**age, "value": 36}}}
    assert finds(f"Condition?onset-age=gt2|{SYSTEM}|a", condition)
    assert not finds(f"Condition?onset-age=gt3|{SYSTEM}|a", condition)
    sampled = {"origin": {"value": 0, "system": SYSTEM, "code": "mV"}, "period": 1, "dimensions": 1, "data": "1 3"}
    observed = {"resourceType": "Observation", "valueSampledData": sampled}
    assert finds(f"Observation?value-quantity=gt2000|{SYSTEM}|uV", observed)
    assert not finds(f"Observation?value-quantity=gt3000|{SYSTEM}|uV", observed)


def test_what_is_too_large_in_base_units_is_beyond_everything() -> None:
    assert finds(f"Observation?value-quantity=ge1e300|{SYSTEM}|t", observation(1e304, "t"))
    assert not finds(f"Observation?value-quantity=le1e300|{SYSTEM}|t", observation(1e304, "t"))


NUMBERS = st.sampled_from(
    ["0", "1", "-1", "0.5", "5.4", "5.35", "5.45", "1000", "5400", "5350", "5450", "60", "90", "1.50", "0.0054"]
)
UNITS = st.sampled_from(["mg", "ug", "g", "s", "min", "h", "mmol/L", "mol/L", "{x}", "mcg", "%", "1", "10*-3"])
PREFIXES = st.sampled_from(["", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])


@settings(max_examples=600, deadline=None)
@given(NUMBERS, UNITS, st.sampled_from(["", "<", "<=", ">", ">="]), PREFIXES, NUMBERS, UNITS)
def test_what_is_filed_and_what_is_read_agree(
    value: str, code: str, comparator: str, prefix: str, asked: str, unit: str
) -> None:
    held = observation(FhirDecimal(value), code, **({"comparator": comparator} if comparator else {}))
    finds(f"Observation?value-quantity={prefix}{asked}|{SYSTEM}|{quote(unit)}", held)
