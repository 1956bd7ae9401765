"""Two readings of one search: the index (in memory, and in MongoDB) and the resource itself have to agree."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from fhir_server.errors import Problem
from fhir_server.search.ast import (
    Chain,
    Clause,
    Has,
    InValueSet,
    Listed,
    PersonReference,
    Subsumed,
    needs_body,
    transform,
)
from fhir_server.search.mongo import to_filter
from fhir_server.search.ranges import bounded, extent
from fhir_server.search.types.date import covered
from fhir_server.search.types.reference import widened
from fhir_server.search.types.span import Span
from tests.search.filed import admits
from tests.search.reading import CHINA, MATCHES, PROJECT, clause
from tests.search.strategies import (
    RESOURCES,
    conditions,
    drawn,
    escaped,
    observations,
    patients,
    queries,
    risks,
    value_sets,
)
from tests.shared import examples


@cache
def asked(query: str) -> Clause | None:
    """Return what a query asks for; None if it is refused, which other tests look at."""
    try:
        return clause(query)
    except Problem:
        return None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_the_index_and_the_resource_give_the_same_answer(data: st.DataObject) -> None:
    resource = data.draw(RESOURCES)
    filed = PROJECT(resource)
    for query in data.draw(st.lists(queries[resource["resourceType"]], min_size=1, max_size=8)):
        wanted = asked(query)
        if wanted is None:
            continue
        read = MATCHES(wanted, resource)
        if needs_body(wanted):
            assert admits(wanted, filed) or not read, query
        else:
            assert admits(wanted, filed) == read, query


# --- MongoDB ---------------------------------------------------------------------------------------------------------


def keyed(term: str) -> int:
    return int.from_bytes(hashlib.sha256(term.encode()).digest()[:8], "big", signed=True)


def stored(id: int, resource: dict[str, Any]) -> dict[str, Any]:
    """Return a document as the store keeps it, as far as searches look at it."""
    filed = PROJECT(resource)

    def span(each: Span) -> dict[str, Any]:
        lo = -math.inf if each.lo is None else each.lo
        hi = math.inf if each.hi is None else each.hi
        return {"lo": lo, "hi": hi, **({"t": [keyed(term) for term in each.terms]} if each.terms else {})}

    updated = covered(resource["meta"]["lastUpdated"], CHINA)
    assert updated
    return {
        "_id": str(id),
        "at": updated[0],
        "ix": [keyed(term) for term in filed.filed],
        "has": [keyed(term) for term in filed.present],
        "r": {code: [span(each) for each in spans] for code, spans in filed.ranges.items()},
        "s": dict(filed.sort),
        "e": {
            code: dict(zip(("lo", "hi"), ends, strict=True))
            for code, spans in filed.ranges.items()
            if (ends := extent(spans))
        },
    }


def literally(clause: Clause) -> Clause:
    """Return the clause as the planner leaves it where a Patient is the person's only one."""

    def planned(node: Clause) -> Clause:
        return widened(node, ()) if isinstance(node, PersonReference) else node

    return transform(clause, planned)


PUBLISHED = ("Patient", "Observation", "Condition", "RiskAssessment")
UPDATES = ["_lastUpdated=gt2024-01-01", "_lastUpdated=ne2024-01-01T00:00:05Z", "_lastUpdated=sa2024&_id=1,2,3", "_id=4"]


@pytest.mark.parametrize(
    ("type", "strategy"),
    [
        ("Patient", patients),
        ("Observation", observations),
        ("Condition", conditions),
        ("RiskAssessment", risks),
        ("ValueSet", value_sets),
    ],
)
def test_mongodb_gives_the_answer_of_the_resource(
    type: str, strategy: st.SearchStrategy[Any], mongo_uri: str, database_name: str
) -> None:
    resources = {}
    published = list(examples(type))[:20] if type in PUBLISHED else []
    for number, resource in enumerate([*published, *drawn(strategy, 120)]):
        updated = {**resource.get("meta", {}), "lastUpdated": f"2024-01-01T00:00:{number % 60:02d}.001Z"}
        resources[str(number)] = {**resource, "id": str(number), "meta": updated}
    with MongoClient(mongo_uri) as client:
        collection: Any = client[database_name][type]
        collection.insert_many([stored(int(id), resource) for id, resource in resources.items()])
        collection.create_index("ix")
        found_any = 0
        for query in [*(f"{type}?{each}" for each in UPDATES), *drawn(queries[type], 150)]:
            wanted = asked(query)
            if wanted is None:
                continue
            wanted = literally(wanted)
            by_index, by_bounds = (
                {each["_id"] for each in collection.find(to_filter(wanted, keyed, params), {"_id": 1})}
                for params in (frozenset[str](), bounded(type))
            )
            assert by_bounds == by_index, query
            by_reading = {id for id, resource in resources.items() if MATCHES(wanted, resource)}
            found_any += bool(by_reading)
            assert by_reading <= by_index if needs_body(wanted) else by_reading == by_index, query
        assert found_any > 20


def test_what_leads_elsewhere_has_to_be_resolved_before_it_is_looked_up() -> None:
    relations = {
        "Observation?subject.name=x": Chain,
        "Observation?subject=Patient/1": PersonReference,
        "Patient?_has:Observation:patient:code=x": Has,
        "Patient?_list=1": Listed,
        "Observation?code:in=http://a.org": InValueSet,
        "Observation?code:below=a|b": Subsumed,
    }
    for query, kind in relations.items():
        wanted = clause(query)
        assert isinstance(wanted, kind)
        with pytest.raises(ValueError, match="resolved"):
            to_filter(wanted, keyed)


def test_single_terms_of_a_conjunction_are_one_look_up() -> None:
    wanted = clause("Patient?gender=male&identifier=a&name=x,y&birthdate:missing=true")
    assert to_filter(wanted, lambda term: len(term)) == {
        "$and": [
            {"ix": {"$all": [len("gender||male"), len("identifier||a")]}},
            {"ix": {"$in": [len("name|x"), len("name|y")]}},
            {"r.birthdate": {"$exists": False}},
        ]
    }
    assert to_filter(clause("Patient?"), keyed) == {}


def test_no_text_of_a_client_reaches_mongodb_but_as_a_value() -> None:
    def texts_in(filter: Any, keys: bool = False) -> set[str]:
        if isinstance(filter, dict):
            return set(filter) | {text for value in filter.values() for text in texts_in(value)}
        if isinstance(filter, list):
            return {text for value in filter for text in texts_in(value)}
        return set()

    operators = ["$where", "$ne", ".*", '{"$gt":""}']
    for operator in operators:
        text = quote(escaped(operator))
        for name in ("name", "name:exact", "name:contains", "identifier", "identifier:text", "_tag", "_profile", "_id"):
            made = to_filter(clause(f"Patient?{name}={text}"), keyed)
            assert operator not in texts_in(made) - {"$ne"} or operator == "$ne"
            assert "$regex" not in str(made)
            assert "$where" not in str(made) or name == "_id"
