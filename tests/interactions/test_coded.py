"""Modifiers that need a terminology, over HTTP (FHIR R4 Search, "token": :in, :not-in, :above, :below)."""

from __future__ import annotations

import httpx
import pytest

from tests.interactions import asking
from tests.interactions.asking import Json, found, refused
from tests.live import Live

SYSTEM, VALUE_SET = "http://example.org/animals", "http://example.org/vs/pets"


def concept(code: str, *children: Json) -> Json:
    return {"code": code, **({"concept": list(children)} if children else {})}


def observation(id: str, *codes: tuple[str, str]) -> Json:
    coding = [{"system": system, "code": code} for system, code in codes]
    return asking.observation(id, "Patient/p", **({"code": {"coding": coding}} if coding else {}))


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(
        {
            "resourceType": "CodeSystem",
            "id": "animals",
            "url": SYSTEM,
            "status": "active",
            "content": "complete",
            "hierarchyMeaning": "is-a",
            "concept": [concept("animal", concept("mammal", concept("dog"), concept("whale")), concept("bird"))],
        },
        {
            "resourceType": "ValueSet",
            "id": "pets",
            "url": VALUE_SET,
            "status": "active",
            "compose": {"include": [{"system": SYSTEM, "concept": [{"code": "dog"}, {"code": "bird"}]}]},
        },
        {"resourceType": "Patient", "id": "p"},
        observation("dog", (SYSTEM, "dog")),
        observation("whale", (SYSTEM, "whale"), ("http://other.example.org", "dog")),
        observation("bird", ("urn:x", "y"), (SYSTEM, "bird")),
        observation("mammal", (SYSTEM, "mammal")),
        observation("nothing"),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"Observation?code:in={VALUE_SET}", ["bird", "dog"]),
        ("Observation?code:in=ValueSet/pets", ["bird", "dog"]),
        (f"Observation?code:not-in={VALUE_SET}", ["mammal", "nothing", "whale"]),
        (f"Observation?code:below={SYSTEM}|mammal", ["dog", "mammal", "whale"]),
        (f"Observation?code:above={SYSTEM}|whale", ["mammal", "whale"]),
        (f"Observation?code:below={SYSTEM}|bird,{SYSTEM}|whale", ["bird", "whale"]),
        (f"Observation?code:in={VALUE_SET}&code:not={SYSTEM}|dog", ["bird"]),
        (f"Observation?code:not-in={VALUE_SET}&code:missing=false", ["mammal", "nothing", "whale"]),
        ("Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", []),
        (f"Patient?_has:Observation:patient:code:in={VALUE_SET}", ["p"]),
        (f"Observation?_filter=code in {VALUE_SET}", ["bird", "dog"]),
        (f"Observation?_filter=code ni {VALUE_SET}", ["mammal", "nothing", "whale"]),
        (f"Observation?_filter=code ss {SYSTEM}|mammal", ["dog", "mammal", "whale"]),
        (f"Observation?_filter=code sb {SYSTEM}|whale", ["mammal", "whale"]),
        (f"Observation?code:in={VALUE_SET}&code:text=x", []),
    ],
)
def test_codes_are_found_by_where_they_belong(doctor: httpx.Client, query: str, expected: list[str]) -> None:
    assert found(doctor, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "Observation?code:in=http://example.org/vs/none",
        "Observation?code:in=ValueSet/none",
        "Observation?code:below=http://example.org/none|x",
        "Observation?code:below=dog",
        "Observation?code:in=",
        "Observation?date:in=http://example.org/vs/pets",
    ],
)
def test_what_is_not_known_is_refused(doctor: httpx.Client, query: str) -> None:
    assert "none" not in str(refused(doctor, query))


def test_a_value_set_that_the_token_does_not_reach_is_an_unknown_one(server: Live) -> None:
    with server.client("practitioner", "Practitioner/dr1", scope="user/Observation.rs user/Patient.rs") as narrow:
        for asked in ("code:in={}", "code:not-in={}", "_filter=code in {}"):
            answers = [narrow.get(f"Observation?{asked.format(url)}") for url in (VALUE_SET, f"{VALUE_SET}/none")]
            assert [each.status_code for each in answers] == [400, 400]
            assert answers[0].content == answers[1].content
        hidden = narrow.get(f"Observation?code:below={SYSTEM}|mammal")
        assert hidden.content == narrow.get("Observation?code:below=http://example.org/none|x").content


def test_too_many_codes_are_refused_with_advice(doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.coded.MOST_CODES", 1)
    issue = refused(doctor, f"Observation?code:in={VALUE_SET}")
    assert issue["code"] == "too-costly"
    assert "narrower" in issue["diagnostics"]
