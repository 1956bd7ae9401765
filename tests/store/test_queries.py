"""Whichever way a query takes, it finds what the predicate holds for: named, judged, or said at too great length."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient, MongoClient

from consent_engine.predicate import (
    NOTHING,
    AnyOf,
    Attribute,
    PerPerson,
    Predicate,
    all_of,
    either,
    holds,
    negate,
)
from fhir_server.store import candidates, judged, queries
from fhir_server.store.permitted import Permitted, record_of
from tests.store.test_permitted_agreement import documents, predicates, random_examples

Document = dict[str, Any]
TYPE = "Observation"


@pytest.fixture(scope="module")
def place(mongo_uri: str) -> Iterator[tuple[str, str]]:
    name = f"test_{secrets.token_hex(6)}"
    yield mongo_uri, name
    with MongoClient[Document](mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture(params=[(200, 500), (1, 500), (1, 0), (3, 1)], ids=str)
def bounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is said at length, and how many persons are many."""
    parts, many = request.param
    monkeypatch.setattr(judged, "MOST_PARTS", parts)
    monkeypatch.setattr(candidates, "MANY", many)
    monkeypatch.setattr(candidates, "BEYOND", (0, 3))
    monkeypatch.setattr(candidates, "MOST", 12)


@pytest.mark.usefixtures("bounds")
@settings(random_examples, max_examples=15)
@given(
    st.lists(documents(), min_size=10, max_size=30),
    st.lists(predicates, min_size=8, max_size=8),
    st.sampled_from([0, 1, 5, 100]),
    st.booleans(),
)
def test_all_that_is_asked_agrees_with_the_predicate(
    place: tuple[str, str], stored: list[Document], asked: list[Predicate], limit: int, few: bool
) -> None:
    named = [{**each, "_id": f"{n:03}", "to": {"subject": [n % 7]}} for n, each in enumerate(stored)]
    for predicate, found in zip(asked, asyncio.run(_asked(place, named, asked, limit, few)), strict=True):
        expected = [each for each in named if holds(predicate, record_of(TYPE, each))]
        ids, counted, by_custodian, ends = found
        assert ids == [each["_id"] for each in expected[: limit or None]]
        assert counted == len(expected)
        assert by_custodian == Counter(each["org"] for each in expected)
        assert ends == {each["to"]["subject"][0] for each in expected}


async def _asked(
    place: tuple[str, str], named: list[Document], asked: list[Predicate], limit: int, few: bool
) -> list[tuple[list[str], int, Counter[str], set[int]]]:
    client: AsyncMongoClient[Document] = AsyncMongoClient(place[0])
    try:
        collection = client[place[1]][TYPE]
        await collection.delete_many({})
        await collection.insert_many(named)
        results = []
        for predicate in asked:
            permitted = Permitted({TYPE: predicate}.__getitem__)
            rows = await queries.find(
                collection, {}, permitted, sort=[("_id", 1)], limit=limit, shown={"org": 1}, few=few
            )
            counted = await queries.count(collection, {}, permitted, limit=None, few=few)
            by_custodian = await queries.count_by_custodian(collection, {}, permitted, limit=None, few=few)
            ends = await queries.pointed_to(collection, "subject", {}, permitted, limit=100)
            results.append(([each["_id"] for each in rows], counted, by_custodian, set(ends)))
        return results
    finally:
        await client.close()


@settings(random_examples, max_examples=300)
@given(predicates, st.lists(documents(), max_size=10))
def test_in_short_a_predicate_holds_more_or_less_often_but_of_others_the_same(
    predicate: Predicate, stored: list[Document]
) -> None:
    before, judged.MOST_PARTS = judged.MOST_PARTS, 1
    try:
        persons = set(judged.at_length(predicate))
        more, less = (judged.in_short(predicate, upwards=upwards) for upwards in (True, False))
        for document in stored:
            record = record_of(TYPE, {"_id": "a", **document})
            held = holds(predicate, record)
            assert holds(less, record) <= held <= holds(more, record)
            if persons.isdisjoint(record.persons):
                assert holds(less, record) == held == holds(more, record)
    finally:
        judged.MOST_PARTS = before


def test_a_query_does_not_carry_what_is_said_at_length() -> None:
    codes = [AnyOf(Attribute.CODE, frozenset({n})) for n in range(300)]
    long = either(*(all_of(one, negate(other)) for one, other in pairwise(codes)))
    permitted = Permitted(
        {TYPE: PerPerson(((frozenset({1}), long), (frozenset({2}), codes[0])), NOTHING, NOTHING)}.__getitem__
    )
    assert permitted.at_length(TYPE) == {1}
    assert len(str(permitted.filter(TYPE))) < 1_000
    found = {"_id": "a", "org": "h", "pat": 1, "c": [299], "w": {"lo": 0, "hi": 0}}
    assert not permitted.admits(TYPE, found)
    assert permitted.admits(TYPE, {**found, "c": [3]})
