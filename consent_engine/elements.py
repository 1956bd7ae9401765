"""Reading the small parts of a Consent: references, codings, periods.

Every function returns None (or Unreadable is raised) for what cannot be understood; none guesses.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any

from consent_engine.dates import Span, span
from consent_engine.reasons import Reason

_REFERENCE = re.compile(
    r"(?:https?://[^?#]*/)?([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?", re.ASCII
)


class Unreadable(Exception):
    """A part of a provision cannot be understood. Never leaves this package."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def relative_reference(value: object) -> str | None:
    """Return "Type/id" of a literal reference, without version and base; None if there is no such reference.

    >>> relative_reference({"reference": "https://example.org/fhir/Practitioner/1/_history/2"})
    'Practitioner/1'
    """
    text = value.get("reference") if isinstance(value, Mapping) else None
    found = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
    return found[1] if found else None


def reference(value: object) -> str:
    """Return "Type/id". Raises Unreadable if the value is not a literal reference."""
    found = relative_reference(value)
    if found is None:
        raise Unreadable(Reason.REFERENCE)
    return found


def entries(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a populated list. Raises Unreadable for anything else: an empty list is no absence."""
    if not isinstance(value, list) or not value or not all(isinstance(entry, Mapping) for entry in value):
        raise Unreadable(Reason.LIST)
    return value


def coding(value: Mapping[str, Any]) -> tuple[str, str]:
    """Return system and code. Raises Unreadable if one of them is missing."""
    system, code = value.get("system"), value.get("code")
    if not (isinstance(system, str) and system and isinstance(code, str) and code):
        raise Unreadable(Reason.CODING)
    return system, code


def concept(value: object) -> list[tuple[str, str]]:
    """Return all codings of a CodeableConcept. Raises Unreadable if there are none, or one is incomplete."""
    if not isinstance(value, Mapping):
        raise Unreadable(Reason.CONCEPT)
    return [coding(each) for each in entries(value.get("coding"))]


def complete_codings(value: object) -> Iterator[tuple[str, str]]:
    """Yield the codings of a CodeableConcept that have a system and a code; passes over everything else."""
    found = value.get("coding") if isinstance(value, Mapping) else None
    for each in found if isinstance(found, list) else ():
        try:
            yield coding(each)
        except (Unreadable, AttributeError):
            continue


def period(value: object, zone: tzinfo) -> Span:
    """Return the time that a Period covers; the end is inclusive to its precision.

    Raises Unreadable if a side cannot be read, none is given, or it ends before it starts.
    """
    if not isinstance(value, Mapping) or not ({"start", "end"} & value.keys()):
        raise Unreadable(Reason.PERIOD)
    start = _side(value, "start", zone, 0)
    end = _side(value, "end", zone, 1)
    if start is not None and end is not None and end <= start:
        raise Unreadable(Reason.PERIOD_ORDER)
    return Span(start, end)


def _side(value: Mapping[str, Any], name: str, zone: tzinfo, which: int) -> datetime | None:
    if name not in value:
        return None
    found = span(value[name], zone)
    if found is None:
        raise Unreadable(Reason.DATE)
    return found[which]


def literal_references(resource: object) -> frozenset[str]:
    """Return "Type/id" of every literal reference that a resource makes, at any depth.

    >>> sorted(literal_references({"subject": {"reference": "Patient/1"}, "focus": [{"reference": "#within"}]}))
    ['Patient/1']
    """
    found: set[str] = set()
    waiting = [resource]
    while waiting:
        at = waiting.pop()
        if isinstance(at, Mapping):
            found.update(filter(None, [relative_reference(at)]))
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
    return frozenset(found)


def carries(value: object, key: str, *, beside: frozenset[str] = frozenset()) -> bool:
    """Return whether the key occurs in the JSON value at any depth, not looking into the keys `beside`."""
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if isinstance(at, Mapping):
            if key in at:
                return True
            waiting += [inner for name, inner in at.items() if name not in beside]
        elif isinstance(at, list):
            waiting += at
    return False
