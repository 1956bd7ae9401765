"""What is found among candidates is what is found by naming every person in the query, in the same order."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient, MongoClient

from consent_engine.predicate import EVERYTHING, NOTHING, AnyOf, Attribute, PerPerson, Predicate, negate
from fhir_server.store import candidates
from fhir_server.store.permitted import Permitted
from tests.store.test_permitted_agreement import documents, predicates, random_examples

BEYOND, MOST = (0, 3), 12


@pytest.fixture(scope="module")
def place(mongo_uri: str) -> Iterator[tuple[str, str]]:
    name = f"test_{secrets.token_hex(6)}"
    yield mongo_uri, name
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(name)


@settings(random_examples, max_examples=40)
@given(
    st.lists(documents(), min_size=10, max_size=30),
    st.lists(predicates, min_size=8, max_size=8),
    st.sampled_from([1, 2, 5, 100]),
    st.sampled_from([1, -1]),
)
def test_candidates_are_judged_as_the_filter_judges(
    place: tuple[str, str], stored: list[dict[str, Any]], asked: list[Predicate], limit: int, direction: int
) -> None:
    named = [{**each, "_id": f"{number:03}"} for number, each in enumerate(stored)]
    ways = asyncio.run(_found(place, named, asked, limit, direction))
    assert {way for way, _, _ in ways} <= {"among candidates", "by name"}
    for _, found, expected in ways:
        assert found == expected


async def _found(
    place: tuple[str, str], named: list[dict[str, Any]], asked: list[Predicate], limit: int, direction: int
) -> list[tuple[str, Any, Any]]:
    """Return, for each predicate, which way was taken, what it found, and what naming all in the query finds."""
    before = candidates.BEYOND, candidates.MOST
    candidates.BEYOND, candidates.MOST = BEYOND, MOST
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(place[0])
    try:
        collection = client[place[1]]["Observation"]
        await collection.delete_many({})
        await collection.insert_many(named)
        results = []
        for predicate in asked:
            permitted = Permitted({"Observation": predicate}.__getitem__)
            sort, gated = [("_id", direction)], permitted.filter("Observation")
            first = await candidates.first_admitted(collection, {}, permitted, sort=sort, limit=limit, shown={"_id": 1})
            all = await collection.find(gated, {"_id": 1}, sort=sort, limit=limit).to_list()
            some = await candidates.all_admitted(collection, {}, permitted, shown="org", limit=limit)
            every = await candidates.all_admitted(collection, {}, permitted, shown="org")
            orgs = Counter(each["org"] for each in await collection.find(gated, {"org": 1}).to_list())
            ids = None if first is None else [each["_id"] for each in first]
            way = "by name" if ids is None else "among candidates"
            expected = [each["_id"] for each in all]
            results.append((way, expected if ids is None else ids, expected))
            results.append(_way(None if some is None else min(len(some), limit), min(orgs.total(), limit)))
            results.append(_way(None if every is None else Counter(each["org"] for each in every), orgs))
        return results
    finally:
        candidates.BEYOND, candidates.MOST = before
        await client.close()


def _way(found: Any, expected: Any) -> tuple[str, Any, Any]:
    return ("by name", expected, expected) if found is None else ("among candidates", found, expected)


def test_candidates_are_looked_at_where_persons_are_named() -> None:
    few = PerPerson(((frozenset(range(500)), EVERYTHING),), NOTHING, NOTHING)
    many = PerPerson(((frozenset(range(501)), EVERYTHING),), NOTHING, NOTHING)
    rows = (
        (EVERYTHING, False, False),
        (AnyOf(Attribute.CUSTODIAN, frozenset({"h1"})), False, False),
        (few, False, True),
        (many, True, True),
        (negate(many), True, True),
    )
    for predicate, at_large, of_few in rows:
        permitted = Permitted({"Observation": predicate}.__getitem__)
        assert candidates.worthwhile(permitted, "Observation", few=False) is at_large
        assert candidates.worthwhile(permitted, "Observation", few=True) is of_few


def test_both_ways_are_taken(place: tuple[str, str]) -> None:
    stored = [{"_id": f"{n:02}", "org": "h1", "pat": n % 2, "c": [], "w": {"lo": 0, "hi": 0}} for n in range(40)]
    odd = PerPerson(((frozenset({1}), EVERYTHING),), NOTHING, NOTHING)
    ways = asyncio.run(_found(place, stored, [odd, EVERYTHING], 2, 1))
    assert [way for way, _, _ in ways] == [
        "among candidates",
        "by name",
        "by name",
        "among candidates",
        "among candidates",
        "by name",
    ]
