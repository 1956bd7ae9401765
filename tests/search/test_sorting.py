"""The values by which resources are ordered (FHIR R4 Search, "Sorting"), and which orders and clauses an index answers."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.search.asked import SortKey
from fhir_server.search.ast import (
    And,
    Clause,
    Comparison,
    Filed,
    IdIn,
    InSpan,
    Missing,
    Not,
    Or,
    SpanTest,
    Text,
    Updated,
)
from fhir_server.search.indexed import by_id, in_order, indexed
from fhir_server.search.sorting import LONGEST, SortValues, collated
from fhir_server.search.values import presence

Json = dict[str, Any]
value = SortValues(registry(), zone=UTC, base_url="http://a.example/fhir")

NAMES = {"resourceType": "Patient", "id": "p", "name": [{"family": "Zorn", "given": ["Ada"]}, {"text": "Abel Cohn"}]}
OBSERVED: Json = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "urn:s", "code": "B2"}, {"code": "a1"}], "text": "x"},
    "category": [{"text": "Lab"}],
    "subject": {"reference": "http://a.example/fhir/Patient/1"},
    "effectivePeriod": {"start": "1970-01-01T00:00:01Z", "end": "1970-01-02"},
    "valueQuantity": {"value": 5, "unit": "g"},
}
ROWS: list[tuple[Json, str, object, object]] = [
    (NAMES, "name", "abel cohn", "zorn ada"),
    (NAMES, "family", "zorn", "zorn"),
    (NAMES, "gender", None, None),
    (OBSERVED, "code", "a1", "b2"),
    (OBSERVED, "category", "lab", "lab"),
    (OBSERVED, "status", "final", "final"),
    (OBSERVED, "subject", "patient/1", "patient/1"),
    (OBSERVED, "date", 1_000_000, 1_000_000),
    (OBSERVED, "value-quantity", 5, 5),
    (OBSERVED, "based-on", None, None),
]


@pytest.mark.parametrize(("resource", "param", "lowest", "highest"), ROWS, ids=[row[1] for row in ROWS])
def test_the_lowest_value_counts_upwards_and_the_highest_downwards(
    resource: Json, param: str, lowest: object, highest: object
) -> None:
    assert value(SortKey(param, descending=False), resource) == lowest
    assert value(SortKey(param, descending=True), resource) == highest


def test_chinese_stands_where_it_is_read_and_the_same_reading_stands_together() -> None:
    names = ["Zorn", "赵", "张", "章", "Abel", "阿明", "émile"]
    assert sorted(names, key=collated) == ["阿明", "Abel", "émile", "张", "章", "赵", "Zorn"]
    assert len(collated("长" * 200)) == LONGEST


FILED, SPAN, RECENT = Filed("code", ("code||x",)), InSpan("date", ()), Updated(SpanTest(()))
CLAUSES: list[tuple[Clause, Clause, set[str]]] = [
    (FILED, FILED, set()),
    (And(()), And(()), set()),
    (SPAN, And(()), {"date"}),
    (And((FILED, SPAN)), And((FILED, And(()))), {"date"}),
    (Or((FILED, SPAN)), Or((FILED, And(()))), {"date"}),
    (Or(()), Or(()), set()),
    (Not(Or(())), And(()), set()),
    (Not(FILED), And(()), {"code"}),
    (Not(And((IdIn(("1",)), SPAN))), And(()), {"_id", "date"}),
    (Missing("code", False), And(()), {"code"}),
    (Text("name", ("name|x",), "x"), Text("name", ("name|x",), "x"), set()),
    (Text("name", (presence("name"),), "x"), And(()), {"name"}),
    (And((RECENT, IdIn(("1",)))), And((RECENT, IdIn(("1",)))), set()),
]


# With an index that bounds the ranges of date.
DAY = InSpan("date", (SpanTest((Comparison("lo", "gte", 0), Comparison("hi", "lte", 9))),))
LATER, OPEN = InSpan("issued", DAY.tests), InSpan("date", (SpanTest(()),))
WITHOUT = Missing("date", True)
BOUNDED: list[tuple[Clause, Clause, set[str]]] = [
    (DAY, DAY, {"date"}),
    (And((FILED, DAY, LATER)), And((FILED, DAY, And(()))), {"date", "issued"}),
    (Or((FILED, DAY)), Or((FILED, DAY)), {"date"}),
    (OPEN, And(()), {"date"}),
    (Not(DAY), And(()), {"date"}),
    (WITHOUT, WITHOUT, set()),
    (Not(WITHOUT), And(()), {"date"}),
]


@pytest.mark.parametrize(("clause", "part", "rest"), BOUNDED)
def test_what_an_index_in_the_order_of_beginnings_answers(clause: Clause, part: Clause, rest: set[str]) -> None:
    assert indexed(clause, frozenset({"date"})) == (part, rest)


@pytest.mark.parametrize(("clause", "part", "rest"), CLAUSES)
def test_what_the_indexes_answer_of_a_clause(clause: Clause, part: Clause, rest: set[str]) -> None:
    assert indexed(clause) == (part, rest)


def test_what_names_the_resources_themselves() -> None:
    assert by_id(And((FILED, IdIn(("1",)))))
    assert not by_id(Or((FILED, IdIn(("1",)))))
    assert not by_id(FILED)


@pytest.mark.parametrize(
    ("params", "answered"),
    [
        ([], True),
        (["_id"], True),
        (["_lastUpdated"], True),
        (["date"], True),
        (["issued"], False),
        (["_id", "date"], False),
    ],
)
def test_which_orders_an_index_is_in(params: list[str], answered: bool) -> None:
    assert in_order([SortKey(param, descending=True) for param in params], frozenset({"date"})) is answered
