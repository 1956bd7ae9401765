"""What is found among candidates is what is found by naming every person in the query, in the same order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient, MongoClient

from consent_engine.predicate import Predicate
from fhir_server.store import candidates
from fhir_server.store.permitted import Permitted
from tests.store.test_permitted_agreement import documents, predicates, random_examples

BEYOND = 3


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
    before, candidates.BEYOND = candidates.BEYOND, BEYOND
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
            count = await candidates.count_admitted(collection, {}, permitted)
            total = await collection.count_documents(gated)
            ids = None if first is None else [each["_id"] for each in first]
            way = "by name" if ids is None else "among candidates"
            expected = [each["_id"] for each in all]
            results.append((way, expected if ids is None else ids, expected))
            results.append(("by name" if count is None else way, total if count is None else count, total))
        return results
    finally:
        candidates.BEYOND = before
        await client.close()


def test_a_predicate_names_many_persons_only_if_it_does() -> None:
    from consent_engine.predicate import EVERYTHING, NOTHING, PerPerson, negate

    few = PerPerson(((frozenset(range(500)), EVERYTHING),), NOTHING, NOTHING)
    many = PerPerson(((frozenset(range(501)), EVERYTHING),), NOTHING, NOTHING)
    for predicate, expected in ((EVERYTHING, False), (few, False), (many, True), (negate(many), True)):
        assert Permitted({"Observation": predicate}.__getitem__).names_many("Observation") is expected
