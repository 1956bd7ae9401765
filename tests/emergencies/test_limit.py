"""For how long a reason opens records: fhir_server/emergencies/limit.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_server.emergencies.filed import Filed, Status, standing
from fhir_server.emergencies.limit import AGAIN, Episode, Latest, episode_of, same

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_episode_begins_with_the_first_access_and_is_not_over() -> None:
    first = episode_of(None, NOON)
    assert first == Episode(1, None)
    assert not first.over(NOON + 100 * HOUR, HOUR)


@pytest.mark.parametrize(("after", "over"), [(0, False), (59, False), (60, True), (1_000, True)])
def test_it_is_over_when_its_time_has_passed(after: int, over: bool) -> None:
    assert Episode(1, NOON).over(NOON + timedelta(minutes=after), HOUR) is over


@pytest.mark.parametrize(
    ("stated", "number"), [(-HOUR, 1), (2 * HOUR, 1), (AGAIN - timedelta(seconds=1), 1), (AGAIN, 2), (2 * AGAIN, 2)]
)
def test_the_same_words_are_a_new_emergency_only_if_they_were_stated_a_day_later(
    stated: timedelta, number: int
) -> None:
    found = episode_of(Latest(1, NOON), NOON + stated)
    assert found == (Episode(1, NOON) if number == 1 else Episode(2, None))


@pytest.mark.parametrize("reason", ["昏迷 抢救", " 昏迷抢救\n", "昏迷\u3000抢救"])
def test_the_same_words_otherwise_spaced_are_the_same_reason(reason: str) -> None:
    assert same(reason) == same("昏迷抢救")


def filed(said: Status, times: int, seen: int) -> Filed:
    return Filed("a", "Practitioner/d", "o", "Patient/p", "ETREAT", "r", 1, 2, times, 3, said, seen)


@pytest.mark.parametrize(
    ("said", "times", "seen", "status"),
    [
        (Status.OPEN, 1, 0, Status.OPEN),
        (Status.ACCEPTED, 2, 2, Status.ACCEPTED),
        (Status.ACCEPTED, 3, 2, Status.OPEN),
        (Status.QUESTIONED, 3, 2, Status.QUESTIONED),
    ],
)
def test_what_came_after_a_review_was_not_accepted_with_it(said: Status, times: int, seen: int, status: Status) -> None:
    assert filed(said, times, seen).status is status


def test_every_status_has_a_filter_of_its_own() -> None:
    assert len({str(standing(each)) for each in Status}) == len(Status)
