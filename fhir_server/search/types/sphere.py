"""Distances along great circles (FHIR R4 Location, "Searching by position")."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

# The mean radius of the earth, in kilometres (IUGG: R1).
EARTH_RADIUS = 6371.0088


def kilometres_between(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Return the distance of two positions, by the haversine formula. Positions in degrees (WGS 84).

    >>> round(kilometres_between(39.9042, 116.4074, 31.2304, 121.4737))  # Beijing and Shanghai
    1067
    """
    here, there = radians(latitude), radians(other_latitude)
    across = sin(radians(other_longitude - longitude) / 2) ** 2
    along = sin((there - here) / 2) ** 2
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(along + cos(here) * cos(there) * across)))
