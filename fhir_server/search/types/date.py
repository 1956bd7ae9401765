"""Date parameters (FHIR R4 Search, "date"): the time that a value covers, and the tests that a prefix means.

Times are microseconds since 1970 UTC, both ends included. What a value leaves open (month, day, time) it covers
wholly; a value without offset is meant in the zone of the deployment.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Comparison, InSpan, SpanTest
from fhir_server.search.modifiers import refused
from fhir_server.search.types.span import Here, Span
from fhir_server.search.values import prefixed, unescaped

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# As R4 has dateTime, but that seconds, and the zone, may be left out. 60 is a leap second.
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::([0-5]\d|60)(?:\.(\d+))?)?"
    r"(Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))?)?)?)?",
    re.ASCII,
)
# Finer than a nanosecond is taken for a mistake.
_TOO_FINE = re.compile(r"\.\d{10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Date:
    """A time as asked for: prefix, the time that the value covers, and for "ap" how far from it still counts."""

    prefix: str
    lo: int
    hi: int
    margin: int = 0


def covered(text: str, zone: tzinfo) -> tuple[int, int] | None:
    """Return the time that a date, dateTime or instant covers; None if it is none.

    >>> covered("1970", UTC)
    (0, 31535999999999)
    >>> covered("1970-01-01T00:00:01.5Z", UTC)
    (1500000, 1599999)
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        if hour is not None:
            return _instant(
                datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second or 0), 59)),
                None if second is None else fraction or "",
                zone if offset is None else _offset(offset),
            )
        first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=zone)
        last_month = int(month or 12)
        last_day = int(day) if day else monthrange(first.year, last_month)[1]
        last = datetime(first.year, last_month, last_day, 23, 59, 59, 999_999, zone, fold=1)
    except ValueError:
        return None
    return microseconds(first), microseconds(last)


def _instant(at: datetime, fraction: str | None, zone: tzinfo) -> tuple[int, int]:
    lo = microseconds(at.replace(tzinfo=zone))
    if fraction is None:
        return lo, lo + 59_999_999
    # Zeros after the millisecond are how some systems print every instant: they say nothing of its precision.
    fraction = fraction[:3] + fraction[3:].rstrip("0")
    lo += int(fraction[:6].ljust(6, "0"))
    return lo, lo + int(10 ** max(6 - len(fraction), 0)) - 1


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[4:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def microseconds(at: datetime) -> int:
    """Return an aware datetime in microseconds since 1970 UTC."""
    gone = at - EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


# --- filed -----------------------------------------------------------------------------------------------------------


def spans(type: str, value: Any, here: Here) -> Iterator[Span]:
    """Yield the time that a value covers; of a Timing only the outer limits count, as R4 has it."""
    if isinstance(value, str):
        if found := covered(value, here.zone):
            yield Span(*found)
    elif type == "Period":
        yield from _period(value, here)
    elif type == "Timing":
        yield from _timing(value, here)


def _period(value: Any, here: Here) -> Iterator[Span]:
    start, end = (covered(value[end], here.zone) if value.get(end) else None for end in ("start", "end"))
    if start or end:
        yield Span(start[0] if start else None, end[1] if end else None)


def _timing(value: Any, here: Here) -> Iterator[Span]:
    found = [Span(*each) for text in value.get("event", ()) if text and (each := covered(text, here.zone))]
    found += _period(value.get("repeat", {}).get("boundsPeriod", {}), here)
    if found:
        lows, highs = [s.lo for s in found if s.lo is not None], [s.hi for s in found if s.hi is not None]
        whole = len(found)
        yield Span(min(lows) if len(lows) == whole else None, max(highs) if len(highs) == whole else None)


# --- looked up -------------------------------------------------------------------------------------------------------


def asked(code: str, text: str, here: Here, now: datetime) -> Date:
    """Return the time that a value asks for. Raises InvalidSearchValue if it is no date."""
    prefix, rest = prefixed(code, unescaped(text))
    # A "+" that was not encoded arrives as a space.
    rest = rest.replace(" ", "+")
    found = covered(rest, here.zone)
    if found is None or _TOO_FINE.search(rest):
        raise InvalidSearchValue(f"The value of {code} is not a date: YYYY, YYYY-MM, YYYY-MM-DD or with time.")
    # R4: about a tenth of the time between now and the date.
    margin = abs(microseconds(now) - found[0]) // 10 if prefix == "ap" else 0
    return Date(prefix, *found, margin)


def span_tests(asked: Date, terms: tuple[str, ...] = ()) -> tuple[SpanTest, ...]:
    """Return the tests of which a matching span passes one (R4 Search, "Prefixes", for ranges)."""
    lo, hi = asked.lo, asked.hi
    within = (Comparison("lo", "gte", lo), Comparison("hi", "lte", hi))
    before, after = (Comparison("lo", "lt", lo),), (Comparison("hi", "gt", hi),)
    meant: dict[str, tuple[tuple[Comparison, ...], ...]] = {
        "eq": (within,),
        "ne": (before, after),
        "gt": (after,),
        "lt": (before,),
        "ge": (after, within),
        "le": (before, within),
        "sa": ((Comparison("lo", "gt", hi),),),
        "eb": ((Comparison("hi", "lt", lo),),),
        "ap": ((Comparison("lo", "lte", hi + asked.margin), Comparison("hi", "gte", lo - asked.margin)),),
    }
    return tuple(SpanTest(comparisons, terms) for comparisons in meant[asked.prefix])


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here, now: datetime) -> Clause:
    """Return the clause of one value."""
    if modifier:
        raise refused(parameter)
    question = asked(parameter.code, text, here, now)
    return InSpan(parameter.code, span_tests(question), (question,))
