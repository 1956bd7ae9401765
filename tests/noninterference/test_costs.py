"""What is too costly does not depend on what is hidden: a store with thousands of hidden records refuses what one without
them refuses, answers what it answers, and counts what it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from tests.noninterference.test_results import DENIAL, LABELLED, observed, person, to
from tests.noninterference.two import Two, serving
from tests.noninterference.world import BASE
from tests.store.copies import born, copied

Json = dict[str, Any]
DAY = 86_400_000_000
MANY = 2_000
DAYS = [str(date(1970, 1, 1) + timedelta(days=day)) for day in range(24)]


def stay(id: str, day: str, **more: str) -> Json:
    return {
        "resourceType": "Encounter", "id": id, "status": "finished", "class": {"code": "A"}, "subject": to("Patient/b"),
        "period": {"start": day, **more},
    }  # fmt: skip


VISIBLE = [
    person("b", "Li", birthDate="1970"),
    *(person(f"m{n:02}", "Wang", birthDate=day) for n, day in enumerate(DAYS)),
    *(stay(f"m{n:02}", day, end=day) for n, day in enumerate(DAYS)),
    stay("long", "1970-01-02", end="1970-01-20"),
    *(observed(f"m{n:02}", "b", effectiveDateTime=day, valueQuantity={"value": n % 2}) for n, day in enumerate(DAYS)),
    DENIAL,
]
DENIED = observed("secret", "b", effectiveDateTime="1970-01-05", valueQuantity={"value": 1}, **LABELLED)
ELSEWHERE = [person("other", "Zhang", birthDate="1970-01-05"), stay("other", "1970-01-05")]

ANSWERED = [
    "Patient?birthdate=1970-01-05",
    "Patient?birthdate=ge1970-01-20",
    "Patient?birthdate=ge1970-01-04&birthdate=le1970-01-10",
    "Patient?birthdate:missing=true",
    "Patient?birthdate=lt1970-01-22&_count=2",
    "Patient?_sort=birthdate&_count=4",
    "Encounter?date=ge1970-01-16",
    "Encounter?date=ge1970-01-05&date=le1970-01-06",
    "Observation?date=1970-01-05",
    "Observation?value-quantity=1&_count=3",
    "Observation?date=ge1970-01-02&_count=3&_sort=-date",
    "Observation?_count=3&_total=estimate",
    "Observation?_summary=count",
    "Patient?_count=5&_total=accurate",
    "Observation/$lastn?patient=Patient/b&value-quantity=1",
]
REFUSED = [
    "Patient?birthdate=ge1970-01-02",
    "Patient?birthdate=ge1970-01-02&_summary=count",
    "Encounter?date=lt1970-01-22",
    "Observation?value-quantity=1",
    "Observation?value-quantity=1&_count=3&_total=accurate",
    "?_type=Patient,Observation&_summary=count",
    "?_type=Patient,Encounter&_count=2&_total=accurate",
    "Observation/$lastn?subject:Patient.gender:missing=true&value-quantity=1",
    "Patient?_has:Encounter:patient:date=lt1970-01-22&_count=2",
]


@pytest.fixture(scope="module")
def two(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """A server that holds thousands of records more than the other, all of them hidden from the doctor."""
    everything = {"org1": [*VISIBLE, DENIED], "org2": ELSEWHERE}
    settings = {"most_examined": 12, "most_counted": 25}
    with (
        serving(mongo_uri, tmp_path_factory.mktemp("two"), everything, VISIBLE, **settings) as found,
        MongoClient[Json](mongo_uri) as mongo,
    ):
        _hide(mongo[found.whole.settings.database])
        yield found


def _hide(database: Any) -> None:
    """Store many records of another institution, and many that are denied, before, between and behind what is visible."""
    ids = [f"{'amz'[n % 3]}{n:05}x" for n in range(MANY)]
    copied(database["Patient"], "other", ids, lambda n: born(n % 40 - 8))
    copied(database["Encounter"], "other", ids, _visited)
    copied(database["Observation"], "secret", ids, _seen)


def _visited(number: int) -> Json:
    began = (number % 40 - 8) * DAY
    ended = began + number % 7 * DAY
    return {
        "r": {"date": [{"lo": began, "hi": ended}]}, "s": {"date": began},
        **({"e": {"date": {"lo": began, "hi": ended}}} if number % 7 > 1 else {}),
    }  # fmt: skip


def _seen(number: int) -> Json:
    began = (number % 40 - 8) * DAY
    ranges = {"date": [{"lo": began, "hi": began}], "value-quantity": [{"lo": number % 2, "hi": number % 2}]}
    return {"r": ranges, "s": {"date": began, "value-quantity": number % 2}}


@pytest.mark.parametrize(("path", "status"), [*((each, 200) for each in ANSWERED), *((each, 400) for each in REFUSED)])
def test_the_same_is_answered_counted_and_refused(two: Two, path: str, status: int) -> None:
    for page in range(30):
        (gated, mine), (reference, theirs) = two.answers(path)
        assert gated.status_code == reference.status_code == status, gated.text
        assert mine == theirs, f"page {page}"
        if status == 400:
            assert gated.json()["issue"][0]["code"] == "too-costly"
            return
        links = {each["relation"]: each["url"] for each in gated.json()["link"]}
        if "next" not in links:
            return
        path = links["next"].removeprefix(f"{BASE}/")
    pytest.fail("the pages do not end")


def test_there_is_much_that_is_hidden(two: Two) -> None:
    [patients] = [client.get("Patient?_summary=count").json()["total"] for client in two.clients[:1]]
    assert patients == 25
    system = two.whole.token("system", "Device/org2", "org2", scope="system/*.cruds")
    headers = {"Authorization": f"Bearer {system}"}
    found = two.clients[0].get("Patient?birthdate=1970-01-05", headers=headers)
    assert (found.status_code, found.json()["issue"][0]["code"]) == (400, "too-costly")
