"""The resident id number (公民身份号码) of a person: GB 11643-1999, and where a Patient carries it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

# Both circulate: regional platforms after WS/T 500, and the connectathon guides of HL7 China.
SYSTEMS = frozenset({"urn:oid:2.16.156.10011.1.3", "urn:oid:2.16.840.1.113883.2.23.1.19.1"})
# HL7 v2 table 0203: NN and the ISO 3166 code of the country, a national identifier of persons.
TYPE = ("http://terminology.hl7.org/CodeSystem/v2-0203", "NNCHN")

# Provinces of GB/T 2260, and 81-83 for the residence permits of Hong Kong, Macao and Taiwan residents.
_PROVINCES = "1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]"
_NUMBER = re.compile(rf"(?:{_PROVINCES})\d{{4}}(\d{{4}})(\d\d)(\d\d)\d{{3}}[\dX]", re.ASCII)
_CHECK = "10X98765432"


def is_resident_id(text: str) -> bool:
    """Whether the text is a valid resident id number: 18 characters, X in either case.

    Checked are the province, the date of birth (a real day since 1850) and the check character; districts change
    over the years and are not. Source: GB 11643-1999; check character by ISO 7064:1983, MOD 11-2.

    >>> is_resident_id("11010519491231002X"), is_resident_id("110105194912310021")
    (True, False)
    """
    number = text.upper() if text.isascii() else ""
    match = _NUMBER.fullmatch(number)
    if match is None:
        return False
    year, month, day = map(int, match.groups())
    try:
        date(year, month, day)
    except ValueError:
        return False
    return year >= 1850 and number[17] == check_character(number[:17])


def check_character(digits: str) -> str:
    """Return the 18th character for the first 17 digits (ISO 7064:1983, MOD 11-2).

    >>> check_character("11010519491231002")
    'X'
    """
    return _CHECK[sum(2 ** (17 - at) * int(digit) for at, digit in enumerate(digits)) % 11]


def resident_id(patient: Mapping[str, Any]) -> str | None:
    """Return the valid resident id number of a Patient in upper case, None if there is none or more than one.

    Two different numbers are treated as none: joining a wrong person's records would disclose them.
    """
    found = set(_numbers(patient))
    return found.pop() if len(found) == 1 else None


def _numbers(patient: Mapping[str, Any]) -> Iterator[str]:
    for identifier in patient.get("identifier", ()):
        value = identifier.get("value")
        if isinstance(value, str) and identifier.get("use") != "old" and _is_of_residents(identifier):
            number = value.strip().upper()
            if is_resident_id(number):
                yield number


def _is_of_residents(identifier: Mapping[str, Any]) -> bool:
    system = identifier.get("system")
    if system is not None:
        return system in SYSTEMS
    codings = identifier.get("type", {}).get("coding", ())
    return any((coding.get("system"), coding.get("code")) == TYPE for coding in codings)
