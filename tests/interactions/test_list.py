"""_list over HTTP (FHIR R4 Search, "Searching by List")."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.interactions.asking import Json, found, observation, refused, to
from tests.live import Live


def a_list(id: str, *entries: Json) -> Json:
    status = {"status": "current", "mode": "working"}
    return {"resourceType": "List", "id": id, **status, **({"entry": list(entries)} if entries else {})}


def entry(reference: str, **more: Any) -> Json:
    return {"item": to(reference), **more}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    for id in "abcd":
        server.put({"resourceType": "Patient", "id": id, "name": [{"family": f"N{id}"}]})
        server.put(observation(id, f"Patient/{id}"))
    server.put(
        {"resourceType": "Practitioner", "id": "a"},
        a_list(
            "42",
            entry("Patient/a"),
            entry("Patient/b/_history/1"),
            entry(f"{server.base}/Patient/c", deleted=False),
            entry("Patient/d", deleted=True),
            entry("Patient/never"),
            entry("http://other.example.org/Patient/d"),
            entry("Observation/d"),
            {"item": {"display": "nothing in particular"}},
        ),
        a_list("43", entry("Patient/d"), entry("Patient/a")),
        a_list("empty"),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?_list=42", ["a", "b", "c"]),
        ("Patient?_list=42&gender:missing=true&name=nb", ["b"]),
        ("Patient?_list=42,43", ["a", "b", "c", "d"]),
        ("Patient?_list=42&_list=43", ["a"]),
        ("Observation?_list=42", ["d"]),
        ("Observation?patient._list=43", ["a", "d"]),
        ("Patient?_has:Observation:patient:_list=42", ["d"]),
        ("Practitioner?_list=42", []),
        ("Patient?_list=empty", []),
        ("Patient?_list=none", []),
        ("Patient?_list=42&name:contains=N", ["a", "b", "c"]),
    ],
)
def test_a_list_finds(doctor: httpx.Client, query: str, expected: list[str]) -> None:
    assert found(doctor, query) == expected


@pytest.mark.parametrize("text", ["$current-allergies", "", "42,", "List/42", "42|43", ".*/", "張三"])
def test_what_is_no_id_is_refused(doctor: httpx.Client, text: str) -> None:
    answer = doctor.get("Patient", params={"_list": text})
    assert answer.status_code == 400
    assert not text or text not in answer.json()["issue"][0]["diagnostics"]


def test_a_list_that_holds_too_much_is_refused(doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.resolving.MOST_CHAINED", 2)
    assert found(doctor, "Observation?_list=42") == ["d"]
    assert refused(doctor, "Patient?_list=42")["code"] == "too-costly"
