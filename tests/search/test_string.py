"""String parameters: R4 Search, "string"."""

from typing import Any

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Filed, Text
from fhir_server.search.types.string import LONGEST, folded
from tests.search.reading import PROJECT, ask, clause, finds

LONG = "北京市海淀区中关村大街一号院二号楼三单元四层五零一室转六号信箱收发室代收请电话联系"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "name": [
        {"text": "张三", "family": "张", "given": ["三"]},
        {"family": "Müller", "given": ["José María"], "prefix": ["Dr."], "suffix": ["PhD"]},
    ],
    "address": [{"text": LONG, "city": "北京", "postalCode": "100080", "use": "home"}],
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=张", True),
        ("name=张三", True),
        ("name=三", True),
        ("name=张三丰", False),
        ("name=mull", True),
        ("name=MÜLL", True),
        ("name=jose maria", True),
        ("name=maria", False),
        ("name=dr", True),
        ("name=phd", True),
        ("family=jose", False),
        ("given=JOSÉ", True),
        ("name:exact=Müller", True),
        ("name:exact=Muller", False),
        ("name:exact=Mül", False),
        ("name:contains=aria", True),
        ("name:contains=x", False),
        ("name:missing=false", True),
        ("address=home", False),
        ("address=北京市海淀区", True),
        ("address-postalcode=1000", True),
        (f"address={LONG}", True),
        (f"address={LONG[:-1]}", True),
        (f"address={LONG}外", False),
        (f"address={LONG[: LONGEST + 1]}外", False),
        (f"address:exact={LONG}", True),
        (f"address:exact={LONG[:-1]}", False),
        ("address-city:contains=京", True),
        ("name=ｍｕｌｌｅｒ", True),
    ],
)
def test_a_patient_is_found_by_names_and_addresses(query: str, found: bool) -> None:
    assert finds(f"Patient?{query}", PATIENT) is found


def test_every_beginning_up_to_32_characters_is_one_term() -> None:
    terms = PROJECT(PATIENT).terms
    assert {f"address|{LONG[:n]}" for n in range(1, LONGEST + 1)} <= terms
    assert f"address|{LONG[: LONGEST + 1]}" not in terms
    assert "address:exact|" + LONG in terms


def test_only_what_is_longer_than_filed_is_checked_on_the_body() -> None:
    assert isinstance(clause(f"Patient?address={LONG[:LONGEST]}"), Filed)
    assert isinstance(clause(f"Patient?address={LONG[: LONGEST + 1]}"), Text)


@pytest.mark.parametrize(
    ("text", "same"),
    [("Ångström", "ANGSTROM"), ("straße", "STRASSE"), ("ﬁn", "FIN"), ("한국", "한국"), ("İ", "i"), ("a  b", " a b ")],
)
def test_case_accents_and_width_do_not_count(text: str, same: str) -> None:
    assert folded(text) == folded(same)


@pytest.mark.parametrize(("one", "other"), [("が", "か"), ("张", "章"), ("𠮷", "吉")])
def test_letters_stay_what_they_are(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@pytest.mark.parametrize("text", [".*", "^", "$where", '{"$ne":1}', "%", "*", "[a-z]", "\\", "(?i)m"])
def test_text_is_compared_never_interpreted(text: str) -> None:
    from urllib.parse import quote

    assert not finds(f"Patient?name={quote(text)}", PATIENT)
    assert not finds(f"Patient?name:contains={quote(text)}", PATIENT)
    named = {"resourceType": "Patient", "name": [{"text": text + "x"}]}
    assert finds(f"Patient?name={quote(text.replace(chr(92), chr(92) * 2).replace('$', chr(92) + '$'))}", named)


@pytest.mark.parametrize("value", ["%20", "%CC%81"])
def test_a_value_of_which_nothing_is_left_is_refused(value: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Patient?name={value}")


def test_other_modifiers_are_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        ask("Patient?name:text=x")
