"""The index of beginnings, and that of the last ends of what is long, lose nothing of what a range finds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions.registry import registry
from fhir_server.search.ast import And, Clause, Comparison, InSpan, SpanTest
from fhir_server.search.ranges import ALONE, SHORT, Reach, bounded, extent, reaches
from fhir_server.search.types.span import Span, passes
from tests.search.reading import clause

DAY = 86_400_000_000
CHINA = 8 * DAY // 24  # a day begins there so much earlier
DATE = frozenset({"date"})

TIMES = st.integers(-5 * DAY, 5 * DAY)
SHORT_ONES = st.tuples(TIMES, st.sampled_from([0, 999, DAY - 1, SHORT])).map(lambda made: Span(made[0], sum(made)))
ANY_TWO = st.tuples(TIMES, TIMES).map(lambda made: Span(min(made), max(made)))
SPANS = SHORT_ONES | ANY_TWO | TIMES.map(lambda at: Span(at, None)) | TIMES.map(lambda at: Span(None, at))
COMPARISONS = st.builds(
    Comparison, st.sampled_from(["lo", "hi"]), st.sampled_from(["lt", "lte", "gt", "gte"]), TIMES.map(float)
)
TESTS = st.lists(COMPARISONS, max_size=3).map(lambda made: SpanTest(tuple(made)))
RANGES = st.lists(TESTS, min_size=1, max_size=2).map(lambda made: InSpan("date", tuple(made)))


def is_within(spans: list[Span], reach: Reach) -> bool:
    """Return whether the indexes look for a document with these spans in a stretch."""
    began = min(-math.inf if span.lo is None else span.lo for span in spans)
    long = extent(spans)
    if reach.until is not None and began > reach.until:
        return False
    if reach.since is None or reach.lasting is None:
        return True
    return began >= reach.since or (long is not None and long[1] >= reach.lasting)


@given(st.lists(SPANS, min_size=1, max_size=3), st.lists(RANGES, min_size=1, max_size=3))
def test_what_a_conjunction_of_ranges_finds_is_where_the_indexes_look(spans: list[Span], ranges: list[InSpan]) -> None:
    if all(any(passes(span, test) for span in spans for test in each.tests) for each in ranges):
        assert any(is_within(spans, each) for each in reaches(ranges, DATE).get("date", (Reach(),)))


@pytest.mark.parametrize(
    ("spans", "ends"),
    [
        ([Span(0, 0)], None),
        ([Span(0, SHORT)], None),
        ([Span(0, SHORT + 1)], (0, SHORT + 1)),
        ([Span(3, 4), Span(1, 2)], (1, 4)),
        ([Span(0, None)], (0, math.inf)),
        ([Span(None, 5)], (-math.inf, 5)),
    ],
)
def test_what_has_not_one_short_time_is_filed_under_its_extent(
    spans: list[Span], ends: tuple[float, float] | None
) -> None:
    assert extent(spans) == ends


FIRST = -CHINA  # 1970-01-01 in China
ROWS: list[tuple[str, Reach]] = [
    ("1970-01-01", Reach(FIRST, FIRST, FIRST + DAY - 1)),
    ("ge1970-01-01", Reach(FIRST + DAY - 1 - SHORT, FIRST, None)),
    ("gt1970-01-01", Reach(FIRST + DAY - 1 - SHORT, FIRST + DAY - 1, None)),
    ("sa1970-01-01", Reach(FIRST + DAY - 1, FIRST + DAY - 1, None)),
    ("le1970-01-01", Reach(None, None, FIRST + DAY - 1)),
    ("lt1970-01-01", Reach(None, None, FIRST)),
    ("eb1970-01-01", Reach(None, None, FIRST)),
]


@pytest.mark.parametrize(("text", "reach"), ROWS)
def test_where_the_indexes_look_for_a_day(text: str, reach: Reach) -> None:
    asked = clause(f"Patient?birthdate={text}")
    assert reaches([asked], bounded("Patient")) == {"birthdate": (reach,)}


def test_two_ends_that_are_asked_for_are_looked_up_together() -> None:
    asked = clause("Patient?birthdate=ge1970-01-01&birthdate=le1970-01-31")
    assert isinstance(asked, And)
    found = Reach(FIRST + DAY - 1 - SHORT, FIRST, FIRST + 31 * DAY - 1)
    assert reaches(asked.parts, bounded("Patient")) == {"birthdate": (found,)}


def test_alternatives_are_looked_up_apart_unless_they_overlap_or_are_many() -> None:
    def found(text: str) -> tuple[Reach, ...]:
        return reaches([clause(f"Patient?birthdate={text}")], bounded("Patient"))["birthdate"]

    day = found("1970-01-01")
    assert found("1970-01-01,1971-01-01") == (*day, *found("1971-01-01"))
    assert found("1970,1970-01-01") == found("1970")
    assert found("1970-01-01,ge1970-01-01") == (Reach(FIRST + DAY - 1 - SHORT, FIRST, None),)
    many = [f"19{year}-01-01" for year in range(10, 20)]
    assert len(found(",".join(many))) == 10
    both = clause(f"Patient?birthdate={','.join(many)}&birthdate={','.join(many)}")
    assert isinstance(both, And)
    first, last = found(many[0])[0], found(many[-1])[0]
    assert reaches(both.parts, bounded("Patient"))["birthdate"] == (Reach(first.since, first.lasting, last.until),)


@pytest.mark.parametrize(
    "asked",
    [
        clause("Patient?birthdate=ne1970-01-01"),
        clause("Patient?death-date=1970"),
        clause("Patient?gender=male"),
        InSpan("birthdate", ()),
    ],
)
def test_what_is_anywhere_or_has_no_index_is_not_looked_up(asked: Clause) -> None:
    assert reaches([asked], bounded("Patient")) == {}


def test_every_parameter_with_an_index_is_a_date() -> None:
    for type, params in ALONE.items():
        assert {registry().parameters(type)[each].type for each in params} == {"date"}
