"""Resident id numbers: GB 11643-1999, and which identifiers of a Patient count."""

from typing import Any

import pytest

from fhir_server.resident_id import SYSTEMS, TYPE, check_character, is_resident_id, resident_id

GOOD = "11010519491231002X"  # the example of GB 11643-1999
OTHER = "440524188001010014"  # the second example of the standard
OID, HL7_CHINA = sorted(SYSTEMS)


def numbered(first_17: str) -> str:
    return first_17 + check_character(first_17)


@pytest.mark.parametrize(
    "number", [GOOD, GOOD.lower(), OTHER, numbered("11010520000229001"), numbered("83000019900101001")]
)
def test_numbers_of_the_standard_are_valid(number: str) -> None:
    assert is_resident_id(number)


@pytest.mark.parametrize(
    "number",
    [
        "", "x", GOOD[:17], GOOD + "1", "110105194912310021", " " + GOOD, GOOD + "\n", GOOD.replace("1", "１"),
        numbered("11010519491331001"), numbered("11010519490230001"), numbered("11010520010229001"),
        numbered("00010519491231002"), numbered("99010519491231002"), numbered("11010517991231002"),
        "110105491231002", "A1010519491231002X", "11010519491231X02",
    ],
)  # fmt: skip
def test_others_are_not(number: str) -> None:
    assert not is_resident_id(number)


@pytest.mark.parametrize("at", range(17))
def test_one_wrong_digit_is_noticed(at: int) -> None:
    for digit in "0123456789":
        if digit != GOOD[at]:
            assert not is_resident_id(GOOD[:at] + digit + GOOD[at + 1 :])


NATIONAL: dict[str, Any] = {"coding": [{"system": TYPE[0], "code": TYPE[1]}]}


@pytest.mark.parametrize(
    ("identifiers", "expected"),
    [
        ([], None),
        ([{"system": OID, "value": GOOD}], GOOD),
        ([{"system": HL7_CHINA, "value": GOOD.lower()}], GOOD),
        ([{"system": OID, "value": GOOD}, {"system": HL7_CHINA, "value": GOOD.lower()}], GOOD),
        ([{"type": NATIONAL, "value": f" {GOOD} "}], GOOD),
        ([{"type": NATIONAL, "system": "urn:oid:1.2.3", "value": GOOD}], None),
        ([{"system": "urn:oid:1.2.3", "value": GOOD}], None),
        ([{"value": GOOD}], None),
        ([{"system": OID, "value": "110105194912310021"}], None),
        ([{"system": OID}], None),
        ([{"system": OID, "value": GOOD, "use": "old"}], None),
        ([{"system": OID, "value": OTHER, "use": "old"}, {"system": OID, "value": GOOD}], GOOD),
        ([{"system": OID, "value": OTHER}, {"system": OID, "value": GOOD}], None),
        ([{"system": OID, "value": "1"}, {"system": OID, "value": GOOD}], GOOD),
    ],
)
def test_the_number_of_a_patient(identifiers: list[dict[str, Any]], expected: str | None) -> None:
    assert resident_id({"resourceType": "Patient", "identifier": identifiers}) == expected


def test_a_patient_without_identifiers_has_none() -> None:
    assert resident_id({"resourceType": "Patient"}) is None
