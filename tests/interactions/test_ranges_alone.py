"""A date range alone, in a store that holds more than may be looked through one by one: by an index, and by what is cheap."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import AsyncMongoClient, IndexModel, MongoClient

from fhir_server.definitions.registry import registry
from fhir_server.interactions.searching.explaining import _stages
from fhir_server.search.mongo import to_filter
from fhir_server.search.ranges import bounded
from fhir_server.store.collections import Collections
from tests.answers import ids
from tests.databases import fresh
from tests.interactions.test_search import observation
from tests.live import Live, live
from tests.search.reading import clause
from tests.store.copies import born, copied

Json = dict[str, Any]
MOST = 12
MANY = 4_000


def patient(id: str, born: str | None = None) -> Json:
    return {"resourceType": "Patient", "id": id, **({"birthDate": born} if born else {})}


def stay(id: str, start: str, end: str | None) -> Json:
    period = {"start": start, **({"end": end} if end else {})}
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p00"},
        "period": period,
    }


@pytest.fixture(scope="module")
def narrow(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that looks through no more than MOST resources one by one, and counts no more than 40."""
    folder = Path(tmp_path_factory.mktemp("narrow"))
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, folder, database=name, most_examined=MOST, most_counted=40) as server,
    ):
        days = (str(date(1970, 1, 1) + timedelta(days=day)) for day in range(30))
        server.put(*(patient(f"p{n:02}", day) for n, day in enumerate(days)))
        server.put(patient("year", "1970"), patient("month", "1970-01"), patient("none"))
        server.put(
            *(stay(f"day{n:02}", f"2024-03-{n:02}T09:00:00Z", f"2024-03-{n:02}T10:00:00Z") for n in range(1, 29))
        )
        server.put(stay("long", "2024-03-01", "2024-03-20"), stay("open", "2024-02-01", None))
        server.put(*(observation(f"o{n:02}", "Patient/p00", valueQuantity={"value": n % 2}) for n in range(50)))
        yield server


@pytest.fixture(scope="module")
def doctor(narrow: Live) -> Iterator[httpx.Client]:
    with narrow.client("practitioner", "Practitioner/dr1") as client:
        yield client


ANSWERED: list[tuple[str, list[str]]] = [
    ("Patient?birthdate=1970-01-07", ["p06"]),
    ("Patient?birthdate=ge1970-01-28", ["month", "p27", "p28", "p29", "year"]),
    ("Patient?birthdate=sa1970-01-28", ["p28", "p29"]),
    ("Patient?birthdate=lt1970-01-03", ["month", "p00", "p01", "year"]),
    ("Patient?birthdate=ge1970-01-05&birthdate=le1970-01-08&birthdate=eb1970-01-08", ["p04", "p05", "p06"]),
    ("Patient?birthdate=1970-01-02,1970-01-09", ["p01", "p08"]),
    ("Patient?birthdate:missing=true", ["none"]),
    ("Encounter?date=ge2024-03-25", ["day25", "day26", "day27", "day28", "open"]),
    ("Encounter?date=2024-03-20", ["day20"]),
    ("Encounter?date=ge2024-03-19&date=le2024-03-20", ["day19", "day20", "long", "open"]),
    ("Encounter?date=gt2030", ["open"]),
]


@pytest.mark.parametrize(("path", "found"), ANSWERED)
def test_a_range_alone_that_leaves_few_is_answered(doctor: httpx.Client, path: str, found: list[str]) -> None:
    answer = doctor.get(path)
    assert answer.status_code == 200, answer.text
    assert ids(answer.json()) == found
    assert answer.json()["total"] == len(found)


REFUSED = [
    "Patient?birthdate=ge1970-01-05",
    "Patient?birthdate=ne1970-01-05",
    "Patient?birthdate=ge1970-01-05&_count=0",
    "Patient?birthdate=ge1970-01-05&_summary=count",
    "Patient?birthdate=ge1970-01-05&_count=3&_total=accurate",
    "Encounter?date=lt2024-03-20",
    "Observation?value-quantity=1",
    "Observation?value-quantity=gt1&_count=2",
    "Observation?value-quantity=1&_sort=value-quantity&_count=2",
    "Patient?_has:Encounter:patient:date=lt2024-03-20&_count=2",
    "Encounter?patient.birthdate=ge1970-01-05&_count=2",
]


@pytest.mark.parametrize("path", REFUSED)
def test_what_leaves_much_is_refused_with_advice(doctor: httpx.Client, path: str) -> None:
    answer = doctor.get(path)
    assert answer.status_code == 400, answer.text
    [issue] = answer.json()["issue"]
    assert issue["code"] == "too-costly"
    assert f"more than {MOST} resources" in issue["diagnostics"]


def test_the_advice_names_the_parameter_that_an_index_bounds(doctor: httpx.Client) -> None:
    [issue] = doctor.get("Patient?birthdate=ge1970-01-05").json()["issue"]
    assert "a shorter time of birthdate" in issue["diagnostics"]
    assert "_sort=-birthdate" in issue["diagnostics"]


# Full before MOST documents, in their order, have been looked at.
CHEAP: list[tuple[str, list[str]]] = [
    ("Patient?birthdate=lt1970-01-20&_count=3", ["month", "p00", "p01"]),
    ("Patient?birthdate=le1970-01-20&_count=2&_sort=-birthdate", ["p19", "p18"]),
    ("Patient?birthdate=ge1970-01-05&_count=2&_sort=-birthdate", ["p29", "p28"]),
    ("Observation?value-quantity=1&_count=4", ["o01", "o03", "o05", "o07"]),
    ("Observation?value-quantity=1&_count=4&_total=estimate", ["o01", "o03", "o05", "o07"]),
]


