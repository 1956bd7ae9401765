"""Date parameters: R4 Search, "date"."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.types.date import covered
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
            "2024-01-01T10:00:61Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T10:00:00+14:01",
            "2024-01-01T10:00:00+08:60",
            "2024-01-01T10:00:00+0800",
            "1900-02-29",
            "2024-04-31",
            "2024-01-01Z",
            "20240101",
        ],
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    assert covered(text, CHINA) is None
    with pytest.raises(InvalidSearchValue):
        ask(f"Patient?birthdate=ge{quote(text)}")


# R4 Search, "date" and "Prefixes": what is asked, what is in the resource, and whether it is found. The zone is +08:00.
SEMANTICS = [
    # A value stands for all the time that it leaves open; to be equal, the resource has to lie within what is asked.
    ("2013", "2013-01-14", True),
    ("2013-01", "2013-01-14", True),
    ("2013-01-14", "2013-01-14", True),
    ("2013-01-14", "2013-01", False),
    ("2013-01-14", "2013", False),
    ("2013-01-14", "2013-01-14T00:00:00+08:00", True),
    ("2013-01-14", "2013-01-14T23:59:59.999999+08:00", True),
    ("2013-01-14", "2013-01-15T00:00:00+08:00", False),
    ("2013-01-14T10:00", "2013-01-14T10:00:59+08:00", True),
    ("2013-01-14T10:00:00", "2013-01-14T10:00:00.5+08:00", True),
    ("2013-01-14T10:00:00.5", "2013-01-14T10:00:00+08:00", False),
    ("ne2013-01-14", "2013-01-14T00:00:00+08:00", False),
    ("ne2013-01-14", "2013-01-15T00:00:00+08:00", True),
    ("ne2013-01-14", "2013", True),
    ("lt2013-01-14T10:00", "2013-01-14", True),
    ("lt2013-01-14", "2013-01-14", False),
    ("gt2013-01-14T10:00", "2013-01-14", True),
    ("gt2013-01-14", "2013-01-14", False),
    ("ge2013-03-14", "2013-03-14", True),
    ("ge2013-03-14", "2013-03", True),
    ("le2013-03-14", "2013-03-14", True),
    ("le2013-03-14", "2013-03", True),
    ("sa2013-03-14", "2013-03-14", False),
    ("sa2013-03-14", "2013-03-15", True),
    ("sa2013-03-14", "2013-03", False),
    ("eb2013-03-14", "2013-03-13", True),
    ("eb2013-03-14", "2013-03", False),
    ("ap2013-03-14", "2013-03", True),
    # 29 February: there are leap years, and years that look like one.
    ("2024-02", "2024-02-29", True),
    ("2024-02-29", "2024-02-29T23:59:59+08:00", True),
    ("2024-03", "2024-02-29", False),
    ("sa2024-02-28", "2024-02-29", True),
    ("eb2024-03-01", "2024-02-29", True),
    ("2000-02-29", "2000-02-29", True),
    ("2024", "2024-12-31", True),
    # A leap second is the last second of its minute.
    ("2016-12-31", "2016-12-31T23:59:60+08:00", True),
    ("2017", "2016-12-31T23:59:60+08:00", False),
    ("2016-12-31T23:59:60", "2016-12-31T23:59:59+08:00", True),
    ("2016-12-31T23:59:60Z", "2017-01-01T07:59:60+08:00", True),
    # Zones: the same instant is the same time, whatever it is written in; without a zone it is the deployment's.
    ("2013-01-14T00:00:00Z", "2013-01-14T08:00:00+08:00", True),
    ("2013-01-14T00:00:00Z", "2013-01-14T08:00:00Z", False),
    ("2013-01-14", "2013-01-13T20:00:00Z", True),
    ("2013-01-14", "2013-01-14T20:00:00Z", False),
    ("2013-01-14T08:00:00", "2013-01-14T00:00:00Z", True),
    ("2013-01-14T00:00:00+14:00", "2013-01-13T10:00:00Z", True),
    ("2013-01-14T00:00:00-14:00", "2013-01-14T14:00:00Z", True),
    ("2013-01-14T00:00:00+05:30", "2013-01-13T18:30:00Z", True),
    ("2013-01-14T00:00:00-00:30", "2013-01-14T00:30:00Z", True),
    ("lt2013-01-14T00:00:00+14:00", "2013-01-14T00:00:00-14:00", False),
    ("gt2013-01-14T00:00:00+14:00", "2013-01-14T00:00:00-14:00", True),
    # Before 1970, and far from it.
    ("1969-12-31", "1969-12-31T23:59:59.999+08:00", True),
    ("lt1970-01-01T08:00:00", "1970-01-01T07:59:59.999+08:00", True),
    ("1912-06", "1912-06-23", True),
    ("1900", "1900-02-28", True),
    ("lt1970", "1893-12-26", True),
    ("0001", "0001-01-01", True),
    ("le9999", "9999-12-31", True),
    # Fractions of a second, as fine as a microsecond; zeros beyond the millisecond are padding.
    ("2013-01-14T10:00:00.123", "2013-01-14T10:00:00.123456+08:00", True),
    ("2013-01-14T10:00:00.123456", "2013-01-14T10:00:00.123+08:00", False),
    ("2013-01-14T10:00:00.1230000", "2013-01-14T10:00:00.123+08:00", True),
]


@pytest.mark.parametrize(("asked", "held", "found"), SEMANTICS)
def test_what_a_date_means(asked: str, held: str, found: bool) -> None:
    observation = {"resourceType": "Observation", "effectiveDateTime": held}
    assert finds(f"Observation?date={quote(asked)}", observation) is found


PERIOD_SEMANTICS = [
    # asked, (start, end), found: an end that is left out is open, and a partial one is taken wholly.
    ("2013", ("2013", "2013"), True),
    ("2013", ("2013-01-01", "2013-12-31T23:59:59+08:00"), True),
    ("2013", ("2012-12-31", "2013-06"), False),
    ("2013", ("2013-06", None), False),
    ("2013-06", ("2013-06-01", "2013-06-30"), True),
    ("ge2013-06", ("2013-01", "2013-07"), True),
    ("gt2013-06", ("2013-01", "2013-06"), False),
    ("gt2013-06-15", ("2013-01", "2013-06"), True),
    ("lt2013-06-15", ("2013-06", None), True),
    ("lt2013-06", ("2013-06", None), False),
    ("sa2013-05", ("2013-06", None), True),
    ("sa2013-06-15", ("2013-06", None), False),
    ("eb2013-07", (None, "2013-06"), True),
    ("eb2013-06-15", (None, "2013-06"), False),
    ("ne2013", ("2013-06", None), True),
    ("ge2100", ("2013", None), True),
    ("le0001", (None, "2013"), True),
    ("2024-02-29", ("2024-02-29", "2024-02-29"), True),
    ("2013-01-14", ("2013-01-13T16:00:00Z", "2013-01-14T15:59:59Z"), True),
    ("2013-01-14", ("2013-01-13T15:59:59Z", "2013-01-14T15:59:59Z"), False),
]


@pytest.mark.parametrize(("asked", "period", "found"), PERIOD_SEMANTICS)
def test_what_a_date_means_of_a_period(asked: str, period: tuple[str | None, str | None], found: bool) -> None:
    held = {name: end for name, end in zip(("start", "end"), period, strict=True) if end}
    encounter = {"resourceType": "Encounter", "id": "e", "period": held}
    assert finds(f"Encounter?date={asked}", encounter) is found


# The days of a zone with daylight saving time: (zone, text, first instant, last second), in UTC.
ZONED_DAYS = [
    ("America/New_York", "2024-03-10", at(2024, 3, 10, 5), at(2024, 3, 11, 4)),
    ("America/New_York", "2024-11-03", at(2024, 11, 3, 4), at(2024, 11, 4, 5)),
    ("America/New_York", "2024-03-10T02:30:00", at(2024, 3, 10, 7, 30), at(2024, 3, 10, 7, 30, 1)),
    ("America/New_York", "2024-11-03T01:30:00", at(2024, 11, 3, 5, 30), at(2024, 11, 3, 5, 30, 1)),
    ("America/Sao_Paulo", "2018-11-04", at(2018, 11, 4, 3), at(2018, 11, 5, 2)),
    ("Asia/Shanghai", "1986-05-04", at(1986, 5, 3, 16), at(1986, 5, 4, 15)),
    ("Asia/Shanghai", "2024-06-01", at(2024, 5, 31, 16), at(2024, 6, 1, 16)),
    ("Pacific/Kiritimati", "2024-01-01", at(2023, 12, 31, 10), at(2024, 1, 1, 10)),
    ("Asia/Kathmandu", "2024-01-01", at(2023, 12, 31, 18, 15), at(2024, 1, 1, 18, 15)),
]


@pytest.mark.parametrize(("zone", "text", "start", "end"), ZONED_DAYS)
def test_a_day_is_that_of_the_zone(zone: str, text: str, start: int, end: int) -> None:
    assert covered(text, ZoneInfo(zone)) == (start, end - 1)


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
