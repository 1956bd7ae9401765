"""FHIR JSON in and out, without losing a digit of a decimal (FHIR R4, JSON representation; ADR 0006)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import orjson

from fhir_server.errors import InvalidRequest

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class FhirDecimal(float):
    """A number with the text that it came as, where a plain number would not write the same text again.

    FHIR R4, Datatypes, decimal: the precision is part of the value, so 1.50 must not become 1.5.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> FhirDecimal:
        """Return the number that `text` writes. Raises InvalidRequest if it is too large for a double."""
        made = super().__new__(cls, text)
        if not math.isfinite(made):
            raise InvalidRequest("The body holds a number that is too large.")
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[FhirDecimal], tuple[str]]:
        return FhirDecimal, (self.text,)

    def __repr__(self) -> str:
        return self.text


def decimal_text(number: float) -> str:
    """Return the digits of a JSON number as they came (or as they will be written).

    >>> decimal_text(FhirDecimal("1.50")), decimal_text(1.5), decimal_text(2)
    ('1.50', '1.5', '2')
    """
    return number.text if isinstance(number, FhirDecimal) else orjson.dumps(number).decode()


def parse(raw: bytes) -> Any:
    """Return the value that a JSON body holds; numbers that a plain float or int would rewrite are FhirDecimal.

    Strict: UTF-8, no NaN, no lone surrogates, no name twice in an object, at most 254 levels (what could not be
    written again is not read). Raises InvalidRequest; its text names the place, never the content.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise InvalidRequest(f"The body is not JSON: stopped at {where}.") from None
    try:
        # Written again as it came: then no digit was changed and no repeated name was dropped.
        if orjson.dumps(value) == raw:
            return value
    except TypeError:
        raise InvalidRequest("The body is nested too deeply.") from None
    return _EXACT.decode(raw.decode())


def number(text: str) -> float | str:
    """Return the value that a JSON number has, its digits kept; text that is no JSON number comes back as it is.

    >>> number("1.50"), number("2"), number("two")
    (1.50, 2, 'two')
    """
    if not _NUMBER.fullmatch(text):
        return text
    return _whole(text) if text.lstrip("-").isdigit() else _broken(text)


def dump(value: Any, *, pretty: bool = False) -> bytes:
    """Return JSON in UTF-8, compact unless pretty; members keep their order and decimals their digits."""
    return orjson.dumps(value, default=_as_it_came, option=orjson.OPT_INDENT_2 if pretty else None)


def canonical(value: Any) -> bytes:
    """Return compact JSON with sorted names: equal for equal content, so fit for a digest."""
    return orjson.dumps(value, default=_as_it_came, option=orjson.OPT_SORT_KEYS)


def _as_it_came(value: Any) -> orjson.Fragment:
    if isinstance(value, FhirDecimal):
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _number(plain: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        if len(text) < 18 and "e" not in text and repr(number := plain(text)) == text:
            return number
        return FhirDecimal(text)

    return read


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise InvalidRequest("The body is not FHIR JSON: an object holds the same name twice.")
    return made


_whole, _broken = _number(int), _number(float)
_EXACT = json.JSONDecoder(object_pairs_hook=_object, parse_float=_broken, parse_int=_whole)
