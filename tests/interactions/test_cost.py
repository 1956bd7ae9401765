"""Searches that would be too slow are refused beforehand, by what the requester may see; operators may ask for the plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.answers import ids
from tests.databases import fresh
from tests.interactions.test_search import observation
from tests.live import Live, live

Json = dict[str, Any]
OPERATOR = "Practitioner/operator"


@pytest.fixture(scope="module")
def narrow(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that looks through no more than ten resources one by one."""
    folder = Path(tmp_path_factory.mktemp("narrow"))
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, folder, database=name, most_examined=10, operators=frozenset({OPERATOR})) as server,
    ):
        server.put({"resourceType": "Patient", "id": "p"}, {"resourceType": "Patient", "id": "q"})
        server.put(*(observation(f"o{n:02}", "Patient/p", effectiveDateTime="2024-05-01") for n in range(11)))
        server.put(
            *(observation(f"q{n}", "Patient/q", code={"text": "y", "coding": [{"code": "y"}]}) for n in range(5))
        )
        server.put(*(observation(f"x{n}", "Patient/q") for n in range(9)), organization="org2")
        yield server


@pytest.fixture(scope="module")
def doctor(narrow: Live) -> Iterator[httpx.Client]:
    with narrow.client("practitioner", "Practitioner/dr1") as client:
        yield client


REFUSED = [
    ("Observation?date=2024-05", "compare date in"),
    ("Observation?value-quantity=gt5&date=2024", "compare date, value-quantity in"),
    ("Observation?encounter:missing=true", "compare encounter in"),
    ("Observation?code:not=y", "compare code in"),
    ("Observation?status=final&date=2024-05", "compare date in"),
    ("Observation?date=2024-05&_summary=count", "compare date in"),
    ("Observation?_sort=value-quantity", "sort by value-quantity"),
    ("Observation?_sort=date,value-quantity", "sort by date, value-quantity"),
    ("Observation?status=final&_sort=-value-quantity,_id", "sort by value-quantity, _id"),
    ("?_type=Patient,Observation&_sort=-_lastUpdated,_id", "sort by _lastUpdated, _id"),
]
ANSWERED = [
    ("Observation", 16),
    ("Observation?status=final", 16),
    ("Observation?_sort=-_lastUpdated", 16),
    ("Observation?_sort=-date", 16),
    ("Observation?code=y&date:missing=true", 5),
    ("Observation?code=y&_sort=date", 5),
    ("Observation?subject=Patient/p&date=2024-05&_sort=-date", 11),
    ("Observation?_id=o01,o02,o03&date=2024-05", 3),
    ("Observation?_lastUpdated=lt2000&date=2024-05", 0),
    ("Patient?birthdate:missing=true", 2),
]


@pytest.mark.parametrize(("path", "why"), REFUSED)
def test_what_no_index_answers_is_refused_with_advice(doctor: httpx.Client, path: str, why: str) -> None:
    answer = doctor.get(path)
    [issue] = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (400, "too-costly")
    assert why in issue["diagnostics"]
    assert "patient" in issue["diagnostics"]


@pytest.mark.parametrize(("path", "total"), ANSWERED)
def test_what_an_index_answers_or_few_are_looked_through_for_is_answered(
    doctor: httpx.Client, path: str, total: int
) -> None:
    answer = doctor.get(path)
    assert (answer.status_code, answer.json().get("total")) == (200, total)


def test_the_estimate_counts_what_the_requester_may_see_alone(narrow: Live) -> None:
    with narrow.client("practitioner", "Practitioner/dr2", "org2") as other:
        assert len(ids(other.get("Observation?date:missing=true").json())) == 9
        assert other.get("Observation?_sort=date").status_code == 200


def test_an_operator_may_ask_for_the_plan(narrow: Live) -> None:
    with narrow.client("practitioner", OPERATOR) as operator:
        found = operator.get("Observation?code=y&_explain=true&_count=2").json()
        last = found["entry"][-1]
        assert last["search"] == {"mode": "outcome"}
        said = last["resource"]["issue"][0]["diagnostics"]
        assert "Observation: plan" in said
        assert "indexes" in said
        assert "examined" in said
        assert "estimate 5 documents" in said
        assert len(found["entry"]) == 3
        several = operator.get("?_type=Patient,Observation&_explain=true").json()["entry"][-1]["resource"]
        assert [each["diagnostics"].partition(":")[0] for each in several["issue"]] == ["Observation", "Patient"]
        assert operator.get("Observation?_explain=yes").status_code == 400


def test_for_everybody_else_nobody_knows_such_a_parameter(doctor: httpx.Client) -> None:
    asked, unknown = doctor.get("Observation?_explain=true"), doctor.get("Observation?_explains=true")
    assert asked.status_code == unknown.status_code == 400
    assert asked.text.replace("_explain", "_explains") == unknown.text
