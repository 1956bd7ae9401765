"""Date parameters: R4 Search, "date"."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.date import covered
from tests.search.reading import PROJECT, ask, finds

CHINA = timezone(timedelta(hours=8))
DAY = 86_400_000_000


def at(*parts: int, zone: Any = UTC) -> int:
    return int(datetime(*parts, tzinfo=zone).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", at(2024, 1, 1, zone=CHINA), at(2025, 1, 1, zone=CHINA)),
        ("2024-02", at(2024, 2, 1, zone=CHINA), at(2024, 3, 1, zone=CHINA)),
        ("2024-02-29", at(2024, 2, 29, zone=CHINA), at(2024, 3, 1, zone=CHINA)),
        ("2024-12-31", at(2024, 12, 31, zone=CHINA), at(2025, 1, 1, zone=CHINA)),
        ("2024-01-01T08:30", at(2024, 1, 1, 0, 30), at(2024, 1, 1, 0, 31)),
        ("2024-01-01T08:30:15", at(2024, 1, 1, 0, 30, 15), at(2024, 1, 1, 0, 30, 16)),
        ("2024-01-01T08:30:15-05:00", at(2024, 1, 1, 13, 30, 15), at(2024, 1, 1, 13, 30, 16)),
        ("2024-01-01T00:00:00Z", at(2024, 1, 1), at(2024, 1, 1, 0, 0, 1)),
        ("2016-12-31T23:59:60Z", at(2016, 12, 31, 23, 59, 59), at(2017, 1, 1)),
    ],
)
def test_a_date_covers_all_that_it_leaves_open(text: str, start: int, end: int) -> None:
    assert covered(text, CHINA) == (start, end - 1)


@pytest.mark.parametrize("zone", [UTC, CHINA, ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")])
def test_the_first_and_last_year_can_be_told(zone: Any) -> None:
    first, last = covered("0001", zone), covered("9999", zone)
    assert first is not None
    assert last is not None
    assert first[0] < first[1] < last[0] < last[1] < 2**63


def test_the_days_of_daylight_saving_have_their_own_length() -> None:
    new_york = ZoneInfo("America/New_York")
    lengths = [
        end - start + 1 for start, end in (covered(f"2024-{day}", new_york) or (0, 0) for day in ("03-10", "11-03"))
    ]
    assert lengths == [23 * DAY // 24, 25 * DAY // 24]


@pytest.mark.parametrize(
    "text",
    [
        *["", "24", "2024-13", "2023-02-29", "2024-1-1", "2024-01-01T", "2024-01-01T10", "2024-01-01T25:00", "0000"],
        *[
            "２０２４",
            "2024-01-01T10:00:00+99:00",
            "2024-01-01 ",
            "x",
            "2024-01-01T10:00:00.Z",
            "2024-01-01Z",
            "20240101",
        ],
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    assert covered(text, CHINA) is None
    with pytest.raises(InvalidSearchValue):
        ask(f"Patient?birthdate=ge{quote(text)}")


PERIODS = {
    "closed": {"start": "2020-01-01", "end": "2020-12-31"},
    "open end": {"start": "2020-01-01"},
    "open start": {"end": "2020-12-31"},
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("2020", {"closed"}),
        ("ne2020", {"open end", "open start"}),
        ("gt2020", {"open end"}),
        ("ge2020", {"closed", "open end"}),
        ("lt2020", {"open start"}),
        ("le2020", {"closed", "open start"}),
        ("sa2019", {"closed", "open end"}),
        ("sa2020", set()),
        ("eb2021", {"closed", "open start"}),
        ("eb2020", set()),
        ("ap2020-06", {"closed", "open end", "open start"}),
        ("ge2030", {"open end"}),
        ("le1900", {"open start"}),
    ],
)
def test_periods_with_open_ends(query: str, found: set[str]) -> None:
    encounters = {name: {"resourceType": "Encounter", "id": "e", "period": period} for name, period in PERIODS.items()}
    assert {name for name, each in encounters.items() if finds(f"Encounter?date={query}", each)} == found


def test_only_the_outer_limits_of_a_timing_count() -> None:
    request = {
        "resourceType": "ServiceRequest",
        "occurrenceTiming": {
            "event": ["2020-03-01", "2020-01-31"],
            "repeat": {"boundsPeriod": {"start": "2020-02-01", "end": "2020-05-01"}},
        },
    }
    assert finds("ServiceRequest?occurrence=sa2020-01-30", request)
    assert not finds("ServiceRequest?occurrence=sa2020-01-31", request)
    assert finds("ServiceRequest?occurrence=eb2020-05-02", request)
    assert len(PROJECT(request).ranges["occurrence"]) == 1


def test_a_timing_without_limits_is_missing() -> None:
    request = {"resourceType": "ServiceRequest", "occurrenceTiming": {"repeat": {"frequency": 1}}}
    assert finds("ServiceRequest?occurrence:missing=true", request)


def test_about_a_date_means_a_tenth_of_the_time_since() -> None:
    born = {"resourceType": "Patient", "birthDate": "2004-06-01"}  # twenty years before the tests' now
    assert finds("Patient?birthdate=ap2005-06-01", born)
    assert not finds("Patient?birthdate=ap2010-06-01", born)


def test_a_plus_that_arrived_as_a_space_is_understood() -> None:
    seen = {"resourceType": "Observation", "effectiveDateTime": "2024-01-01T08:00:00+08:00"}
    assert finds("Observation?date=2024-01-01T08:00:00+08:00", seen)
    assert finds("Observation?date=2024-01-01T00:00:00Z", seen)


def test_dates_sort_by_their_beginning() -> None:
    assert PROJECT({"resourceType": "Patient", "birthDate": "1970-01-01"}).sort == {"birthdate": -8 * 3_600_000_000}
    encounter = {"resourceType": "Encounter", "period": {"end": "2020"}}
    assert PROJECT(encounter).sort == {"date": float("-inf")}


def test_a_value_in_a_resource_that_is_no_date_is_not_filed() -> None:
    assert PROJECT({"resourceType": "Patient", "birthDate": "yesterday"}).ranges == {}


def test_modifiers_other_than_missing_are_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        ask("Patient?birthdate:exact=2020")
