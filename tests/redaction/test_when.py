"""When something was done can be withheld: then it is of no time, whatever it is asked by."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.live import Live
from tests.redaction.world import obliged, observation, patient


@pytest.fixture(scope="module")
def key(server: Live) -> str:
    """A key of a patient with an observation of 2026, stored first, and one of 2020."""
    key = secrets.token_hex(4)
    server.put(
        patient(f"w{key}"),
        observation(f"new{key}", f"w{key}", effectiveDateTime="2026-01-01"),
        observation(f"old{key}", f"w{key}", effectiveDateTime="2020-01-01"),
        obliged(f"k{key}", f"w{key}", "Observation.effective"),
    )
    return key


@pytest.fixture
def doctor(server: Live) -> Iterator[httpx.Client]:
    with server.client("practitioner", "Practitioner/dr1") as client:
        yield client


def found(client: httpx.Client, path: str) -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return [each["resource"]["id"] for each in answer.json().get("entry", ())]


@pytest.mark.parametrize("times", ["start=2025", "end=2021", "start=2019&end=2021", "start=2030"])
def test_everything_of_a_time_tells_no_time_that_is_withheld(doctor: httpx.Client, key: str, times: str) -> None:
    path = f"Patient/w{key}/$everything?_type=Observation&{times}"
    assert found(doctor, path) == [f"new{key}", f"old{key}"]


def test_everything_of_a_time_is_of_that_time_where_it_is_shown(server: Live, key: str) -> None:
    with server.client("practitioner", "Practitioner/dr2") as other:
        assert found(other, f"Patient/w{key}/$everything?_type=Observation&start=2025") == [f"new{key}"]


def test_the_last_is_the_one_stored_last_where_no_other_time_is_shown(
    server: Live, doctor: httpx.Client, key: str
) -> None:
    assert found(doctor, f"Observation/$lastn?patient=w{key}") == [f"old{key}"]
    with server.client("practitioner", "Practitioner/dr2") as other:
        assert found(other, f"Observation/$lastn?patient=w{key}") == [f"new{key}"]
