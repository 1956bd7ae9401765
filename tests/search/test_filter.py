"""_filter: its syntax, and what it asks for (FHIR R4, "_filter parameter"); the examples of that page among them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from fhir_server.errors import InvalidSearchValue, Problem, TooCostly, UnsupportedParameter
from fhir_server.search.ast import And, Chain, Clause, Filed, Not, Or, PersonReference
from fhir_server.search.filter.syntax import AllOf, AnyOf, Filter, Negated, ParamExp, Step, read
from tests.search.reading import ask, clause, finds

Json = dict[str, Any]


def expression(path: str, operator: str, value: str) -> ParamExp:
    return ParamExp(tuple(Step(name) for name in path.split(".")), operator, value)


A, B, C = expression("a", "eq", "1"), expression("b", "eq", "2"), expression("c", "eq", "3")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('name co "pet"', expression("name", "co", "pet")),
        ("birthdate ge 2014-10-10", expression("birthdate", "ge", "2014-10-10")),
        ("code eq http://loinc.org|1234-5", expression("code", "eq", "http://loinc.org|1234-5")),
        ('subject.name co "pet"', expression("subject.name", "co", "pet")),
        ("a-b_c._id eq x", expression("a-b_c._id", "eq", "x")),
        (
            "related[type eq has-component].target pr false",
            ParamExp(
                (Step("related", within=expression("type", "eq", "has-component")), Step("target")), "pr", "false"
            ),
        ),
        ("s:Patient.name eq x", ParamExp((Step("s", "Patient"), Step("name")), "eq", "x")),
        (r'a eq "x) ] \" \\ 张"', expression("a", "eq", 'x) ] " \\ 张')),
        ('a eq ""', expression("a", "eq", "")),
        ("a eq and", expression("a", "eq", "and")),
        ("a eq 1 and b eq 2", AllOf((A, B))),
        ("a eq 1 and b eq 2 and c eq 3", AllOf((A, B, C))),
        ("a eq 1 and b eq 2 or c eq 3", AnyOf((AllOf((A, B)), C))),
        ("a eq 1 or b eq 2 and c eq 3", AllOf((AnyOf((A, B)), C))),
        ("a eq 1 or (b eq 2 and c eq 3)", AnyOf((A, AllOf((B, C))))),
        ("  ( a  eq 1 )  ", A),
        ("(a eq 1)and(b eq 2)", AllOf((A, B))),
        ("not (a eq 1)", Negated(A)),
        ("not(a eq 1 or not (b eq 2))", Negated(AnyOf((A, Negated(B))))),
        ("a[b eq 2 and c eq 3].d eq 4", ParamExp((Step("a", within=AllOf((B, C))), Step("d")), "eq", "4")),
        ("not eq x", None),
    ],
)
def test_the_syntax(text: str, tree: Filter | None) -> None:
    if tree is None:
        with pytest.raises(InvalidSearchValue):
            read(text)
    else:
        assert read(text) == tree


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", 1),
        ("name", 5),
        ("name co", 8),
        ("name xx secret", 6),
        ("name eq secret secret", 16),
        ("name eq secret and", 19),
        ("(name eq secret", 16),
        ("name eq secret)", 15),
        ("name eq (secret)", 16),
        ("not name eq secret", 5),
        ('name eq "secret', 9),
        (r'name eq "\q"', 9),
        (r'name eq "\ud800"', 9),
        ("subject[name eq secret] eq x", 24),
        ("subject[name eq secret.x eq y", 26),
        ("subject. eq x", 9),
        ("subject:Patient eq x", 16),
        ("9name eq x", 1),
        ("name.family:exact eq x", 18),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, at: int) -> None:
    with pytest.raises(InvalidSearchValue, match=f"character {at}:") as refused:
        read(text)
    assert "secret" not in refused.value.diagnostics


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "not (" * 100_000,
        "a[" * 100_000,
        " and ".join(["a eq 1"] * 101),
        ".".join(["a"] * 100_000) + " eq 1",
    ],
)
def test_the_size_has_a_limit(text: str) -> None:
    with pytest.raises(TooCostly):
        read(text)


def filtered(type: str, text: str) -> Clause:
    return clause(f"{type}?_filter={quote(text)}")


def asked(query: str, name: str, value: str) -> Clause:
    return clause(f"{query}?{name}={quote(value)}")


@pytest.mark.parametrize(
    ("type", "text", "name", "value"),
    [
        # an operator, and the ordinary parameter that asks the same
        ("Patient", 'given co "pet"', "given:contains", "pet"),
        ("Patient", 'given sw "pet"', "given", "pet"),
        ("Patient", "birthdate ge 2014-10-10", "birthdate", "ge2014-10-10"),
        ("Patient", "birthdate eq 2014", "birthdate", "2014"),
        ("Patient", "birthdate ne 2014", "birthdate", "ne2014"),
        ("Patient", "birthdate sa 2014", "birthdate", "sa2014"),
        ("Patient", "birthdate eb 2014", "birthdate", "eb2014"),
        ("Patient", "birthdate ap 2014", "birthdate", "ap2014"),
        ("Patient", "birthdate pr true", "birthdate:missing", "false"),
        ("Patient", "name pr true", "name:missing", "false"),
        ("Patient", "_id eq a", "_id", "a"),
        ("Patient", "_id ne a", "_id:not", "a"),
        ("Patient", "_lastUpdated gt 2024-01-01T00:00:00Z", "_lastUpdated", "gt2024-01-01T00:00:00Z"),
        ("Patient", 'name sw "a,b"', "name", r"a\,b"),
        ("Patient", r'name sw "a\\b"', "name", r"a\\b"),
        ("Patient", "active eq true", "active", "true"),
        ("Patient", "general-practitioner re Practitioner/1", "general-practitioner", "Practitioner/1"),
        ("Patient", 'organization.name co "x"', "organization.name:contains", "x"),
        ("Patient", "organization:Organization.partof._id eq x", "organization.partof._id", "x"),
        ("Observation", "code eq http://loinc.org|1234-5", "code", "http://loinc.org|1234-5"),
        ("Observation", "code in http://a.org/vs", "code:in", "http://a.org/vs"),
        ("Observation", "code ni http://a.org/vs", "code:not-in", "http://a.org/vs"),
        ("Observation", "code ss http://a.org|1", "code:below", "http://a.org|1"),
        ("Observation", "code sb http://a.org|1", "code:above", "http://a.org|1"),
        ("Observation", "subject re Patient/1", "subject", "Patient/1"),
        ("Observation", "subject eq Patient/1", "subject", "Patient/1"),
        ("Observation", "value-quantity gt 5.4|http://unitsofmeasure.org|mg", "value-quantity",
         "gt5.4|http://unitsofmeasure.org|mg"),
        ("RiskAssessment", "probability gt 0.8", "probability", "gt0.8"),
        ("ValueSet", "url eq http://a.org", "url", "http://a.org"),
        ("ValueSet", "url ss http://a.org", "url:below", "http://a.org"),
        ("ValueSet", "url sb http://a.org", "url:above", "http://a.org"),
        ("Observation", "code-value-quantity[code eq loinc|1].value-quantity gt 5", "code-value-quantity", "loinc|1$gt5"),
        ("Observation", 'code-value-string[value-string sw "a$b"].code eq x', "code-value-string", r"x$a\$b"),
        ("Observation", 'code-value-string[code eq "a$b"].value-string sw "c"', "code-value-string", r"a\$b$c"),
        ("Observation", r'code-value-string[code eq "a\\$b"].value-string sw "c\\"', "code-value-string", r"a\$b$c\\"),
        ("DocumentReference", "relationship[relation eq replaces].relatesto re DocumentReference/1", "relationship",
         "DocumentReference/1$replaces"),
    ],
)  # fmt: skip
def test_an_operator_asks_what_an_ordinary_parameter_asks(type: str, text: str, name: str, value: str) -> None:
    assert filtered(type, text) == asked(type, name, value)


def test_words_join_clauses() -> None:
    male, active = clause("Patient?gender=male"), clause("Patient?active=true")
    assert filtered("Patient", "gender eq male and active eq true") == And((male, active))
    assert filtered("Patient", "gender eq male or active eq true") == Or((male, active))
    assert filtered("Patient", "not (gender eq male)") == Not(male)
    assert filtered("Patient", "gender pr false") == Not(Not(clause("Patient?gender:missing=true")))
    assert isinstance(filtered("Patient", "gender eq male or gender eq female"), Filed)


def test_several_conditions_can_be_of_the_same_target() -> None:
    asked = filtered("Observation", 'subject:Patient[birthdate ge 2000 and gender eq male].name sw "li"')
    assert isinstance(asked, Chain)
    inner = clause("Patient?birthdate=ge2000&gender=male")
    assert asked.clause_by_target == (("Patient", And((inner, clause("Patient?name=li")))),)
    absent = filtered("Observation", "subject:Patient.birthdate pr false")
    assert absent == Not(filtered("Observation", "subject:Patient.birthdate pr true"))


def test_a_patient_means_the_person_here_too() -> None:
    assert isinstance(filtered("Observation", "patient eq 1"), PersonReference)


def called(*names: str) -> Json:
    return {"resourceType": "Patient", "id": "p", "name": [{"family": name} for name in names]}


@pytest.mark.parametrize(
    ("resource", "text", "found"),
    [
        (called("Peter"), 'family eq "peter"', True),
        (called("Peter"), "family eq PETER", True),
        (called("Peters"), 'family eq "peter"', False),
        (called("Pe"), 'family eq "peter"', False),
        (called("x" * 40), f"family eq {'x' * 40}", True),
        (called("x" * 40), f"family eq {'x' * 39}", False),
        (called("Peter"), 'family ew "ter"', True),
        (called("Peter"), 'family ew "pet"', False),
        (called("欧阳修"), "family ew 修", True),
        (called("Peter"), 'family ne "peter"', False),
        (called("Peter", "Paul"), 'family ne "peter"', True),
        (called("Peter", "Paul"), 'not (family eq "peter")', False),
        (called(), 'family ne "peter"', False),
        (called(), "family pr false", True),
        (called("x"), "family pr false", False),
        ({"resourceType": "Patient", "gender": "male"}, "gender ne female", True),
        ({"resourceType": "Patient", "gender": "male"}, "gender ne male", False),
        ({"resourceType": "Patient"}, "gender ne male", False),
        ({"resourceType": "Patient", "identifier": [{"value": "1"}]}, "identifier ne 1", False),
        ({"resourceType": "Patient", "identifier": [{"value": "1"}, {"value": "2"}]}, "identifier ne 1", True),
        ({"resourceType": "Patient", "birthDate": "2014"}, "birthdate po 2014-05", True),
        ({"resourceType": "Patient", "birthDate": "2014"}, "birthdate po 2015", False),
        ({"resourceType": "ValueSet", "url": "http://a.org/b"}, "url sw http://a.org", True),
        ({"resourceType": "ValueSet", "url": "http://a.org/b"}, "url ew /b", True),
        ({"resourceType": "ValueSet", "url": "http://a.org/b"}, "url co .org", True),
        ({"resourceType": "ValueSet", "url": "http://a.org/b"}, "url co .*", False),
        ({"resourceType": "ValueSet", "url": "http://a.org/b"}, "url ne http://a.org/b", False),
        ({"resourceType": "Encounter", "class": {"code": "a"}}, "class ne b", True),
    ],
)
def test_what_an_operator_finds(resource: Json, text: str, found: bool) -> None:
    assert finds(f"{resource['resourceType']}?_filter={quote(text)}", {"id": "x", **resource}) is found


@pytest.mark.parametrize(
    ("type", "text", "problem"),
    [
        ("Patient", "colour eq red", UnsupportedParameter),
        ("Patient", "organization.colour eq red", UnsupportedParameter),
        ("Patient", "name.family eq red", UnsupportedParameter),
        ("Patient", "organization:Patient.name eq red", UnsupportedParameter),
        ("Patient", "_filter eq red", UnsupportedParameter),
        ("Patient", "_list eq red", UnsupportedParameter),
        ("Patient", "name gt red", UnsupportedParameter),
        ("Patient", "gender sw red", UnsupportedParameter),
        ("Patient", "birthdate co red", UnsupportedParameter),
        ("Patient", "organization co red", UnsupportedParameter),
        ("Patient", "_id co red", UnsupportedParameter),
        ("Patient", "birthdate ge red", InvalidSearchValue),
        ("Patient", "birthdate po red", InvalidSearchValue),
        ("Patient", "name pr red", InvalidSearchValue),
        ("Patient", 'name eq ""', InvalidSearchValue),
        ("Patient", 'gender eq ""', InvalidSearchValue),
        ("Observation", "code-value-quantity.value-quantity gt 5", UnsupportedParameter),
        ("Observation", "code-value-quantity[code eq red].code eq red", UnsupportedParameter),
        ("Observation", "code-value-quantity[code eq a or code eq b].value-quantity gt 5", UnsupportedParameter),
        ("Observation", "code-value-quantity[code eq a and code eq b].value-quantity gt 5", UnsupportedParameter),
        ("Observation", "code-value-quantity[not (code eq a)].value-quantity gt 5", UnsupportedParameter),
        (
            "Observation",
            "code-value-quantity[code eq a and (code eq b or code eq c)].value-quantity gt 5",
            UnsupportedParameter,
        ),
        ("Observation", "code-value-quantity[code ne red].value-quantity gt 5", UnsupportedParameter),
        ("Observation", "code-value-quantity eq red$5", UnsupportedParameter),
        ("Observation", "code-value-quantity:Patient[code eq a].value-quantity gt 5", UnsupportedParameter),
        ("Provenance", " or ".join(["target._tag eq red"] * 30), TooCostly),
    ],
)
def test_what_is_refused(type: str, text: str, problem: type[Problem]) -> None:
    for lenient in (False, True):
        with pytest.raises(problem) as refused:
            ask(f"{type}?_filter={quote(text)}", lenient=lenient)
        assert "red" not in refused.value.diagnostics.replace("referred", "")
