"""The engine as the server calls it: what is corrected of the library, and what never gets out of it."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.fhirpath import EvaluationFailed, InvalidExpression, compiled

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "birthDate": "1990-01-01",
    "_birthDate": {"extension": [{"url": "urn:x", "valueString": "y"}]},
    "name": [{"family": "Zhang", "given": ["San"]}, {"family": "Zhang", "given": ["Si"]}],
    "contact": [{"_gender": {"extension": [{"url": "urn:absent", "valueCode": "asked"}]}}],
}


def given(expression: str, node: Any = PATIENT) -> list[Any]:
    return [getattr(each, "data", each) for each in compiled(expression)(node)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(1 | 2) = (1 | 3)", [False]),
        ("(1 | 2) = (1 | 2)", [True]),
        ("(1 | 2) != (1 | 3)", [True]),
        ("(1 | 2) = 1", [False]),
        ("name.given = name.given", [True]),
        ("birthDate = @1990-01-01", [True]),  # its extension stands beside it and does not count
        ("(1 | 2 | 3) ~ (3 | 1 | 2)", [True]),
        ("(1 | 2) !~ (2 | 3)", [True]),
        ("{} ~ {}", [True]),
        ("3 'cm' > 20 'mm'", [True]),
        ("3 'cm' > 20 'kg'", []),
        ("1.5.round()", [2]),
        ("2.345.round(2)", [2.35]),
        ("birthDate.hasValue()", [True]),
        ("contact.gender.hasValue()", [False]),
        ("name.family.first().hasValue()", [True]),
        ("name.first().hasValue()", [False]),
        ("name.family.first().getValue()", ["Zhang"]),
        ("contact.gender.getValue()", []),
        ("true.toString()", ["true"]),
        ("name.first().toString()", []),
        ("iif(name.exists(), 'a', name.single())", ["a"]),  # the other branch would fail
        ("%`vs-administrative-gender`", ["http://hl7.org/fhir/ValueSet/administrative-gender"]),
        ("%resource.id", ["p"]),
    ],
)
def test_an_expression_gives_what_fhirpath_says(expression: str, expected: list[Any]) -> None:
    assert [float(each) if isinstance(expected[0], float) else each for each in given(expression)] == expected


@pytest.mark.parametrize(
    "expression", ["name.single()", "name.not()", "name.given.startsWith('S')", "name.given.upper()"]
)
def test_what_is_an_error_on_this_resource_raises_without_its_content(expression: str) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        given(expression)
    assert not any(text in str(failed.value) for text in ("Zhang", "San", "1990"))


@pytest.mark.parametrize(
    "expression", ["", "name.", "name; drop", "name.nosuch()", "2 + 2 /* not ended", "name.where(x.y())"]
)
def test_what_is_no_fhirpath_is_refused_before_it_runs(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        compiled(expression)


def test_trace_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert given("name.given.trace('names').count()") == [2]
    assert capsys.readouterr().out == ""


def test_the_resource_may_be_another_than_the_node() -> None:
    assert compiled("%resource.id")({"family": "x"}, PATIENT)[0].data == "p"
