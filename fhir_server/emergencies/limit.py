"""For how long a reason opens a patient's records (auth/policy.py, rule 4). Pure.

An episode is one user, one patient and one reason. It begins with the first record that the reason has opened, and is over
when its time has passed: the same words then open nothing more, in whichever token they come, until they are stated anew
a day later at the earliest. Other words are another reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

# The time after which the same words, stated again, are a new emergency.
AGAIN = timedelta(hours=24)


class Latest(NamedTuple):
    """The latest episode of a user, a patient and a reason. number: the first is 1. at: when it began."""

    number: int
    at: datetime


class Episode(NamedTuple):
    """The episode that an access belongs to. begun: when; None if it begins with this access."""

    number: int
    begun: datetime | None

    def over(self, now: datetime, limit: timedelta) -> bool:
        """Return whether its time has passed."""
        return self.begun is not None and now - self.begun >= limit


def episode_of(latest: Latest | None, stated: datetime) -> Episode:
    """Return the episode to which a reason belongs that was stated at this time.

    >>> from datetime import UTC
    >>> first = Latest(1, datetime(2026, 1, 1, tzinfo=UTC))
    >>> [episode_of(first, first.at + timedelta(hours=each)).number for each in (-1, 23, 24)]
    [1, 1, 2]
    """
    if latest is None:
        return Episode(1, None)
    if stated >= latest.at + AGAIN:
        return Episode(latest.number + 1, None)
    return Episode(latest.number, latest.at)


def same(reason: str) -> str:
    """Return the form in which reasons are compared: the same words, however they are spaced.

    >>> same(" 昏迷  抢救"), same("CPR"), same("cpr")
    ('昏迷抢救', 'cpr', 'cpr')
    """
    return "".join(reason.split()).casefold()
