"""Token parameters: R4 Search, "token"."""

from dataclasses import dataclass

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import InValueSet, Not, Subsumed
from fhir_server.search.types.token import Coded, Token, forms, looked_up, terms_of
from tests.search.reading import BASE, PROJECT, ask, clause, finds

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "gender": "male",
    "identifier": [{"system": "urn:oid:1.2", "value": "11010119900101123X", "type": {"text": "居民身份证"}}],
    "telecom": [{"system": "phone", "value": "13800000000"}, {"value": "a@b.cn"}],
    "maritalStatus": {"coding": [{"system": "http://s", "code": "M"}, {"code": "bare"}], "text": "Married"},
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("gender=male", True),
        ("gender=http://hl7.org/fhir/administrative-gender|male", True),
        ("gender=http://hl7.org/fhir/administrative-gender|", True),
        ("gender=|male", True),
        ("gender=female,male", True),
        ("gender=mal", False),
        ("gender:not=male", False),
        ("gender:not=female,other", True),
        ("gender:missing=false", True),
        ("gender:missing=true", False),
        ("language:missing=true", True),
        ("language:not=fr", True),
        ("active=true", True),
        ("active=http://terminology.hl7.org/CodeSystem/special-values|true", True),
        ("active=false", False),
        ("deceased=false", True),
        ("identifier=11010119900101123x", True),
        ("identifier=urn:oid:1.2|11010119900101123X", True),
        ("identifier=URN:OID:1.2|11010119900101123X", False),
        ("identifier=|11010119900101123X", False),
        ("identifier=urn:oid:1.2|", True),
        ("identifier=urn:oid:1.3|", False),
        ("identifier:text=居民", True),
        ("identifier:text=身份", False),
        ("telecom=13800000000", True),
        ("telecom=phone|13800000000", True),
        ("telecom=|a@b.cn", True),
        ("phone=13800000000", True),
        ("phone=a@b.cn", False),
        ("email=13800000000", False),
        ("_id=p", True),
        ("_id=q,p", True),
        ("_id=P", False),
    ],
)
def test_a_patient_is_found_by_its_tokens(query: str, found: bool) -> None:
    assert finds(f"Patient?{query}", PATIENT) is found


def test_a_coding_is_found_by_display_and_the_concept_by_its_text() -> None:
    observation = {
        "resourceType": "Observation",
        "code": {
            "coding": [{"system": "http://loinc.org", "code": "8480-6", "display": "Systolic BP"}],
            "text": "收缩压",
        },
    }
    assert finds("Observation?code:text=systolic", observation)
    assert finds("Observation?code:text=收缩", observation)
    assert not finds("Observation?code:text=8480", observation)


def test_tags_and_security_labels_are_tokens_of_every_resource() -> None:
    meta = {"tag": [{"system": "urn:t", "code": "x"}], "security": [{"code": "R"}]}
    resource = {"resourceType": "Basic", "meta": meta}
    assert finds("Basic?_tag=urn:t|x", resource)
    assert finds("Basic?_security=r", resource)
    assert not finds("Basic?_security=urn:t|r", resource)


@pytest.mark.parametrize("value", ["|", "a,", ",", "a,,b"])
def test_a_token_needs_a_code_or_a_system(value: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Patient?gender={value}")


TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
TYPED = {
    "resourceType": "Patient",
    "identifier": [
        {"value": "A12", "type": {"coding": [{"system": TYPES, "code": "MR"}, {"system": "urn:t|x", "code": "card"}]}},
        {"value": "B7", "type": {"coding": [{"system": TYPES, "code": "PPN"}, {"code": "bare"}]}},
        {"type": {"coding": [{"system": TYPES, "code": "SS"}]}},
    ],
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"{TYPES}|MR|A12", True),
        (f"{TYPES}|mr|a12", True),
        (f"{TYPES}|MR|B7", False),
        (f"{TYPES}|PPN|B7", True),
        (r"urn:t\|x|card|A12", True),
        ("urn:t|card|A12", False),
        (f"{TYPES}|SS|A12", False),
        (f"{TYPES}|PPN|A12,{TYPES}|PPN|B7", True),
    ],
)
def test_an_identifier_is_found_by_one_of_its_types_and_its_value(query: str, found: bool) -> None:
    assert finds(f"Patient?identifier:of-type={query}", TYPED) is found