@pytest.mark.parametrize(("path", "found"), CHEAP)
def test_a_page_that_is_soon_full_is_answered_without_a_total(
    doctor: httpx.Client, path: str, found: list[str]
) -> None:
    answer = doctor.get(path)
    assert answer.status_code == 200, answer.text
    assert ids(answer.json()) == found
    assert "total" not in answer.json()


def test_each_page_is_judged_by_itself(doctor: httpx.Client) -> None:
    found, path = [], "Observation?value-quantity=1&_count=4"
    while path:
        answer = doctor.get(path)
        assert answer.status_code == 200, answer.text
        found += ids(answer.json())
        path = next((each["url"] for each in answer.json()["link"] if each["relation"] == "next"), "")
    assert found == [f"o{n:02}" for n in range(1, 50, 2)]


def test_the_order_of_such_a_parameter_costs_nothing(doctor: httpx.Client) -> None:
    answer = doctor.get("Patient?_sort=birthdate&_count=4")
    assert ids(answer.json()) == ["none", "month", "p00", "year"]
    assert answer.json()["total"] == 33


COUNTED = [
    ("Patient?_summary=count", 33),
    ("Patient?_count=2&_total=accurate", 33),
    ("Observation?_count=2&_total=estimate", 50),
    ("Observation?status=final&_count=2", 50),
    ("Observation?status=final&_summary=count", None),
    ("Observation?_count=0", None),
    ("Observation?_count=2&_total=accurate", None),
    ("?_type=Patient,Encounter&_count=2&_total=accurate", None),
]


@pytest.mark.parametrize(("path", "total"), COUNTED)
def test_an_exact_total_is_counted_as_far_as_the_setting_says(
    doctor: httpx.Client, path: str, total: int | None
) -> None:
    answer = doctor.get(path)
    if total is not None:
        assert (answer.status_code, answer.json().get("total")) == (200, total)
        return
    [issue] = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (400, "too-costly")
    assert "_total=estimate" in issue["diagnostics"]


def test_lastn_looks_through_no_more_than_a_search(doctor: httpx.Client) -> None:
    assert doctor.get("Observation/$lastn?patient=Patient/p00&value-quantity=1").status_code == 200
    several = "Observation/$lastn?subject:Patient.gender:missing=true&value-quantity=1"
    answer = doctor.get(several)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "too-costly")
    assert f"more than {MOST} resources" in answer.json()["issue"][0]["diagnostics"]


# --- how MongoDB carries it out --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(narrow: Live, mongo_uri: str, doctor: httpx.Client) -> Iterator[Any]:
    """A database of many Patients, one born each day, half of whom are of another institution."""
    with fresh(mongo_uri) as name, MongoClient(mongo_uri) as client:
        source, target = client[narrow.settings.database]["Patient"], client[name]["Patient"]
        target.create_indexes([_index(source, each) for each in ("term", "custodian", "birthdate", "birthdate_extent")])
        pattern = source.find_one({"_id": "p00"})
        assert pattern
        target.insert_one(pattern)
        copied(target, "p00", (f"c{n}" for n in range(MANY)), lambda n: {**born(n), "org": f"org{1 + n % 2}"})
        yield client[name]


def _index(collection: Any, name: str) -> Any:
    """Return an index as the server has made it."""
    made = dict(collection.index_information()[name])
    kept = {key: value for key, value in made.items() if key == "partialFilterExpression"}
    return IndexModel(made["key"], name=name, **kept)


PLANS = [
    ("Patient?birthdate=1972-03-01", 1),
    ("Patient?birthdate=1972-03", 31),
    ("Patient?birthdate=ge1972-03-01&birthdate=le1972-03-10", 10),
    ("Patient?birthdate=1972-03-01,1973-03-01", 2),
    (f"Patient?birthdate=ge{date(1970, 1, 1) + timedelta(days=MANY - 7)}", 7),
]


@pytest.mark.parametrize(("query", "expected"), PLANS)
def test_mongodb_examines_about_as_many_as_it_finds(large: Any, query: str, expected: int) -> None:
    # The zone of the queries begins its days eight hours before those of the documents: a day is the half of two.
    wanted = to_filter(clause(query), lambda term: 0, bounded("Patient"))
    find = {"find": "Patient", "filter": wanted, "sort": {"_id": 1}, "limit": 100}
    found = large.command("explain", find, verbosity="executionStats")
    done, plan = found["executionStats"], list(_stages(found["queryPlanner"]["winningPlan"]))
    assert {stage["indexName"] for stage in plan if "indexName" in stage} <= {"birthdate", "birthdate_extent"}
    assert not [stage for stage in plan if stage["stage"] == "COLLSCAN"]
    assert expected - 2 <= done["nReturned"] <= expected
    assert done["totalDocsExamined"] <= expected + 4


def test_an_upgrade_makes_the_indexes_of_collections_that_are_there(mongo_uri: str, database_name: str) -> None:
    async def upgraded() -> dict[str, Any]:
        async with AsyncMongoClient[dict[str, Any]](mongo_uri) as client:
            database = client[database_name]
            await database["Encounter"].insert_one({"_id": "e", "s": {"date": 1}})
            await database["Encounter"].create_index([("s.date", 1), ("_id", 1)], name="date")
            await Collections(database, registry()).ensure("Encounter", "Patient")
            return {type: await database[type].index_information() for type in ("Encounter", "Patient")}

    made = asyncio.run(upgraded())
    assert {"date", "date_extent"} <= made["Encounter"].keys()
    assert {"birthdate", "birthdate_extent"} <= made["Patient"].keys()
    assert "date" not in made["Patient"]
