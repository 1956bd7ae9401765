"""Instants as the store has them (microseconds since 1970 UTC, whole milliseconds) and as FHIR prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Return an instant in microseconds since 1970 UTC, cut to the millisecond that FHIR prints.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 2345, tzinfo=UTC))
    1002000
    """
    gone = at - EPOCH
    return (gone.days * 86_400_000 + gone.seconds * 1_000 + gone.microseconds // 1_000) * 1_000


def moment(at: int) -> datetime:
    """Return the datetime (UTC) of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=at)


def instant(at: int) -> str:
    """Return a FHIR instant in UTC.

    >>> instant(1002000)
    '1970-01-01T00:00:01.002Z'
    """
    return f"{moment(at).isoformat(timespec='milliseconds')[:-6]}Z"


def http_date(at: int) -> str:
    """Return the date of a Last-Modified header.

    >>> http_date(1002000)
    'Thu, 01 Jan 1970 00:00:01 GMT'
    """
    return _http_date(at // 1_000_000)


@lru_cache(10_000)
def _http_date(seconds: int) -> str:
    return format_datetime(EPOCH + timedelta(seconds=seconds), usegmt=True)
