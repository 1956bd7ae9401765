"""A stretch of time or of numbers as it is filed, and where this server stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo

from fhir_server.search.ast import SpanTest


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch from lo to hi, both included; None: open. Dates in microseconds since 1970 UTC.

    terms: what else holds of this very stretch: the units of a quantity, the equality parts of a composite.
    """

    lo: float | None
    hi: float | None
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Here:
    """What the meaning of a value depends on beside itself.

    zone: where dates without an offset are meant. base_url: URLs below it are this server's own resources.
    """

    zone: tzinfo = UTC
    base_url: str | None = None


def passes(span: Span, test: SpanTest) -> bool:
    """Return whether one span passes a test, as MongoDB would decide it."""
    return all(term in span.terms for term in test.terms) and all(
        _compares(span.lo if c.bound == "lo" else span.hi, c.bound, c.operator, c.value) for c in test.comparisons
    )


def _compares(end: float | None, bound: str, operator: str, value: float) -> bool:
    if end is None:  # an open end lies beyond every value: below them all as lo, above them all as hi
        return operator.startswith("l" if bound == "lo" else "g")
    match operator:
        case "lt":
            return end < value
        case "lte":
            return end <= value
        case "gt":
            return end > value
    return end >= value
