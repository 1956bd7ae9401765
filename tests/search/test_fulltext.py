"""_text and _content: R4 Search, "Text Search Parameters"."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidSearchValue, TooCostly, UnsupportedParameter
from fhir_server.search.ast import needs_body
from fhir_server.search.fulltext import MOST_ASKED, MOST_WORDS, filed_under
from fhir_server.search.readable import Readable
from fhir_server.search.types.words import flat, runs
from tests.search.reading import PROJECT, ask, clause, finds

READABLE = Readable(registry())


def asked(code: str, text: str) -> str:
    return f"Condition?{code}={quote(text)}"


CONDITION: dict[str, Any] = {
    "resourceType": "Condition",
    "id": "c-identity",
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><h1>Bone</h1><p>Metasta<b>ses</b> of the&nbsp;liver</p>'
        "<!-- hidden --><p>左侧乳腺<b>恶性</b>肿瘤</p></div>",
    },
    "code": {
        "coding": [{"system": "http://s.org", "code": "kodex", "display": "Carcinoma of breast"}],
        "text": "乳腺癌，术后",
    },
    "note": [{"text": "COVID-19 *negative*; X-ray 未见异常"}],
    "subject": {"reference": "Patient/referee", "display": "Zoë Müller"},
    "contained": [{"resourceType": "Practitioner", "id": "x", "name": [{"text": "Dr. House"}]}],
    "extension": [{"url": "http://e.org/u", "valueString": "remarkable"}],
    "meta": {"tag": [{"display": "tagged"}]},
}


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        ("_text", "metastases", True),
        ("_text", "METASTASES", True),
        ("_text", "metasta", False),
        ("_text", "bone liver", True),
        ("_text", "liver bone", True),
        ("_text", "bone breast", False),
        ("_text", "hidden", False),
        ("_text", "div", False),
        ("_text", "(bone OR kidney) AND metastases", True),
        ("_text", "(lung OR kidney) AND metastases", False),
        ("_text", "kidney OR bone liver", True),
        ("_text", "kidney,liver", True),
        ("_text", '"of the liver"', True),
        ("_text", '"the liver of"', False),
        ("_text", '"metastases of" bone', True),
        ("_text", "癌", False),
        ("_text", "瘤", True),
        ("_text", "肿瘤", True),
        ("_text", "恶性肿瘤", True),
        ("_text", "乳腺恶性", True),
        ("_text", "乳腺肿瘤", False),
        ("_text", "侧恶", False),
        ("_text", "乳腺 肿瘤", True),
        ("_content", "metastases", True),
        ("_content", "carcinoma", True),
        ("_content", "bone carcinoma", True),
        ("_content", '"carcinoma of breast"', True),
        ("_content", '"bone carcinoma"', False),
        ("_content", "乳腺癌", True),
        ("_content", "癌术", False),
        ("_content", "covid", True),
        ("_content", "covid-19", True),
        ("_content", '"covid-19 negative"', True),
        ("_content", "x-ray", True),
        ("_content", '"ray未见"', False),
        ("_content", '"x-ray 未见异常"', True),
        ("_content", "未见异常", True),
        ("_content", "zoe muller", True),
        ("_content", "house", True),
        ("_content", "remarkable", True),
        ("_content", "kodex", False),
        ("_content", "referee", False),
        ("_content", "identity", False),
        ("_content", "tagged", False),
        ("_content", "or", False),
        ("_content", "bone - liver", True),
    ],
)
def test_words_are_found_in_the_narrative_and_anywhere(code: str, text: str, found: bool) -> None:
    assert finds(f"Condition?{code}={quote(text, safe=',')}", CONDITION) is found


def test_an_escaped_comma_is_no_alternative() -> None:
    assert not finds(r"Condition?_text=kidney\,liver", CONDITION)
    assert finds(r"Condition?_text=bone\,liver", CONDITION)


@pytest.mark.parametrize("text", ["metastases", "癌", "肿瘤", "bone AND liver", "x-ray", '"bone"', '"肿瘤"', "a OR b"])
def test_words_and_pairs_are_decided_by_the_index(text: str) -> None:
    assert not needs_body(clause(asked("_content", text)))


@pytest.mark.parametrize("text", ["恶性肿瘤", '"bone of"', "bone OR 恶性肿"])
def test_rows_and_phrases_are_checked_on_the_resource(text: str) -> None:
    assert needs_body(clause(asked("_content", text)))


@pytest.mark.parametrize(
    "text",
    ["", "-", "...", "a OR", "OR a", "AND", "a AND", "(a", "a)", "()", '"a', '""', '"-"', "a,,b", "a (b OR", "👋"],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(asked("_text", text))


@pytest.mark.parametrize("text", ["a " * (MOST_ASKED + 1), "(" * 20 + "a" + ")" * 20, "癌" * 501])
def test_what_asks_too_much_is_refused(text: str) -> None:
    with pytest.raises(TooCostly):
        ask(asked("_content", text))


def test_modifiers_and_the_audit_log_are_refused() -> None:
    for query in ("Condition?_text:exact=a", "Condition?_content:not=a", "AuditEvent?_text=a", "AuditEvent?_content=a"):
        with pytest.raises(UnsupportedParameter):
            ask(query)
    event = {"resourceType": "AuditEvent", "outcomeDesc": "word"}
    assert not {term for term in PROJECT(event).terms if "word" in term}


def test_the_number_of_words_is_bounded_and_the_narrative_comes_first() -> None:
    long = {
        "resourceType": "Condition",
        "text": {"div": "<div>" + " ".join(f"n{number}" for number in range(MOST_WORDS - 1)) + "</div>"},
        "note": [{"text": "first second"}],
    }
    terms = set(filed_under(READABLE, long))
    assert len(terms) == MOST_WORDS
    assert {f"_text|n{MOST_WORDS - 2}", "_content|first"} <= terms
    assert "_content|second" not in terms


def test_ids_units_samples_identifiers_and_numbers_of_telephones_are_no_text() -> None:
    observation = {
        "resourceType": "Observation",
        "identifier": [{"value": "identified"}],
        "valueQuantity": {"value": 5, "unit": "milligram"},
        "component": [{"id": "named", "valueSampledData": {"data": "samples E", "origin": {"value": 1}}}],
        "contained": [{"resourceType": "Patient", "telecom": [{"value": "telephone"}]}],
    }
    assert list(filed_under(READABLE, observation)) == []


@pytest.mark.parametrize("div", ["<div><script>x", "<<>>", "<div>a<br/>b</div>", "&#x5f20;&amp;", "<div>", "a < b"])
def test_any_narrative_can_be_filed(div: str) -> None:
    resource = {"resourceType": "Condition", "text": {"div": div}}
    words = {term.partition("|")[2] for term in filed_under(READABLE, resource)}
    assert words == set(runs(READABLE.narrative(resource)))


TEXTS = st.text(st.sampled_from("左侧乳腺ab X-é,。'の１_"), min_size=1, max_size=12)


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, max_size=3), TEXTS, TEXTS, st.booleans())
def test_what_is_filed_and_what_is_read_agree(notes: list[str], narrative: str, wanted: str, phrase: bool) -> None:
    resource = {
        "resourceType": "Condition",
        "text": {"div": f"<div>{narrative}</div>"},
        "note": [{"text": each} for each in notes],
    }
    for code in ("_text", "_content"):
        if runs(wanted):
            text = f'"{wanted}"' if phrase else wanted
            escaped = text.replace(",", "\\,")
            finds(f"Condition?{code}={quote(escaped)}", resource)
            if flat(wanted) in flat(narrative).split():
                assert finds(f"Condition?{code}={quote(escaped)}", resource)
