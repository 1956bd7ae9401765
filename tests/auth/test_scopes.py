"""SMART scopes: what each way of writing one allows, and what is left of scopes that others limit."""

from __future__ import annotations

import pytest

from fhir_server.auth.scopes import Reach, Scope, Scopes, Way, narrowed

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LABORATORY = frozenset({f"category|{CATEGORY}|laboratory"})
EVERY = frozenset({"patient", "user", "system"})


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("patient/*.read", "rs"),
        ("user/Observation.write", "cud"),
        ("system/*.*", "cruds"),
        ("patient/Observation.rs", "rs"),
        ("user/Patient.cruds", "cruds"),
        ("user/Patient.c", "c"),
    ],
)
def test_scopes_of_both_versions_are_read(word: str, letters: str) -> None:
    scope = Scope.read(word)
    assert scope is not None
    assert scope.letters == letters
    assert str(Scope.read(str(scope))) == str(scope)


@pytest.mark.parametrize(
    "word",
    [
        "patient/Observation.sr",  # letters in another order
        "patient/Observation.rx",
        "patient/Observation.",
        "patient/observation.rs",
        "patient%2FObservation.rs",
        "patient//Observation.rs",
        "Patient/Observation.rs",
        "patient/Observation.read,user/*.*",
        "patient/Observation.rs?",
        "patient/Observation.rs?category",
        "patient/Observation.rs?category=",
        "patient/Observation.rs?code:not=x",
        "patient/Observation.rs?code:in=http://x",
        "patient/Observation.rs?status=final",
        "patient/Observation.rs?category=laboratory&foo=bar",
        "patient/Observation.rs?category=%FF",
        "patient/Observation.cud?category=laboratory",  # a scope with a search allows no writes
        "ｐatient/Observation.rs",
        "launch",
        "*",
    ],
)
def test_what_cannot_be_read_in_full_grants_nothing(word: str) -> None:
    assert Scope.read(word) is None
    assert not Scopes.parse(f"openid {word}").granted


def test_a_search_asks_for_one_of_the_values_of_each_parameter() -> None:
    scope = Scope.read(
        f"patient/Observation.cruds?category={CATEGORY}%7Claboratory,vital-signs&code=http://loinc.org|1-8"
    )
    assert scope is not None
    assert scope.letters == "rs"
    assert scope.terms == {
        frozenset({*LABORATORY, "category||vital-signs"}),
        frozenset({"code|http://loinc.org|1-8"}),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("patient/*.rs", {Way(Reach.PATIENT)}),
        ("patient/*.rs user/Observation.rs", {Way(Reach.FULL)}),
        ("patient/*.rs user/Condition.rs", {Way(Reach.PATIENT)}),
        ("patient/Observation.rs patient/Observation.rs?code=x", {Way(Reach.PATIENT)}),
        (f"patient/Observation.rs?category={CATEGORY}|laboratory", {Way(Reach.PATIENT, frozenset({LABORATORY}))}),
        (
            f"patient/Observation.rs user/Observation.rs?category={CATEGORY}|laboratory",
            {Way(Reach.PATIENT), Way(Reach.FULL, frozenset({LABORATORY}))},
        ),
        ("patient/Observation.c", set()),
    ],
)
def test_the_ways_that_scopes_open(text: str, expected: set[Way]) -> None:
    assert Scopes.parse(text).ways("Observation", "r", EVERY) == expected


def test_a_scope_of_another_context_opens_nothing() -> None:
    mixed = Scopes.parse("patient/*.rs user/*.rs system/*.rs")
    assert mixed.ways("Observation", "r", frozenset({"patient"})) == {Way(Reach.PATIENT)}


@pytest.mark.parametrize(
    ("asked", "allowed", "expected"),
    [
        ("patient/*.rs", "patient/*.rs", "patient/*.rs"),
        ("patient/*.read", "patient/*.cruds", "patient/*.read"),
        ("patient/*.cruds", "patient/*.read", "patient/*.rs"),
        ("patient/*.rs", "patient/Observation.rs patient/Condition.r", "patient/Condition.r patient/Observation.rs"),
        ("user/*.rs", "patient/*.rs", ""),
        ("patient/Observation.rs?code=x", "patient/*.rs", "patient/Observation.rs?code=x"),
        ("patient/Observation.cruds", "patient/Observation.rs?code=x", "patient/Observation.rs?code=x"),
        (
            "patient/Observation.rs?code=x",
            "patient/Observation.rs?category=y",
            "patient/Observation.rs?code=x&category=y",
        ),
        ("patient/Observation.rs?code:not=x", "patient/*.rs patient/Observation.rs?code:not=x", ""),
        ("openid fhirUser launch/patient offline_access", "openid launch/patient", "openid launch/patient"),
        ("openid openid", "openid", "openid"),
    ],
)
def test_scopes_are_narrowed_and_never_widened(asked: str, allowed: str, expected: str) -> None:
    assert narrowed(asked, allowed) == expected
