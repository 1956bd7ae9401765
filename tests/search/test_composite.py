"""Composite parameters: R4 Search, "composite"."""

from typing import Any

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from tests.search.reading import ask, finds

LOINC = "http://loinc.org"


def concept(*codes: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code} for code in codes]}


BLOOD_PRESSURE: dict[str, Any] = {
    "resourceType": "Observation",
    "code": concept("85354-9"),
    "component": [
        {"code": concept("8480-6", "sys"), "valueQuantity": {"value": 140, "code": "mm[Hg]"}},
        {"code": concept("8462-4"), "valueQuantity": {"value": 90, "code": "mm[Hg]"}},
        {"code": concept("note"), "valueCodeableConcept": concept("high")},
    ],
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("component-code-value-quantity=8480-6$140", True),
        ("component-code-value-quantity=8480-6$90", False),
        (f"component-code-value-quantity={LOINC}|8462-4$lt100", True),
        ("component-code-value-quantity=8480-6$gt120||mm[Hg]", True),
        ("component-code-value-quantity=8480-6$gt120||kPa", False),
        ("component-code-value-quantity=sys$ne140", False),
        ("component-code-value-quantity=8462-4$ne140", True),
        ("combo-code-value-quantity=8480-6$ge140", True),
        ("code-value-quantity=8480-6$ge140", False),
        ("component-code-value-concept=note$high", True),
        ("component-code-value-concept=8480-6$high", False),
        ("component-code-value-concept=high$note", False),
        ("component-code-value-concept=note$note", False),
        ("component-code-value-quantity=8462-4$140,8480-6$140", True),
        ("component-code-value-quantity:missing=false", True),
        ("code-value-quantity:missing=true", True),
    ],
)
def test_the_parts_hold_of_one_component(query: str, found: bool) -> None:
    assert finds(f"Observation?{query}", BLOOD_PRESSURE) is found


def test_parts_of_text_and_date() -> None:
    said = {"resourceType": "Observation", "code": concept("c"), "valueString": "Très bien"}
    assert finds("Observation?code-value-string=c$tres", said)
    assert not finds("Observation?code-value-string=c$bien", said)
    dated = {"resourceType": "Observation", "code": concept("c"), "valueDateTime": "2020-05"}
    assert finds("Observation?code-value-date=c$ge2020", dated)
    assert not finds("Observation?code-value-date=c$2021", dated)


def test_a_part_may_be_a_reference() -> None:
    document = {
        "resourceType": "DocumentReference",
        "relatesTo": [
            {"code": "replaces", "target": {"reference": "DocumentReference/1"}},
            {"code": "signs", "target": {"reference": "DocumentReference/2"}},
        ],
    }
    assert finds("DocumentReference?relationship=DocumentReference/1$replaces", document)
    assert finds("DocumentReference?relationship=2$signs", document)
    assert not finds("DocumentReference?relationship=DocumentReference/2$replaces", document)


def test_parts_of_one_element_are_not_those_of_another() -> None:
    codes = ("replaces", "transforms", "signs", "appends") * 5
    document = {
        "resourceType": "DocumentReference",
        "relatesTo": [
            {"code": code, "target": {"reference": f"DocumentReference/{at}"}} for at, code in enumerate(codes)
        ],
    }
    for at, code in enumerate(codes):
        for other in set(codes):
            assert finds(f"DocumentReference?relationship={at}${other}", document) is (code == other)


@pytest.mark.parametrize("value", ["a", "a$", "$1", "a$1$2", "a$x", r"a\$1"])
def test_the_number_of_parts_is_that_of_the_definition(value: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Observation?code-value-quantity={value}")


def test_what_the_index_cannot_answer_is_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        ask("Observation?code-value-string=c$" + "x" * 33)
    with pytest.raises(UnsupportedParameter):
        ask("Observation?code-value-quantity:exact=a$1")


SEQUENCE = {
    "resourceType": "MolecularSequence",
    "coordinateSystem": 0,
    "referenceSeq": {
        "chromosome": concept("1"), "referenceSeqId": concept("NC_1"), "windowStart": 100, "windowEnd": 900
    },
    "variant": [{"start": 200, "end": 210}, {"start": 500, "end": 505}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("chromosome-variant-coordinate=1$200$210", True),
        ("chromosome-variant-coordinate=1$gt100$lt300", True),
        ("chromosome-variant-coordinate=1$200$505", False),
        ("chromosome-variant-coordinate=1$ge500$le500", False),
        ("chromosome-variant-coordinate=2$200$210", False),
        ("chromosome-variant-coordinate=1$ne200$ne505", False),
        ("chromosome-variant-coordinate=1$ne200$505,2$1$1", True),
        (f"chromosome-window-coordinate={LOINC}|1$lt200$gt800", True),
        ("chromosome-window-coordinate=1$lt200$gt900", False),
        ("referenceseqid-variant-coordinate=NC_1$gt400$lt600", True),
        ("referenceseqid-window-coordinate=nc_1$100$900", True),
        ("referenceseqid-window-coordinate=nc_1$900$100", False),
        ("referenceseqid-window-coordinate:missing=false", True),
    ],
)
def test_two_ranges_hold_of_one_element(query: str, found: bool) -> None:
    assert finds(f"MolecularSequence?{query}", SEQUENCE) is found


def test_an_element_without_one_of_its_ranges_is_missing() -> None:
    open_ended = {"resourceType": "MolecularSequence", "referenceSeq": {"chromosome": concept("1"), "windowStart": 1}}
    assert finds("MolecularSequence?chromosome-window-coordinate:missing=true", open_ended)
