"""The parameter `near` (FHIR R4 Location, "Searching by position"): places within a distance of a point.

near=latitude|longitude|distance|units. Without units the distance is in kilometres; without a distance it is NEARBY.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Near
from fhir_server.search.modifiers import refused
from fhir_server.search.types.number import finite
from fhir_server.search.values import split, unescaped

CODE = "near"

NEARBY = 50.0  # kilometres
# Half the way around the earth: nothing is farther away.
FARTHEST = 20_020.0
# Kilometres in each unit. Source: UCUM; the last two are what people write for [mi_i] and [ft_i].
UNITS: Mapping[str, float] = {
    "km": 1.0,
    "m": 0.001,
    "cm": 0.00001,
    "[mi_i]": 1.609344,
    "[mi_us]": 1609.347219 / 1000,
    "[nmi_i]": 1.852,
    "[ft_i]": 0.0003048,
    "[yd_i]": 0.0009144,
    "mi": 1.609344,
    "ft": 0.0003048,
}

_DECIMAL = re.compile(r"[+-]?\d{1,12}(\.\d{1,20})?", re.ASCII)

Point = tuple[float, float]  # longitude, latitude: the order of GeoJSON and of MongoDB


def point(value: Any) -> Point | None:
    """Return the point of a Location.position; None if it is not on the earth."""
    if not isinstance(value, dict):
        return None
    longitude, latitude = finite(value.get("longitude")), finite(value.get("latitude"))
    if longitude is None or latitude is None or abs(longitude) > 180 or abs(latitude) > 90:
        return None
    return longitude, latitude


def clause(parameter: SearchParameter, modifier: str, text: str) -> Clause:
    """Return the clause of one value. Raises InvalidSearchValue if it is no point, or no distance."""
    if modifier:
        raise refused(parameter)
    parts = [unescaped(part) for part in split(text, "|")]
    if not 2 <= len(parts) <= 4:
        raise _wrong(parameter.code)
    latitude, longitude, distance, units = [*parts, "", ""][:4]
    return Near(
        parameter.code,
        _within(parameter.code, latitude, 90),
        _within(parameter.code, longitude, 180),
        _kilometres(parameter.code, distance, units),
    )


def _kilometres(code: str, distance: str, units: str) -> float:
    if not distance:
        return NEARBY  # R4: then the units do not matter
    if units and units not in UNITS:
        raise InvalidSearchValue(f"The distance of {code} is in {', '.join(UNITS)}; without units in km.")
    found = _number(code, distance) * UNITS[units or "km"]
    if found < 0:
        raise _wrong(code)
    return min(found, FARTHEST)


def _within(code: str, text: str, limit: float) -> float:
    found = _number(code, text)
    if abs(found) > limit:
        raise _wrong(code)
    return found


def _number(code: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise _wrong(code)
    return float(text)


def _wrong(code: str) -> InvalidSearchValue:
    return InvalidSearchValue(f"The value of {code} is latitude|longitude|distance|units, the first two in degrees.")
