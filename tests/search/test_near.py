"""Location.near: R4 Location, "Searching by position"."""

from typing import Any

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Near
from fhir_server.search.types.near import NEARBY
from tests.search.reading import PROJECT, ask, clause, finds

# The Temple of Heaven is 3.9 km from the Palace Museum; Tianjin is 110 km away.
MUSEUM = "39.9163|116.3972"


def place(latitude: Any = 39.8822, longitude: Any = 116.4066) -> dict[str, Any]:
    return {"resourceType": "Location", "id": "l", "position": {"latitude": latitude, "longitude": longitude}}


@pytest.mark.parametrize(
    ("distance", "found"),
    [
        ("|3.9|km", True),
        ("|3.9", True),
        ("|3.8|km", False),
        ("|3900|m", True),
        ("|3800|m", False),
        ("|2.5|[mi_i]", True),
        ("|2.4|[mi_us]", False),
        ("|2.1|[nmi_i]", True),
        ("|12800|[ft_i]", True),
        ("", True),
        ("||km", True),
        ("|0", False),
        ("|99999", True),
    ],
)
def test_a_place_is_found_within_a_distance(distance: str, found: bool) -> None:
    assert finds(f"Location?near={MUSEUM}{distance}", place()) is found


def test_what_is_near_without_a_distance() -> None:
    assert clause(f"Location?near={MUSEUM}") == Near("near", 39.9163, 116.3972, NEARBY)
    assert not finds(f"Location?near={MUSEUM}", place(39.1256, 117.1902))


def test_one_of_several_points_is_enough() -> None:
    assert finds(f"Location?near=0|0|1,{MUSEUM}|5", place())


@pytest.mark.parametrize(("here", "there"), [(179.99, -179.99), (-180, 180), (0.01, -0.01)])
def test_the_date_line_and_the_meridian_are_no_borders(here: float, there: float) -> None:
    assert finds(f"Location?near=0|{here}|3", place(0, there))


def test_at_the_pole_all_longitudes_meet() -> None:
    assert finds("Location?near=89.999|0|1", place(89.999, 180))


@pytest.mark.parametrize(("latitude", "longitude"), [(91, 0), (0, 181), (None, 0), ("39", "116"), (True, 0)])
def test_what_is_not_on_the_earth_is_not_filed(latitude: Any, longitude: Any) -> None:
    assert PROJECT(place(latitude, longitude)).points == {"near": ()}


def test_a_place_without_position_is_missing() -> None:
    assert finds("Location?near:missing=true", {"resourceType": "Location"})
    assert finds("Location?near:missing=false", place())


@pytest.mark.parametrize(
    "value",
    ["39.9", "39.9|", "|116", "91|0", "0|181", "x|y", "1e1|2", "1|2|-3", "1|2|3|parsec", "1|2|3|km|4", "１|2", "nan|1"],
)
def test_what_is_no_position_or_distance_is_refused(value: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Location?near={value}")


def test_modifiers_other_than_missing_are_refused() -> None:
    with pytest.raises(UnsupportedParameter):
        ask(f"Location?near:exact={MUSEUM}")
