"""The primitive types: what a JSON value must look like (FHIR R4, Datatypes, section "Primitive Types").

A check returns what is wrong in words that fit behind "Patient.birthDate", or None. Words never quote the value.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import date

Check = Callable[[object], str | None]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # no XML document could hold these
_ZONED = r"T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-](0\d|1[0-3]):[0-5]\d|[+-]14:00)"
_YEAR = r"(?!0000)\d{4}"
_DAY = r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_LONGEST = 1024 * 1024  # characters of a string


def _boolean(value: object) -> str | None:
    return None if type(value) is bool else "must be true or false, without quotes"


def _whole(lowest: int) -> Check:
    def check(value: object) -> str | None:
        if type(value) is int and lowest <= value <= 2**31 - 1:
            return None
        return f"must be a whole number from {lowest} to 2147483647, without quotes"

    return check


def _decimal(value: object) -> str | None:
    if isinstance(value, int | float) and type(value) is not bool:
        return None
    return "must be a number, without quotes"


def _string(value: object) -> str | None:
    if type(value) is not str:
        return "must be a string"
    if not value or value.isspace():
        return "is empty: leave the element out instead"
    if len(value) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    return "holds a control character" if not value.isprintable() and _CONTROL.search(value) else None


def _pattern(expression: str, what: str, flags: re.RegexFlag = re.ASCII) -> Check:
    matches = re.compile(expression, flags).fullmatch

    def check(value: object) -> str | None:
        if type(value) is str and matches(value):
            return None
        return what if type(value) is str else "must be a string"

    return check


def _calendar(expression: str, what: str) -> Check:
    matches = re.compile(expression, re.ASCII).fullmatch

    def check(value: object) -> str | None:
        if type(value) is not str:
            return "must be a string"
        if not matches(value):
            return what
        if len(value) < 10:
            return None
        try:
            date.fromisoformat(value[:10])
        except ValueError:
            return "is no day of the calendar"
        return None

    return check


def _base64(value: object) -> str | None:
    if type(value) is not str:
        return "must be a string"
    try:
        binascii.a2b_base64("".join(value.split()).encode("ascii"), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are both
        return "must be base64"
    return None if value.strip() else "is empty: leave the element out instead"


_uri = _pattern(r"[^\s\x00-\x1f]+", "must be a URI: not empty, no white space", re.UNICODE)

CHECKS: dict[str, Check] = {
    "base64Binary": _base64,
    "boolean": _boolean,
    "canonical": _uri,
    "code": _pattern(
        r"[^\s\x00-\x1f]+(\s[^\s\x00-\x1f]+)*", "must be a code: not empty, only single spaces inside", re.UNICODE
    ),
    "date": _calendar(rf"{_YEAR}(-(0[1-9]|1[0-2])|-{_DAY})?", "must be a date: YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": _calendar(
        rf"{_YEAR}(-(0[1-9]|1[0-2])|-{_DAY}({_ZONED})?)?",
        "must be a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a time zone (+08:00 or Z)",
    ),
    "decimal": _decimal,
    "id": _pattern(r"[A-Za-z0-9\-.]{1,64}", "must be an id: 1 to 64 of A-Z, a-z, 0-9, hyphen and dot"),
    "instant": _calendar(
        rf"{_YEAR}-{_DAY}{_ZONED}", "must be an instant: YYYY-MM-DDThh:mm:ss with a time zone (+08:00 or Z)"
    ),
    "integer": _whole(-(2**31)),
    "markdown": _string,
    "oid": _pattern(r"urn:oid:[0-2](\.(0|[1-9]\d*))+", "must be an OID as urn:oid:…"),
    "positiveInt": _whole(1),
    "string": _string,
    "time": _pattern(r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?", "must be a time: hh:mm:ss"),
    "unsignedInt": _whole(0),
    "uri": _uri,
    "url": _uri,
    "uuid": _pattern(
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "must be a UUID as urn:uuid:…"
    ),
}
