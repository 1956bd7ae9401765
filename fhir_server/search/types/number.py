"""Number parameters (FHIR R4 Search, "number"): how numbers are filed, and the tests that a prefix means.

A number that is asked for stands for everything that rounds to it; with a prefix of order it stands for itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Comparison, InSpan, SpanTest
from fhir_server.search.modifiers import refused
from fhir_server.search.types.span import Here, Span
from fhir_server.search.values import prefixed, unescaped

_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as asked for: prefix, value, and half the unit of its last digit."""

    prefix: str
    value: Decimal
    half: Decimal

    def rounding(self) -> tuple[Decimal, Decimal]:
        """Return [from, to): the numbers that round to this one."""
        return self.value - self.half, self.value + self.half

    def vicinity(self) -> tuple[Decimal, Decimal]:
        """Return [from, to]: the numbers that are about this one; R4 recommends a tenth of it on either side."""
        margin = max(abs(self.value) / 10, self.half)
        return self.value - margin, self.value + margin


def finite(value: Any) -> float | None:
    """Return a JSON number as a double; None for what is none, or too large for one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def double(number: Decimal, scale: Fraction | None = None) -> float:
    """Return a number as the double nearest to it, multiplied by the scale before it is rounded; infinity beyond doubles."""
    if scale is None:
        return float(number)
    try:
        return float(Fraction(number) * scale)
    except OverflowError:
        return math.copysign(math.inf, number)


def spans(type: str, value: Any, here: Here) -> Iterator[Span]:
    """Yield the number itself, as a span of no length."""
    number = finite(value)
    if number is not None:
        yield Span(number, number)


def asked(code: str, text: str) -> Number:
    """Return the number that a value asks for. Raises InvalidSearchValue if it is none."""
    prefix, rest = prefixed(code, text)
    if not _NUMBER.fullmatch(rest) or not math.isfinite(float(rest)):
        raise InvalidSearchValue(f"The value of {code} is not a number.")
    value = Decimal(rest)
    exponent = int(value.as_tuple().exponent)
    # R4 gives 100 as [99.5, 100.5) and 1e2 as [95, 105): with a positive exponent, one digit finer than its last.
    return Number(prefix, value, Decimal(5).scaleb(exponent - 1 if exponent <= 0 else exponent - 2))


def span_tests(asked: Number, terms: tuple[str, ...] = (), scale: Fraction | None = None) -> tuple[SpanTest, ...]:
    """Return the tests of which a matching span passes one (R4 Search, "number" and "Prefixes").

    scale: what all numbers are multiplied by.
    """
    low, high = (double(bound, scale) for bound in asked.rounding())
    exact = double(asked.value, scale)
    # With more digits than a double has, the bounds fall together: the number itself stays between them.
    low, high = min(low, exact), max(high, math.nextafter(exact, math.inf))
    least, most = (double(bound, scale) for bound in asked.vicinity())
    meant: dict[str, tuple[tuple[Comparison, ...], ...]] = {
        "eq": ((Comparison("lo", "gte", low), Comparison("hi", "lt", high)),),
        "ne": ((Comparison("lo", "lt", low),), (Comparison("hi", "gte", high),)),
        "gt": ((Comparison("hi", "gt", exact),),),
        "lt": ((Comparison("lo", "lt", exact),),),
        "ge": ((Comparison("hi", "gte", exact),),),
        "le": ((Comparison("lo", "lte", exact),),),
        "sa": ((Comparison("lo", "gt", exact),),),
        "eb": ((Comparison("hi", "lt", exact),),),
        "ap": ((Comparison("lo", "lte", most), Comparison("hi", "gte", least)),),
    }
    return tuple(SpanTest(comparisons, terms) for comparisons in meant[asked.prefix])


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value."""
    if modifier:
        raise refused(parameter)
    question = asked(parameter.code, unescaped(text))
    return InSpan(parameter.code, span_tests(question), (question,))
