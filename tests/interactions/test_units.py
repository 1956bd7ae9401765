"""Quantities over HTTP: found whatever UCUM unit they are in, sorted by their number, composed with a code."""

from __future__ import annotations

import httpx
import pytest

from tests.answers import ids
from tests.live import Live

UCUM = "http://unitsofmeasure.org"
DOSES = {"a": (5.4, "mg"), "b": (5400, "ug"), "c": (0.0054, "g"), "d": (5.4, "mL"), "e": (5.5, "mg")}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put({"resourceType": "Patient", "id": "p1"})
    for id, (value, unit) in DOSES.items():
        server.put(
            {
                "resourceType": "Observation",
                "id": id,
                "status": "final",
                "code": {"coding": [{"system": "urn:c", "code": "dose"}]},
                "subject": {"reference": "Patient/p1"},
                "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
            }
        )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"value-quantity": f"5.4|{UCUM}|mg"}, {"a", "b", "c"}),
        ({"value-quantity": f"5.4|{UCUM}|mL"}, {"d"}),
        ({"value-quantity": f"0.0054|{UCUM}|L"}, {"d"}),
        ({"value-quantity": f"gt5400|{UCUM}|ug"}, {"e"}),
        ({"value-quantity": "5.4||mg"}, {"a"}),
        ({"value-quantity": "5.4"}, {"a", "d"}),
        ({"value-quantity": f"ne5.4|{UCUM}|mg"}, {"e"}),
        ({"code-value-quantity": f"dose$5400|{UCUM}|ug"}, {"a", "b", "c"}),
        ({"code-value-quantity": f"other$5400|{UCUM}|ug"}, set()),
        ({"value-quantity": f"ge5.4|{UCUM}|mg,5.4|{UCUM}|mL"}, {"a", "b", "c", "d", "e"}),
    ],
)
def test_a_quantity_is_found_in_every_unit(doctor: httpx.Client, query: dict[str, str], found: set[str]) -> None:
    answer = doctor.get("Observation", params=query)
    assert answer.status_code == 200, answer.text
    assert set(ids(answer.json())) == found
    assert answer.json()["total"] == len(found)


def test_quantities_sort_by_their_number(doctor: httpx.Client) -> None:
    answer = doctor.get("Observation", params={"_sort": "-value-quantity,_id"})
    assert ids(answer.json()) == ["b", "e", "a", "d", "c"]
