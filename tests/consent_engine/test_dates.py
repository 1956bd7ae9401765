"""FHIR dates cover the whole of what they name."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from consent_engine.dates import Span, microseconds, span

CHINA = timezone(timedelta(hours=8))
COVERED = [
    ("2026", "2025-12-31T16:00:00+00:00", "2026-12-31T16:00:00+00:00"),
    ("2026-12", "2026-11-30T16:00:00+00:00", "2026-12-31T16:00:00+00:00"),
    ("2024-02-29", "2024-02-28T16:00:00+00:00", "2024-02-29T16:00:00+00:00"),
    ("2026-06-15T12:00:00Z", "2026-06-15T12:00:00+00:00", "2026-06-15T12:00:01+00:00"),
    ("2026-06-15T12:00:00-05:30", "2026-06-15T17:30:00+00:00", "2026-06-15T17:30:01+00:00"),
    ("2026-06-15T12:00:00.25Z", "2026-06-15T12:00:00.250000+00:00", "2026-06-15T12:00:00.260000+00:00"),
    ("2026-06-15T12:00:00", "2026-06-15T04:00:00+00:00", "2026-06-15T04:00:01+00:00"),
    ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00", "2017-01-01T00:00:00+00:00"),
    ("9999-12-31", "9999-12-30T16:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"),
    ("9999", "9998-12-31T16:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"),
    ("0001-01-01", "0001-01-01T00:00:00+00:00", "0001-01-01T16:00:00+00:00"),
]


@pytest.mark.parametrize(("text", "start", "end"), COVERED)
def test_a_date_covers_the_whole_of_what_it_names(text, start, end):
    assert span(text, CHINA) == (datetime.fromisoformat(start), datetime.fromisoformat(end))


NOT_DATES = ["", "2026-13", "2026-02-30", "2026-06-15T12:00", "2026-06-15T25:00:00Z", "2026-06-15T12:00:00+19:00"]


@pytest.mark.parametrize(
    "text", [*NOT_DATES, "２０２６", "26", "0000", "2026-06-15T12:00:00+08:99", None, 2026, ["2026"]]
)
def test_what_is_not_a_date_covers_nothing(text):
    assert span(text, UTC) is None


def test_microseconds_are_counted_from_1970():
    assert microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000


def test_a_span_includes_its_start_and_not_its_end():
    day = Span(datetime(2026, 6, 15, tzinfo=UTC), datetime(2026, 6, 16, tzinfo=UTC))
    assert [day.covers(datetime(2026, 6, d, tzinfo=UTC)) for d in (14, 15, 16)] == [False, True, False]
    assert Span(None, None).covers(datetime(2026, 6, 15, tzinfo=UTC))
