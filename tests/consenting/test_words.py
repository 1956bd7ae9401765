"""What a patient is told before they agree: who, what for, which records, of which time, until when; freely."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from fhir_server.consenting.asked import Request
from fhir_server.consenting.words import ASKABLE_PURPOSES, ASKABLE_TYPES, purpose_of, reminder, terms, types_of

ZONE = timezone(timedelta(hours=8))
# In China this is the first day of 2027.
ENDS = datetime(2026, 12, 31, 20, tzinfo=UTC)
ASKED = Request(
    "c", "p", "h1", "Practitioner/d", "TREAT", ("MedicationRequest", "Observation"), date(2024, 1, 1), None, ENDS, "app"
)
HOSPITAL = "第一人民医院"


def test_everything_is_said_in_plain_chinese() -> None:
    assert terms(ASKED, HOSPITAL, zone=ZONE).sentences == (
        "第一人民医院请求查阅您的健康记录，用来为您诊断和治疗。",
        "可以查阅的内容：您在各医疗机构的处方、检验结果与观察。",
        "只包括2024年1月1日以后的记录。",
        "授权有效期到2027年1月1日，到期自动失效。",
        "是否同意由您决定。不同意不影响您就医；同意后您也可以随时撤销，撤销立即生效。",
    )


def test_and_in_english() -> None:
    said = " ".join(terms(replace(ASKED, types=()), "First Hospital", zone=ZONE, lang="en").sentences)
    assert "First Hospital asks to see your health records, to diagnose and treat you." in said
    assert "all health data" in said
    assert "since 1 January 2024" in said
    assert "until 1 January 2027" in said
    assert said.isascii()


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        (None, None, "不限记录产生的时间。"),
        (date(2024, 1, 1), date(2024, 12, 31), "只包括2024年1月1日至2024年12月31日的记录。"),
        (None, date(2024, 12, 31), "只包括2024年12月31日以前的记录。"),
    ],
)
def test_of_which_time_the_records_are(since: date | None, until: date | None, said: str) -> None:
    assert terms(replace(ASKED, since=since, until=until), HOSPITAL, zone=ZONE).sentences[2] == said


@pytest.mark.parametrize("type", sorted(ASKABLE_TYPES))
def test_whatever_can_be_asked_for_has_a_chinese_word(type: str) -> None:
    assert not types_of((type,)).isascii()


@pytest.mark.parametrize("purpose", ASKABLE_PURPOSES)
def test_every_purpose_has_words(purpose: str) -> None:
    assert not purpose_of(purpose).isascii()
    assert purpose not in purpose_of(purpose, "en")


def test_a_reminder_names_the_institution_and_the_day_and_asks_for_nothing() -> None:
    said = reminder(ASKED.expires, HOSPITAL, zone=ZONE)
    assert HOSPITAL in said
    assert "2027年1月1日到期" in said
    assert "无需操作" in said
