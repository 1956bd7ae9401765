"""HL7's own FHIRPath test cases (shared/data/fhir-test-cases/r4/fhirpath) through the engine that the server uses.

Every row gives what the row says, or stands in one of the two tables below with the text that is followed instead or
the limit that is known. The tables are exact: a row that is listed and passes fails the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any
from xml.etree import ElementTree

import pytest

from fhir_server.fhirpath import EvaluationFailed, InvalidExpression, compiled
from fhir_server.xml.read import from_xml
from tests.shared import needed

R4 = needed("data", "fhir-test-cases", "r4")

# R4 uses FHIRPath release 2 (N1), which does not have these functions: they came with version 3. An expression that calls
# one is refused when it is stored or sent, never evaluated to something else.
LATER = "comparable defineVariable escape highBoundary lowBoundary matchesFull precision sort unescape".split()
# R4's own conformsTo() needs a validator of profiles, which is not part of this version: refused likewise.
REFUSED = (*LATER, "conformsTo")

OTHERWISE = {
    "N1 2.2 and 10 leave strict evaluation (type errors found before there is data) to the implementation; here an "
    "unknown name is empty in evaluation, and refused where a SearchParameter is compiled (search/expressions/compiled.py)": (
        "testBasics/testSimpleFail testBasics/testSimpleWithWrongContext testObservations/testPolymorphismB "
        "testObservations/testPolymorphismAsB testDollar/testDollarOrderNotAllowed polymorphics/testPolymorphicsB "
        "testInheritance/testFHIRPathAsFunction23 testInheritance/testFHIRPathAsFunction24"
    ),
    "N1 4.5: where a boolean is expected, one item that is not a boolean counts as true; and 5.5.1 says nothing of how "
    "many items iif() is called on": "testIif/testIif6 testIif/testIif10",
    "the library has no type of its own for dates: a date literal is a DateTime, which changes no comparison": (
        "testLiterals/testLiteralDateYear testLiterals/testLiteralDateMonth testLiterals/testLiteralDateDay"
    ),
    "the library's grammar does not take a DateTime without a time (@2015T): refused, not misread": (
        "testLiterals/testLiteralDateTimeYear testLiterals/testLiteralDateTimeMonth testLiterals/testLiteralDateTimeDay"
    ),
    "the library reads an offset after a time of day, which N1 does not have, and ignores it": (
        "testLiterals/testLiteralTimeUTC testLiterals/testLiteralTimeTimezoneOffset"
    ),
    "a date against an instant with an offset, or an instant without against one with an offset: the library answers "
    "'not equal' where N1 6.1.1 says unknown; no constraint or parameter of R4 compares so": (
        "testLiterals/testDateNotEqualTimezoneOffsetBefore testLiterals/testDateNotEqualTimezoneOffsetAfter "
        "testLiterals/testDateNotEqualUTC testLiterals/testDateTimeGreaterThanDate2 testEquality/testEquality23 "
        "testNEquality/testNEquality17"
    ),
    "the library reads the literal 1.0 as the number 1: the value is right, the type and the digits are lost": (
        "testTypes/testDecimalLiteralIsDecimal testTypes/testDecimalLiteralToString testToString/testToString4"
    ),
    "the library counts a calendar year or month as equal to UCUM's": (
        "testTypes/testStringQuantityMonthLiteralToQuantity testTypes/testStringQuantityYearLiteralToQuantity"
    ),
    "N1 6.6 makes arithmetic with quantities optional beyond one unit; refused, not miscalculated": (
        "testQuantity/testQuantity9 testQuantity/testQuantity10 testQuantity/testQuantity11 testAbs/testAbs3 "
        "testMinus/testMinus5"
    ),
    "the same instant, written in UTC instead of the offset of the literal": (
        "testPlus/testPlusDate3 testPlus/testPlusDate4 testPlus/testPlusDate5 testPlus/testPlusDate6 "
        "testPlus/testPlusDate7 testPlus/testPlusDate8 testPlus/testPlusDate18 testPlus/testPlusDate19 "
        "testPlus/testPlusDate20 testPlus/testPlusDate21 testPlus/testPlusDate22"
    ),
    "within a function's argument the library binds $this to the root, not to the item at hand, when the function "
    "takes a collection": "testSubSetOf/testSubSetOf3",
    "the library binds `is` and `|` otherwise than N1 6.7 has it: write brackets": (
        "testPrecedence/testPrecedence3 testPrecedence/testPrecedence4"
    ),
    "the library does not apply singleton evaluation to the operands of `and`: an error, not an answer": (
        "from-Zulip/from-zulip-1"
    ),
    "dateTimes of a different precision are not comparable by N1 6.2, so the constraint holds nothing against them; "
    "the library has all() take unknown for true": "period/testPeriodInvariantOld",
    "the library has `code` count as a `string` in as() and ofType() too, as it must in is()": (
        "testInheritance/testFHIRPathAsFunction11 testInheritance/testFHIRPathAsFunction16"
    ),
    "the library lists the extensions of a primitive as an item of its own": "miscEngineTests/testPrimitiveExtensions",
}
LISTED = {name: reason for reason, names in OTHERWISE.items() for name in names.split()}


@dataclass(frozen=True)
class Case:
    """One row: the resource it runs on, the expression, what it gives; invalid: an error is expected."""

    name: str
    resource: str | None
    expression: str
    predicate: bool
    invalid: bool
    gives: tuple[str, ...]


def _cases() -> Iterator[Case]:
    for group in ElementTree.parse(R4 / "fhirpath" / "tests-fhir-r4.xml").getroot().iter("group"):
        for test in group.iter("test"):
            expression = test.find("expression")
            assert expression is not None
            yield Case(
                name=f"{group.get('name')}/{test.get('name')}",
                resource=test.get("inputfile"),
                expression=expression.text or "",
                predicate=test.get("predicate") == "true",
                invalid=expression.get("invalid") is not None,
                gives=tuple((output.text or "").removeprefix("@") for output in test.iter("output")),
            )


CASES = tuple(_cases())


@cache
def _resource(name: str | None) -> Any:
    if name is None:
        return {}
    found = (R4 / name).read_bytes()
    return json.loads(found) if name.endswith(".json") else from_xml(found)


def _given(case: Case) -> list[Any] | None:
    """Return what the expression gives; None for an error."""
    try:
        values = compiled(case.expression)(_resource(case.resource))
    except (InvalidExpression, EvaluationFailed):
        return None
    plain = [getattr(each, "data", each) for each in values]
    if case.predicate:  # a predicate asks whether there is something that is not false
        return [bool(plain) and plain != [False]]
    return plain


def _same(given: Any, expected: str) -> bool:
    match given:
        case bool():
            return str(given).lower() == expected
        case int() | float() | Decimal():
            return Decimal(str(given)) == Decimal(expected)
    return str(given) == expected


def _agrees(case: Case) -> bool:
    given = _given(case)
    if case.invalid or given is None:
        return case.invalid and given is None
    return len(given) == len(case.gives) and all(map(_same, given, case.gives))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_expression_gives_what_the_case_says(case: Case) -> None:
    if any(f"{name}(" in case.expression for name in REFUSED):
        with pytest.raises(InvalidExpression):
            compiled(case.expression)
    else:
        assert _agrees(case) == (case.name not in LISTED), LISTED.get(case.name, _given(case))


def test_all_cases_are_there_and_every_listed_row_is_one_of_them() -> None:
    assert len(CASES) == 935  # the file has two more, commented out
    assert LISTED.keys() <= {case.name for case in CASES}
