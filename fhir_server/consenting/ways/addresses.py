"""Where a patient, or who speaks for them, can be reached: read from the stored resource; pure.

Source: FHIR R4 ContactPoint.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any

from consent_engine.dates import span

_NUMBER = re.compile(r"\+?[0-9]{5,20}")
_CHINA = re.compile(r"(?:\+86|0086)(1[0-9]{10})")
LAST_RANK = 1 << 31


def number_of(resource: Mapping[str, Any], at: datetime, zone: tzinfo) -> str | None:
    """Return the number for text messages: of those in use a mobile one before others, by rank; None if there is none.

    >>> from datetime import UTC
    >>> kept = {"telecom": [{"system": "phone", "value": "021-12345678"},
    ...                     {"system": "phone", "use": "mobile", "value": "+86 138 0000 0000"}]}
    >>> number_of(kept, datetime(2026, 1, 1, tzinfo=UTC), UTC)
    '13800000000'
    """
    found = [each for each in _points(resource, at, zone) if each.get("system") in ("phone", "sms")]
    found.sort(key=lambda each: (each.get("system") != "sms", each.get("use") != "mobile", _rank(each)))
    return next(filter(None, (plain(each.get("value")) for each in found)), None)


def handle_of(resource: Mapping[str, Any], at: datetime, zone: tzinfo) -> str | None:
    """Return by which handle a messenger's platform knows somebody, such as the openid of a mini-program's user.

    It is kept as a ContactPoint of the system "other".
    """
    found = [each for each in _points(resource, at, zone) if each.get("system") == "other"]
    values = (each.get("value") for each in sorted(found, key=_rank))
    return next((each for each in values if isinstance(each, str) and each), None)


def plain(number: object) -> str | None:
    """Return a telephone number without what people write in between; None if it is none.

    >>> plain("(138) 0000-0000"), plain("0086 13800000000"), plain("总机转 8")
    ('13800000000', '13800000000', None)
    """
    if not isinstance(number, str):
        return None
    bare = re.sub(r"[\s()\-.·]", "", unicodedata.normalize("NFKC", number))
    if china := _CHINA.fullmatch(bare):
        return china[1]
    return bare if _NUMBER.fullmatch(bare) else None


def _points(resource: Mapping[str, Any], at: datetime, zone: tzinfo) -> Iterator[Mapping[str, Any]]:
    """Yield the contact points that are in use."""
    for each in resource.get("telecom", ()):
        if each.get("use") != "old" and _in_use(each.get("period"), at, zone):
            yield each


def _in_use(period: Any, at: datetime, zone: tzinfo) -> bool:
    said = period if isinstance(period, Mapping) else {}
    start, end = span(said.get("start"), zone), span(said.get("end"), zone)
    return (start is None or start[0] <= at) and (end is None or at < end[1])


def _rank(point: Mapping[str, Any]) -> int:
    rank = point.get("rank")
    return rank if isinstance(rank, int) else LAST_RANK