@pytest.mark.parametrize("value", ["MR|A12", f"{TYPES}|MR", f"{TYPES}||A12", f"|MR|{TYPES}", f"{TYPES}|MR|", "a|b|c|d"])
def test_of_type_needs_all_three_parts(value: str) -> None:
    with pytest.raises(InvalidSearchValue, match="three parts"):
        ask(f"Patient?identifier:of-type={value}")


def test_what_needs_terminology_is_left_to_the_planner() -> None:
    codes = "http://loinc.org"
    assert clause("Observation?code:in=http://v.org/s|1") == InValueSet("code", "http://v.org/s|1")
    assert clause(f"Observation?code:in={BASE}/ValueSet/1") == InValueSet("code", "ValueSet/1")
    assert clause("Observation?code:in=ValueSet/1") == InValueSet("code", "ValueSet/1")
    assert clause("Observation?code:not-in=urn:oid:1.2") == Not(InValueSet("code", "urn:oid:1.2"))
    assert clause(f"Observation?code:below={codes}|1-8") == Subsumed("code", codes, "1-8", above=False)
    assert clause(f"Observation?code:above={codes}|1-8") == Subsumed("code", codes, "1-8", above=True)


@pytest.mark.parametrize(
    "query", ["code:below=1-8", "code:above=|1-8", "code:below=http://loinc.org|", "code:in=mine", "code:not-in=mine"]
)
def test_hierarchies_need_the_system_and_value_sets_their_url(query: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Observation?{query}")


@dataclass
class ValueSet:
    codes: frozenset[tuple[str, str]]
    systems: frozenset[str]


@pytest.mark.parametrize(
    ("coded", "member"),
    [
        (Coded("urn:a", "x"), True),
        (Coded("urn:a", "X"), True),
        (Coded("urn:a", "y"), False),
        (Coded("urn:b", "x"), False),
        (Coded(None, "x"), False),
        (Coded(None, "x", implied="urn:a"), True),
        (Coded("urn:w|1", "anything"), True),
    ],
)
def test_a_member_of_a_value_set_is_filed_under_one_of_its_terms(coded: Coded, member: bool) -> None:
    members = ValueSet(frozenset({("urn:a", "x"), ("urn:a", "z")}), frozenset({"urn:w|1"}))
    filed = {f"code{form}" for form in forms(coded)}
    assert (not filed.isdisjoint(terms_of("code", members))) is member


@pytest.mark.parametrize("modifier", ["exact", "contains", "identifier", "nonsense", ""])
def test_other_modifiers_are_refused(modifier: str) -> None:
    with pytest.raises(UnsupportedParameter):
        ask(f"Patient?gender:{modifier}=x")


@pytest.mark.parametrize(
    ("coded", "asked"),
    [
        (Coded("a|b", "c"), Token("a", "b|c")),
        (Coded("-", "c"), Token("", "c")),
        (Coded(None, "c"), Token("-", "c")),
        (Coded("a", "|b"), Token("a|", "b")),
        (Coded("a\\", "b"), Token("a\\\\", "b")),
    ],
)
def test_forms_of_different_meaning_never_collide(coded: Coded, asked: Token) -> None:
    assert looked_up(asked) not in {*forms(coded)}


def test_an_escaped_separator_is_part_of_the_value() -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "s|1", "value": "a,b$c\\d"}]}
    assert finds(r"Patient?identifier=s\|1|a\,b\$c\\d", patient)
    assert not finds(r"Patient?identifier=s|1|a\,b\$c\\d", patient)


def test_the_contract_of_terms() -> None:
    assert {"gender||male", "gender|-|male", "gender:present|"} <= PROJECT(PATIENT).terms
