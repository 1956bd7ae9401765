"""Sections of Compositions that refer to what may not be seen (consent-scenarios.md, D6; consent.md, T30)."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from fhir_server.redaction.marks import REDACTED
from fhir_server.redaction.sections import referred, without
from fhir_server.search.types.span import Here

Json = dict[str, Any]
BASE = "https://here.example/fhir"
HERE = Here(UTC, BASE)
HIDDEN = "Observation/hidden"
TEXT = {"status": "generated", "div": "<div>x</div>"}


def section(title: str, *entries: str, **elements: Any) -> Json:
    return {"title": title, "text": TEXT, "entry": [{"reference": each} for each in entries], **elements}


def composition(*sections: Json) -> Json:
    return {"resourceType": "Composition", "id": "c", "text": TEXT, "title": "t", "section": list(sections)}


def titles(value: Json) -> list[Any]:
    """Return the titles of the sections, nested as they are."""
    return [(each["title"], titles(each)) if "section" in each else each["title"] for each in value.get("section", ())]


REFERRING = [
    section("x", HIDDEN),
    section("x", "Observation/seen", f"{HIDDEN}/_history/2"),
    section("x", f"{BASE}/{HIDDEN}"),
    section("x", focus={"reference": HIDDEN}),
    section("x", author=[{"reference": "Observation/seen"}, {"reference": HIDDEN}]),
    section("x", HIDDEN, section=[section("within", "Observation/seen")]),
]


@pytest.mark.parametrize("hidden", REFERRING)
def test_a_section_that_refers_to_what_is_hidden_leaves_with_all_that_is_in_it(hidden: Json) -> None:
    after = without(composition(section("a", "Observation/seen"), hidden), {HIDDEN}, HERE)
    assert titles(after) == ["a"]
    assert "text" not in after
    assert after["meta"]["security"] == [REDACTED]
    assert "hidden" not in str(after)


ELSEWHERE = [
    section("x", "https://elsewhere.example/fhir/Observation/hidden"),
    section("x", "#hidden"),
    section("x", "urn:uuid:2f5e6f9e-5c5c-4c4e-9d7a-3a1d3d7f0a11"),
    section("x", entry=[{"identifier": {"value": HIDDEN}}]),
    section("x", entry=[{"display": HIDDEN}]),
    {"title": "x", "text": TEXT},
]


@pytest.mark.parametrize("kept", ELSEWHERE)
def test_a_section_that_refers_elsewhere_or_to_nothing_stays(kept: Json) -> None:
    before = composition(kept)
    assert referred(before, HERE) == set()
    assert without(before, {HIDDEN}, HERE) is before


def test_of_nested_sections_the_hidden_leave_and_what_they_stood_in_loses_its_text() -> None:
    inner = section("inner", section=[section("secret", HIDDEN), section("open", "Observation/seen")])
    before = composition(section("outer", "Observation/seen", section=[inner, section("other", "Observation/seen")]))
    after = without(before, {HIDDEN}, HERE)
    assert titles(after) == [("outer", [("inner", ["open"]), "other"])]
    outer = after["section"][0]
    assert "text" not in outer
    assert "text" not in outer["section"][0]
    assert outer["section"][1]["text"] == TEXT


def test_a_section_of_which_nothing_is_left_leaves_as_well() -> None:
    before = composition({"title": "only a heading", "text": TEXT, "section": [section("secret", HIDDEN)]})
    assert "section" not in without(before, {HIDDEN}, HERE)


def test_what_all_sections_refer_to_is_found_at_any_depth() -> None:
    before = composition(
        section("a", "Observation/1", section=[section("b", "Condition/2", author=[{"reference": "Practitioner/3"}])]),
        section("c", f"{BASE}/Observation/4/_history/1", focus={"reference": "Patient/5"}),
    )
    assert referred(before, HERE) == {"Observation/1", "Condition/2", "Practitioner/3", "Observation/4", "Patient/5"}
