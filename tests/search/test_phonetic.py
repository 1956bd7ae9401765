"""The parameter phonetic: names that sound alike."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from fhir_server.errors import InvalidSearchValue, TooCostly, UnsupportedParameter
from tests.search.reading import ask, finds


@pytest.mark.parametrize(
    ("name", "asked", "found"),
    [
        ("张三丰", "zhangsanfeng", True),
        ("张三丰", "zang san fen", False),  # the given name is one word
        ("张三丰", "zang sanfen", True),
        ("张三丰", "zansanfeng", True),
        ("张三丰", "章", True),
        ("张三丰", "张珊峰", True),
        ("张三丰", "chang", False),
        ("张三丰", "feng", False),
        ("刘丽", "niu ni", True),
        ("刘丽", "liuli", True),
        ("程红", "chen", True),
        ("陈红", "cheng hong", True),
        ("黄飞", "fang", True),
        ("胡海", "fu hai", True),
        ("欧阳锋", "ouyan", True),
        ("欧阳锋", "feng", True),
        ("单田芳", "shan tianfan", True),
        ("吕布", "lu bu", True),
        ("吕布", "lyu bu", True),
        ("王", "huang", False),
        ("John Smith", "jon smyth", True),
        ("John Smith", "Schmidt", False),
        ("José Müller", "jose muller", True),
        ("José Müller", "muller", True),
        ("Catherine", "Katherine", True),
        ("Li 明", "ming", True),
    ],
)
def test_names_that_sound_alike_are_found(name: str, asked: str, found: bool) -> None:
    patient = {"resourceType": "Patient", "name": [{"text": name}]}
    assert finds(f"Patient?phonetic={quote(asked)}", patient) is found


def test_the_parts_of_a_name_are_compared_each() -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "欧", "given": ["阳锋"]}]}
    assert finds("Patient?phonetic=ou yanfen", patient)
    assert finds("Patient?phonetic=ouyanfen", patient)


def test_institutions_and_alternatives() -> None:
    hospital = {"resourceType": "Organization", "name": "湖南省人民医院"}
    assert finds("Organization?phonetic=funansenrenminyiyuan", hospital)
    assert finds("Organization?phonetic=x,funanshengrenminyiyuan", hospital)
    assert finds("Organization?phonetic:missing=false", hospital)


@pytest.mark.parametrize("value", ["-", "%20", "...", "zhang 👋"])
def test_what_cannot_be_spoken_is_refused_or_left_out(value: str) -> None:
    if "zhang" in value:
        assert finds(f"Patient?phonetic={quote(value)}", {"resourceType": "Patient", "name": [{"text": "张"}]})
    else:
        with pytest.raises(InvalidSearchValue):
            ask(f"Patient?phonetic={value}")


def test_the_number_of_words_is_bounded() -> None:
    with pytest.raises(TooCostly):
        ask("Patient?phonetic=" + "a%20" * 21)


def test_modifiers_other_than_missing_are_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        ask("Patient?phonetic:exact=x")
