"""FHIR dates as spans of time."""

import re
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone, tzinfo

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ONE_DAY = timedelta(days=1)
FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT = datetime.max.replace(tzinfo=UTC)
_LAST_DAY = datetime(MAXYEAR, 12, 31)


@dataclass(frozen=True, slots=True)
class Span:
    """A time from `start` on and before `end`, in UTC; None = unbounded."""

    start: datetime | None
    end: datetime | None

    @property
    def first(self) -> datetime:
        """The first instant."""
        return FIRST_INSTANT if self.start is None else self.start

    @property
    def last(self) -> datetime:
        """The last instant, to the microsecond."""
        return LAST_INSTANT if self.end is None else self.end - _MICROSECOND

    def covers(self, at: datetime) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def intersection(self, other: "Span") -> "Span | None":
        """Return the time that both cover; None if there is none."""
        start = max((each for each in (self.start, other.start) if each is not None), default=None)
        end = min((each for each in (self.end, other.end) if each is not None), default=None)
        return None if start is not None and end is not None and end <= start else Span(start, end)


def microseconds(at: datetime) -> int:
    """Return the instant in microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def span(text: object, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """Return the time that a FHIR date, dateTime or instant covers as [start, end); None if it is none of them.

    zone: where the text is read if it names no zone. What lies beyond the years 1 to 9999 UTC is cut to them.
    Source: FHIR R4 Data Types, dateTime.

    >>> from datetime import UTC
    >>> print(span("2026-06", UTC)[1])
    2026-07-01 00:00:00+00:00
    """
    found = _DATE.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    try:
        return _time_of_day(found, zone) if found[4] else _days(found, zone)
    except ValueError:  # month 13, hour 24
        return None


def _days(found: re.Match[str], zone: tzinfo) -> tuple[datetime, datetime]:
    year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
    first = datetime(year, month, day)
    if found[3]:
        after = first + _ONE_DAY if first < _LAST_DAY else None
    else:
        year, month = (year, month + 1) if found[2] and month < 12 else (year + 1, 1)
        after = datetime(year, month, 1) if year <= MAXYEAR else None
    return _utc(first, zone), _utc(after, zone) if after else LAST_INSTANT


def _time_of_day(found: re.Match[str], zone: tzinfo) -> tuple[datetime, datetime]:
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    # A leap second is read as the second before it: datetime has none.
    first = datetime(year, month, day, hour, minute, 59 if second == 60 else second)
    fraction = (found[7] or "")[:6]
    start = _utc(first + timedelta(microseconds=int(fraction.ljust(6, "0"))), _offset(found[8]) or zone)
    length = timedelta(microseconds=10 ** (6 - len(fraction)))
    return start, start + length if start < LAST_INSTANT - length else LAST_INSTANT


def _offset(text: str | None) -> tzinfo | None:
    if text is None or text == "Z":
        return UTC if text else None
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError("no such offset")
    size = timedelta(hours=hours, minutes=minutes)
    return timezone(-size if text[0] == "-" else size)


def _utc(local: datetime, zone: tzinfo) -> datetime:
    try:
        return local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return LAST_INSTANT if local.year == MAXYEAR else FIRST_INSTANT
