"""Token parameters: R4 Search, "token"."""

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.token import Coded, Token, forms, looked_up
from tests.search.reading import PROJECT, ask, finds

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


@pytest.mark.parametrize("modifier", ["in", "not-in", "above", "below", "exact", "of-type", "nonsense", ""])
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
