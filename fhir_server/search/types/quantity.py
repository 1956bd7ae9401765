"""Quantity parameters (FHIR R4 Search, "quantity"): a number as in number.py, and the unit on the same span.

Units are compared as they are written, and those of UCUM that are of one kind by what they are in base units (ucum.py):
a span's second stretch is the same quantity in these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.fhir_json import decimal_text
from fhir_server.search.ast import Clause, InSpan, SpanTest
from fhir_server.search.modifiers import refused
from fhir_server.search.types import number, ucum
from fhir_server.search.types.number import finite
from fhir_server.search.types.span import Here, Span, on_second
from fhir_server.search.values import field, split, unescaped

CURRENCY = "urn:iso:std:iso:4217"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity as asked for. system: None = any. code: None = any; without a system: code or unit."""

    number: number.Number
    system: str | None
    code: str | None


# --- filed -----------------------------------------------------------------------------------------------------------


def spans(type: str, value: Any, here: Here) -> Iterator[Span]:
    """Yield the span that a value covers, with a form for each way to ask for its unit."""
    if not isinstance(value, dict):
        return
    unit, ends = _unit(type, value), _ends(type, value)
    if ends == (None, None):
        return
    forms = tuple(unit_forms(unit))
    if base := _base(unit.get("system"), unit.get("code")):
        yield Span(*ends, (*forms, _base_form(base)), _ends(type, value, unit["code"]))
    else:
        yield Span(*ends, forms)


def _unit(type: str, value: Any) -> Any:
    """Return the quantity within a value that has its unit."""
    match type:
        case "Range":
            return value.get("low") or value.get("high") or {}
        case "SampledData":
            return value.get("origin") or {}
    return value


def _ends(type: str, value: Any, code: str | None = None) -> tuple[float | None, float | None]:
    """Return the ends of what a value covers; with the code of its unit, in base units."""
    match type:
        case "Range":
            low, high = value.get("low", {}), value.get("high", {})
            return _number(low.get("value"), code), _number(high.get("value"), code)
        case "SampledData":
            low, high = sampled(value)
            return (low, high) if code is None else (_number(low, code), _number(high, code))
    return bounds(value, code)


def _number(value: Any, code: str | None) -> float | None:
    found = finite(value)
    return found if found is None or code is None else _in_base_units(decimal_text(value), code)


@lru_cache(10_000)
def _in_base_units(digits: str, code: str) -> float | None:
    unit = ucum.read(code)
    return number.double(Decimal(digits), unit.factor) if unit else None


def _base(system: Any, code: Any) -> ucum.Unit | None:
    """Return what a unit is in base units; None if it is not known, or not of UCUM."""
    return ucum.read(code) if system == ucum.SYSTEM and isinstance(code, str) else None


def _base_form(unit: ucum.Unit) -> str:
    return f":base|{unit.kind}"


def bounds(quantity: Any, code: str | None = None) -> tuple[float | None, float | None]:
    """Return the ends of a quantity: its value, or what its comparator says; (None, None) without a value.

    code: that of its unit, if the ends are to be in base units.
    """
    value = _number(quantity.get("value"), code)
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


def span_tests(head: str, asked: Quantity, *, converted: bool = True) -> tuple[SpanTest, ...]:
    """Return the tests of which a matching span passes one. converted: whatever unit of the same kind it is in."""
    base = _base(asked.system, asked.code) if converted else None
    if base is None:
        return number.span_tests(asked.number, tuple(head + form for form in looked_up(asked)))
    return tuple(map(on_second, number.span_tests(asked.number, (head + _base_form(base),), base.factor)))


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value."""
    if modifier:
        raise refused(parameter)
    question = asked(parameter.code, text)
    return InSpan(parameter.code, span_tests(parameter.code, question), (question,))
