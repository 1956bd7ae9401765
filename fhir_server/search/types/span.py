"""A stretch of time or of numbers as it is filed, and where this server stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import NamedTuple

from fhir_server.search.ast import Bound, Comparison, SpanTest


class Span(NamedTuple):
    """A stretch from lo to hi, both included; None: open. Dates in microseconds since 1970 UTC.

    terms: what else holds of this very stretch: the units of a quantity, the equality parts of a composite.
    second: another stretch (lo2, hi2) that holds together with this one: the other range of a composite, or the same
    quantity in base units.
    """

    lo: float | None
    hi: float | None
    terms: tuple[str, ...] = ()
    second: tuple[float | None, float | None] | None = None

    def under(self, head: str) -> Span:
        """Return the span with what its terms begin with: the code of a parameter, or the head of a part."""
        return Span(self.lo, self.hi, tuple([head + term for term in self.terms]), self.second) if self.terms else self


@dataclass(frozen=True, slots=True)
class Here:
    """What the meaning of a value depends on beside itself.

    zone: where dates without an offset are meant. base_url: URLs below it are this server's own resources.
    """

    zone: tzinfo = UTC
    base_url: str | None = None


def on_second(test: SpanTest) -> SpanTest:
    """Return a test of a span as the same test of its second stretch."""
    bounds: Mapping[Bound, Bound] = {"lo": "lo2", "hi": "hi2"}
    return replace(test, comparisons=tuple(replace(each, bound=bounds[each.bound]) for each in test.comparisons))


def passes(span: Span, test: SpanTest) -> bool:
    """Return whether one span passes a test, as MongoDB would decide it."""
    return all(term in span.terms for term in test.terms) and all(_compares(span, each) for each in test.comparisons)


def _compares(span: Span, test: Comparison) -> bool:
    if test.bound in ("lo2", "hi2") and span.second is None:
        return False
    lo, hi = (span.lo, span.hi) if test.bound in ("lo", "hi") else span.second or (None, None)
    lower = test.bound.startswith("lo")
    end = lo if lower else hi
    if end is None:  # an open end lies beyond every value: below them all as lo, above them all as hi
        return test.operator.startswith("l" if lower else "g")
    match test.operator:
        case "lt":
            return end < test.value
        case "lte":
            return end <= test.value
        case "gt":
            return end > test.value
    return end >= test.value
