"""FHIR R4 OperationDefinition "Observation-lastn"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_server.operations.lastn import grouped
from tests.live import Live

Json = dict[str, Any]
LOINC = "http://loinc.org"
VITAL = {"coding": [{"code": "vital-signs"}]}
LAB = {"coding": [{"code": "laboratory"}]}


def coded(*codes: str) -> Json:
    return {"coding": [{"system": LOINC, "code": each} for each in codes]}


# id, code, effective, category
ROWS: list[tuple[str, Json, str | None, Json]] = [
    ("w1", coded("weight"), "2026-01-01", VITAL),
    ("w2", coded("weight"), "2026-01-02", VITAL),
    ("w3", coded("weight"), "2026-01-03T08:00:00Z", VITAL),
    ("t1", coded("temp"), "2026-01-01T08:00:00Z", VITAL),
    ("t2", coded("temp", "temp-oral"), "2026-01-04T08:00:00Z", VITAL),
    ("t3", coded("temp-oral"), "2026-01-05T08:00:00Z", VITAL),
    ("g1", coded("glucose"), "2026-01-06T08:00:00Z", LAB),
    ("g2", coded("glucose"), "2026-01-06T08:00:00Z", LAB),
    ("g3", coded("glucose"), "2026-01-05T08:00:00Z", LAB),
    ("x1", {"text": "Mood"}, "2026-01-02T08:00:00Z", VITAL),
    ("x2", {"text": "mood"}, "2026-01-01T08:00:00Z", VITAL),
]


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    server.put({"resourceType": "Patient", "id": "p"}, {"resourceType": "Patient", "id": "q"})
    for id, code, effective, category in ROWS:
        server.put(observation(id, "p", code, effective, category))
    server.put(observation("of-q", "q", coded("weight"), "2026-02-01", VITAL))
    with server.system() as client:
        yield client


def observation(id: str, patient: str, code: Json, effective: str | None, category: Json) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": code,
        "category": [category],
        "subject": {"reference": f"Patient/{patient}"},
        **({"effectiveDateTime": effective} if effective else {}),
    }


def shown(bundle: Json) -> list[str]:
    assert {each["search"]["mode"] for each in bundle.get("entry", ())} <= {"match"}
    assert (bundle["type"], bundle["total"]) == ("searchset", len(bundle.get("entry", ())))
    return [each["resource"]["id"] for each in bundle.get("entry", ())]


ASKED = [
    # Of each code the last; what ties with it as well; translations connect codes; text alone is told apart by case.
    ("patient=p", ["g1", "g2", "t3", "w3", "x1", "x2"]),
    ("subject=Patient/p&max=2", ["g1", "g2", "t3", "t2", "w3", "x1", "w2", "x2"]),
    ("patient=p&max=3&category=laboratory", ["g1", "g2", "g3"]),
    ("patient=p&max=100&category=vital-signs&code=weight", ["w3", "w2", "w1"]),
    ("patient=Patient/p&code=temp,weight", ["t2", "w3"]),
    ("patient=p&code=http://loinc.org|glucose&date=lt2026-01-06", ["g3"]),
    ("patient=p&code:not=glucose&category=laboratory", []),
    ("patient=none&category=vital-signs", []),
    ("patient=p,q&code=weight", ["of-q"]),
]


@pytest.mark.parametrize(("query", "expected"), ASKED)
def test_the_last_of_each_code_newest_first(emr: httpx.Client, query: str, expected: list[str]) -> None:
    answer = emr.get(f"Observation/$lastn?{query}")
    assert answer.status_code == 200, answer.text
    assert shown(answer.json()) == expected


def test_parameters_can_come_in_a_body_or_a_form(emr: httpx.Client) -> None:
    pairs = {"patient": "Patient/p", "code": "weight", "max": "2"}
    parts = [{"name": name, "valueString": value} for name, value in pairs.items() if name != "max"]
    body = {"resourceType": "Parameters", "parameter": [*parts, {"name": "max", "valuePositiveInt": 2}]}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for answer in (
        emr.post("Observation/$lastn", json=body),
        emr.post("Observation/$lastn", content="patient=p&code=weight&max=2", headers=form),
    ):
        assert answer.status_code == 200, answer.text
        assert shown(answer.json()) == ["w3", "w2"]
        assert answer.json()["link"][0]["url"].endswith("/Observation/$lastn")


REFUSED = [
    "code=weight",
    "patient=p&max=0",
    "patient=p&max=x",
    "patient=p&max=1&max=2",
    "patient=p&_sort=date",
    "patient=p&_count=2",
    "patient=p&nonsense=2",
    "patient=p&date=yesterday",
]


@pytest.mark.parametrize("query", REFUSED)
def test_what_lastn_does_not_take_is_400(emr: httpx.Client, query: str) -> None:
    assert emr.get(f"Observation/$lastn?{query}").status_code == 400


def test_a_token_must_allow_the_search(server: Live, emr: httpx.Client) -> None:
    with server.client("practitioner", "Practitioner/dr", scope="user/Observation.r") as doctor:
        assert doctor.get("Observation/$lastn?patient=p").status_code == 403


TABLE = [  # the table of the OperationDefinition
    ([["a"], ["b"], ["c"]], 3),
    ([["a"], ["b"], ["a", "c"]], 2),
    ([["a"], ["b"], ["a", "b"]], 1),
    ([["text|textM"], ["text|Text"], ["text|t e x t"]], 3),
    ([["a", "b"], ["c", "d"], ["d", "e"], ["e", "b"]], 1),
]


@pytest.mark.parametrize(("kinds", "groups"), TABLE)
def test_codes_are_grouped_by_their_translations(kinds: list[list[str]], groups: int) -> None:
    assert len(set(grouped(kinds))) == groups
