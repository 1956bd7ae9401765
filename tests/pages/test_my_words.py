"""The texts of patients' pages, what Consents and days are in words, and what holds of every page's markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import fhir_server.pages
from fhir_server.consenting.asked import Request, State, consent_of
from fhir_server.consenting.steps import TABLE
from fhir_server.pages.my import words_en, words_zh
from fhir_server.pages.my.consents import GROUPED, GROUPS, PREPARED, listed, shown
from fhir_server.pages.my.words import WORDS, day
from tests.consent_engine.build import ACT_CODE, ACT_REASON, actor, codings, concept, consent, deny, permit

FOLDER = Path(fhir_server.pages.__file__).parent
AT = datetime(2026, 11, 21, tzinfo=UTC)
REQUEST = Request(
    "c1", "p1", "org1", "Practitioner/d1", "TREAT", (), None, None, datetime(2027, 3, 9, tzinfo=UTC), "app"
)
ZH = WORDS["zh"]


def parts(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", sorted(words_zh.TEXTS.keys() | words_en.TEXTS.keys()))
def test_every_text_stands_in_both_languages_with_the_same_parts(key: str) -> None:
    assert parts(words_zh.TEXTS[key]) == parts(words_en.TEXTS[key])
    assert words_zh.TEXTS[key].strip()
    assert words_en.TEXTS[key].strip()
    assert words_zh.PURPOSES.keys() == words_en.PURPOSES.keys()


# Texts whose keys are put together: of a state, a step, a role, a kind of actor, a result, an action.
MADE = re.compile(r"(state|step|role|someone|done|prompt_done|said|look|headline)_")


def test_every_text_is_used() -> None:
    sources = [*FOLDER.glob("templates/*.html"), *FOLDER.glob("my/*.py"), *FOLDER.glob("prompt/*.py")]
    said = "\n".join(each.read_text("utf-8") for each in sources if not each.name.startswith("words_"))
    assert {key for key in words_zh.TEXTS if f'"{key}"' not in said and not MADE.match(key)} == set()


def test_every_state_has_its_words_and_its_place() -> None:
    for state in State:
        assert words_zh.TEXTS[f"state_{state}"]
        assert words_zh.TEXTS[f"step_{state}"]
    assert {*TABLE.values()} <= set(State)
    assert sorted(each for states in GROUPED.values() for each in states) == sorted(State)
    assert {*GROUPS} == {*GROUPED, PREPARED}


def test_what_was_asked_for_is_read_back() -> None:
    made = shown(consent_of(REQUEST, State.VERIFYING, at=0), at=AT, zone=UTC)
    assert made is not None
    assert made.waits
    assert made.begins is None
    assert made.references == {"Organization/org1", "Practitioner/d1"}
    assert ZH.headline(made, {"Organization/org1": "第一人民医院"}) == "第一人民医院申请查阅"


SAID = [
    (permit(actor=[actor("Organization/o")]), None, "允许一家机构查阅"),
    (deny(), None, "拒绝所有人查阅"),
    ({}, "OPTIN", "允许所有人查阅"),
    ({}, "OPTOUT", "拒绝所有人查阅"),
    (permit(actor=[actor("Practitioner/x"), actor("CareTeam/y")]), None, "允许一位医务人员、一个诊疗团队查阅"),
]


@pytest.mark.parametrize(("provision", "rule", "told"), SAID)
def test_a_consent_is_told_in_a_few_words(provision: dict[str, Any], rule: str | None, told: str) -> None:
    more = {"policyRule": concept(ACT_CODE, rule)} if rule else {}
    found = shown(consent(provision, id="c", **more), at=AT, zone=UTC)
    assert found is not None
    assert ZH.headline(found, {}) == told


def test_drafts_and_errors_are_not_listed_and_what_waits_comes_first() -> None:
    statuses = ["draft", "inactive", "entered-in-error", "active", "proposed", "rejected"]
    consents = [consent(permit(), id=each, **{"status": each}) for each in statuses]
    assert [each.id for each in listed(consents, at=AT, zone=UTC)] == ["proposed", "active", "rejected", "inactive"]


def test_what_was_prepared_and_never_asked_for_waits_for_no_answer() -> None:
    found = shown(consent(permit(), id="c", status="proposed"), at=AT, zone=UTC)
    assert found is not None
    assert (found.group, found.prepared, found.answerable) == (PREPARED, True, False)
    assert ZH.headline(found, {}) == "拟由所有人查阅"
    asked = shown(consent_of(REQUEST, State.REQUESTED, at=0), at=AT, zone=UTC)
    assert asked is not None
    assert (asked.group, asked.prepared, asked.answerable) == ("group_waiting", False, True)


def test_one_whose_time_is_over_has_expired() -> None:
    found = shown(consent(permit(period={"end": "2026-01-01"}), id="c"), at=AT, zone=UTC)
    assert found is not None
    assert found.state is State.EXPIRED


def test_exceptions_follow_what_they_are_of() -> None:
    inner = deny(purpose=codings(ACT_REASON, "HRESCH"), provision=[permit(code=[concept(ACT_CODE, "x")])])
    found = shown(consent(permit(provision=[inner]), id="c"), at=AT, zone=UTC)
    assert found is not None
    assert [(each.depth, each.permits, each.more) for each in found.clauses] == [
        (0, True, False),
        (1, False, False),
        (2, True, True),
    ]


def test_a_day_that_cannot_be_read_is_shown_as_it_was_written() -> None:
    assert day("2026-01-31Tx", UTC) == "2026-01-31"
    assert day(None, UTC) is None


def test_templates_hold_no_text_of_their_own() -> None:
    for template in (*FOLDER.glob("templates/my_*.html"), *FOLDER.glob("templates/prompt_*.html")):
        plain = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", "", template.read_text("utf-8"), flags=re.DOTALL)
        assert plain.strip() == "", template.name
