"""Quantity parameters (FHIR R4 Search, "quantity"): a number as in number.py, and the unit on the same span.

Units are compared as they are written; nothing is converted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search import number
from fhir_server.search.ast import Clause, InSpan, SpanTest
from fhir_server.search.number import finite
from fhir_server.search.span import Here, Span
from fhir_server.search.values import field, split, unescaped

CURRENCY = "urn:iso:std:iso:4217"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity as asked for. system: None = any. code: None = any; without a system: code or unit."""

    number: number.Number
    system: str | None
    code: str | None


# --- filed -----------------------------------------------------------------------------------------------------------


def spans(head: str, type: str, value: Any, here: Here) -> Iterator[Span]:
    """Yield the span that a value covers, with a term for each way to ask for its unit."""
    if not isinstance(value, dict):
        return
    if type == "Range":
        low, high = value.get("low", {}), value.get("high", {})
        ends, unit = (finite(low.get("value")), finite(high.get("value"))), low or high
    elif type == "SampledData":
        ends, unit = sampled(value), value.get("origin", {})
    else:
        ends, unit = bounds(value), value
    if ends != (None, None):
        yield Span(*ends, tuple(head + form for form in unit_forms(unit)))


def bounds(quantity: Any) -> tuple[float | None, float | None]:
    """Return the ends of a quantity: its value, or what its comparator says; (None, None) without a value."""
    value = finite(quantity.get("value"))
    if value is None:
        return None, None
    match quantity.get("comparator"):
        case "<":
            return None, math.nextafter(value, -math.inf)
        case "<=":
            return None, value
        case ">":
            return math.nextafter(value, math.inf), None
        case ">=":
            return value, None
    return value, value


def sampled(value: Any) -> tuple[float | None, float | None]:
    """Return the bounds of SampledData's values: R4 searches it by these.

    A value is origin + factor * sample; "L" and "U" are the limits of detection, "E" is no value.
    """
    origin, factor = finite(value.get("origin", {}).get("value")), finite(value.get("factor", 1))
    limits = {"L": value.get("lowerLimit"), "U": value.get("upperLimit")}
    found = [number for each in str(value.get("data", "")).split() if (number := _sample(each, limits)) is not None]
    if not found or origin is None or factor is None:
        return None, None
    ends = sorted((origin + factor * min(found), origin + factor * max(found)))
    return (ends[0], ends[1]) if all(map(math.isfinite, ends)) else (None, None)


def _sample(text: str, limits: dict[str, Any]) -> float | None:
    if text in limits:
        return finite(limits[text])
    try:
        return finite(float(text))
    except ValueError:
        return None


def unit_forms(quantity: Any) -> Iterator[str]:
    """Yield every form of a quantity's unit."""
    system, code, unit = quantity.get("system"), quantity.get("code"), quantity.get("unit")
    if currency := quantity.get("currency"):
        system, code = CURRENCY, currency
    if system:
        yield f"|{field(system)}|"
        if code:
            yield f"|{field(system)}|{code}"
    if code:
        yield f"||{code}"
    if unit and unit != code:
        yield f"||{unit}"


# --- looked up -------------------------------------------------------------------------------------------------------


def asked(code: str, text: str) -> Quantity:
    """Return the quantity that a value asks for: number, number|system|code, number||code."""
    parts = [unescaped(part) for part in split(text, "|")]
    if len(parts) not in (1, 3):
        raise InvalidSearchValue(f"The value of {code} is not a quantity: number, number|system|code or number||code.")
    system, unit = parts[1:] if len(parts) == 3 else ("", "")
    return Quantity(number.asked(code, parts[0]), system or None, unit or None)


def looked_up(asked: Quantity) -> list[str]:
    """Return the form of the unit asked for; none if any unit will do."""
    if asked.system is None and asked.code is None:
        return []
    return [f"|{field(asked.system or '')}|{asked.code or ''}"]


def span_tests(head: str, asked: Quantity, terms: tuple[str, ...] = ()) -> tuple[SpanTest, ...]:
    """Return the tests of which a matching span passes one."""
    return number.span_tests(asked.number, terms + tuple(head + form for form in looked_up(asked)))


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value."""
    if modifier:
        raise UnsupportedParameter(f"The modifier of {parameter.code} is not supported: a quantity takes :missing.")
    question = asked(parameter.code, text)
    return InSpan(parameter.code, span_tests(parameter.code, question), (question,))
