"""Functions and operators that stand in for fhirpathpy's own, where those depart from FHIRPath N1, and R4's own.

Each takes (context, items, …) as the library calls it. Source: http://hl7.org/fhirpath/N1, by section; FHIR R4,
fhirpath.html, "Additional functions".
"""

# mypy: disallow-untyped-calls=False
# fhirpathpy is typed in parts only.

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

from fhirpathpy.engine.invocations import equality
from fhirpathpy.engine.nodes import FP_Quantity
from fhirpathpy.engine.util import arraify, get_data, parse_value, val_data_converted

Context: TypeAlias = Any
Values: TypeAlias = list[Any]


def only_extended(item: Any) -> bool:
    """Return whether an item is a primitive of which nothing but its extensions (or id) is there."""
    data = get_data(item)
    return isinstance(data, dict) and bool(data) and data.keys() <= {"id", "extension"}


def _only(values: Values) -> Any:
    """Return the only item (4.5, Singleton Evaluation of Collections). Raises ValueError if there are several."""
    if len(values) != 1:
        raise ValueError("one item is expected")
    return get_data(values[0])


def _is_true(values: Values) -> bool:
    """Return a condition's answer: an item that is not a boolean counts as true (4.5)."""
    return bool(values) and _only(values) is not False


def _not(_: Context, values: Values) -> Values:
    return [not _is_true(values)] if values else []  # 6.5.4


def _single(_: Context, values: Values) -> Values:
    """5.3.2: several items are an error."""
    if values:
        _only(values)
    return values


def _iif(_: Context, values: Values, condition: Any, then: Any, otherwise: Any = None) -> Values:
    """5.5.1: the condition is one item; only the branch that is taken is evaluated."""
    if _is_true(condition(values)):
        return list(then(values))
    return list(otherwise(values)) if otherwise else []


def _to_string(_: Context, values: Values) -> Values:
    """5.5.8: booleans are written true and false; what is not a primitive gives nothing."""
    if not values:
        return []
    value = _only(values)
    if isinstance(value, dict):
        return []
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _round(_: Context, values: Values, precision: Any = 0) -> Values:
    """5.7.9: without a precision, to a whole number; halves go away from zero."""
    if not values:
        return []
    step = Decimal(1).scaleb(-int(precision or 0))
    return [Decimal(str(_only(values))).quantize(step, rounding=ROUND_HALF_UP)]


def _of_text(method: Callable[..., Any]) -> Callable[..., Values]:
    """Return a function on a string that gives nothing where an argument is empty (5.6)."""

    def call(_: Context, values: Values, *arguments: Any) -> Values:
        text = _only(values)
        if not isinstance(text, str):
            raise ValueError("a string is expected")
        return [] if any(argument == [] for argument in arguments) else [method(text, *arguments)]

    return call


def _replace_matches(text: str, pattern: str, put: str) -> str:
    return re.sub(pattern, re.sub(r"\$(\d+)", r"\\g<\1>", put), text) if pattern else text  # an empty pattern: no match


def _has_value(_: Context, items: Values) -> Values:
    """R4: whether there is one item, and it is a primitive with a value."""
    values = _values(items)
    return [len(values) == 1 and not isinstance(get_data(values[0]), dict)]


def _get_value(context: Context, items: Values) -> Values:
    """R4: the value itself, where hasValue() holds."""
    return [get_data(_values(items)[0])] if _has_value(context, items) == [True] else []


def _values(items: Values) -> Values:
    """Return items without those that are only the extensions of a primitive, which the library lists beside it."""
    return [each for each in items if not only_extended(each)]


def _equal(context: Context, left: Values, right: Values) -> Values:
    """6.1.1: as many items, and each equal to the one in its place; unknown if one of them is unknown."""
    left, right = _values(left), _values(right)
    if len(left) != len(right):
        return [False]
    found = [equality.equal(context, [one], [other]) for one, other in zip(left, right, strict=True)]
    if [False] in found:
        return [False]
    return [] if [] in found else [True]


def _unequal(context: Context, left: Values, right: Values) -> Values:
    return [not answer for answer in _equal(context, left, right)]


def _equivalent(context: Context, left: Values, right: Values) -> Values:
    """6.1.2: as many items, and each has one like it, in any order."""
    left, right = _values(left), _values(right)
    if len(left) < 2 or len(left) != len(right):
        return [len(left) == len(right) and equality.equival(context, left, right) == [True]]
    left_over = list(right)
    for one in left:
        like = next((at for at, other in enumerate(left_over) if _equivalent(context, [one], [other]) == [True]), None)
        if like is None:
            return [False]
        del left_over[like]
    return [True]


def _not_equivalent(context: Context, left: Values, right: Values) -> Values:
    return [not answer for answer in _equivalent(context, left, right)]


def _compared(sign: str) -> Callable[..., Values]:
    """Return a comparison: quantities in the same unit, or in units of one kind, by their value (6.2)."""
    by_library = {"<": equality.lt, ">": equality.gt, "<=": equality.lte, ">=": equality.gte}[sign]

    def compare(context: Context, left: Values, right: Values) -> Values:
        pair = [_quantity(side[0]) for side in (left, right) if len(side) == 1]
        one, other = pair if len(pair) == 2 else (None, None)
        if one is None or other is None:
            return list(arraify(by_library(context, left, right)))
        if one.unit != other.unit:
            one = FP_Quantity.conv_unit_to(one.unit, one.value, other.unit)
        return [by_library(context, [Decimal(one.value)], [Decimal(other.value)])] if one else []

    return compare


def _quantity(value: Any) -> FP_Quantity | None:
    """Return a FHIR Quantity or a quantity literal as the library's own, its unit as UCUM has it; else None."""
    found = parse_value(value)
    if not isinstance(found, FP_Quantity):
        found = val_data_converted(value) if isinstance(get_data(value), dict) else value
    return found if isinstance(found, FP_Quantity) else None


_TEXT = ["String"]
_ANY = {2: ["Any", "Any"]}

CORRECTIONS: dict[str, dict[str, Any]] = {
    "not": {"fn": _not},
    "single": {"fn": _single},
    "iif": {"fn": _iif, "arity": {2: ["Expr"] * 2, 3: ["Expr"] * 3}},
    "toString": {"fn": _to_string},
    "round": {"fn": _round, "arity": {0: [], 1: ["Number"]}},
    "indexOf": {"fn": _of_text(str.find), "arity": {1: _TEXT}, "nullable_input": True},
    "startsWith": {"fn": _of_text(str.startswith), "arity": {1: _TEXT}, "nullable_input": True},
    "endsWith": {"fn": _of_text(str.endswith), "arity": {1: _TEXT}, "nullable_input": True},
    "replace": {"fn": _of_text(str.replace), "arity": {2: _TEXT * 2}, "nullable_input": True},
    "replaceMatches": {"fn": _of_text(_replace_matches), "arity": {2: _TEXT * 2}, "nullable_input": True},
    "hasValue": {"fn": _has_value},
    "getValue": {"fn": _get_value},
    "=": {"fn": _equal, "arity": _ANY, "nullable": True},
    "!=": {"fn": _unequal, "arity": _ANY, "nullable": True},
    "~": {"fn": _equivalent, "arity": _ANY},
    "!~": {"fn": _not_equivalent, "arity": _ANY},
    **{sign: {"fn": _compared(sign), "arity": _ANY, "nullable": True} for sign in ("<", ">", "<=", ">=")},
}
