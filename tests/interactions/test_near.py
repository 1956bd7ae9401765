"""Location.near over HTTP: places by great circle."""

from __future__ import annotations

import httpx
import pytest

from tests.answers import ids
from tests.live import Live

PLACES = {
    "museum": (39.9163, 116.3972),
    "temple": (39.8822, 116.4066),
    "tianjin": (39.1256, 117.1902),
    "east": (0.0, 179.99),
    "west": (0.0, -179.99),
    "pole": (90.0, 0.0),
}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    for id, (latitude, longitude) in PLACES.items():
        server.put({"resourceType": "Location", "id": id, "position": {"latitude": latitude, "longitude": longitude}})
    server.put({"resourceType": "Location", "id": "nowhere", "name": "Nowhere"})


@pytest.mark.parametrize(
    ("near", "found"),
    [
        ("39.9163|116.3972|1|km", {"museum"}),
        ("39.9163|116.3972|3900|m", {"museum", "temple"}),
        ("39.9163|116.3972", {"museum", "temple"}),
        ("39.9163|116.3972|100|[mi_i]", {"museum", "temple", "tianjin"}),
        ("0|180|2", {"east", "west"}),
        ("0|-180|2", {"east", "west"}),
        ("89.9|77|20", {"pole"}),
        ("39|117|99999", set(PLACES)),
        ("0|0|1", set()),
        ("0|0|1,0|180|2", {"east", "west"}),
    ],
)
def test_places_are_found_by_distance(doctor: httpx.Client, near: str, found: set[str]) -> None:
    answer = doctor.get("Location", params={"near": near})
    assert answer.status_code == 200, answer.text
    assert set(ids(answer.json())) == found


def test_a_distance_that_cannot_be_read_is_refused(doctor: httpx.Client) -> None:
    assert doctor.get("Location", params={"near": "39.9|116.4|1|parsec"}).status_code == 400
    assert ids(doctor.get("Location", params={"near:missing": "true"}).json()) == ["nowhere"]
