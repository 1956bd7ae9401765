"""Terms that are filed apart are found as if they stood with the others."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.store.common import apart, common, split

RARE, COMMON = 1, 2
TERMS = frozenset({COMMON, 3})


def keyed(term: str) -> int:
    return hash(term)


def test_only_the_log_has_terms_apart() -> None:
    assert keyed("outcome||0") in common("AuditEvent", keyed)
    assert keyed("outcome||4") not in common("AuditEvent", keyed)
    assert common("Observation", keyed) == frozenset()


@pytest.mark.parametrize(
    ("fields", "filed"),
    [
        ({"ix": [RARE, COMMON], "has": [7]}, {"ix": [RARE], "cx": [COMMON], "has": [7]}),
        ({"ix": [RARE], "has": [7]}, {"ix": [RARE], "has": [7]}),
        ({"ix": [COMMON, 3]}, {"ix": [], "cx": [COMMON, 3]}),
    ],
)
def test_index_fields_are_split(fields: dict[str, Any], filed: dict[str, Any]) -> None:
    assert split(fields, TERMS) == filed


@pytest.mark.parametrize(
    ("asked", "filter"),
    [
        ({}, {}),
        ({"ix": RARE}, {"ix": RARE}),
        ({"ix": COMMON}, {"cx": COMMON}),
        ({"ix": {"$in": [RARE, 5]}}, {"ix": {"$in": [RARE, 5]}}),
        ({"ix": {"$in": [RARE, COMMON]}}, {"$or": [{"ix": {"$in": [RARE]}}, {"cx": {"$in": [COMMON]}}]}),
        ({"ix": {"$all": [COMMON, RARE, 3]}}, {"$and": [{"ix": {"$all": [RARE]}}, {"cx": {"$all": [COMMON, 3]}}]}),
        ({"ix": {"$nin": [RARE, COMMON]}}, {"$and": [{"ix": {"$nin": [RARE]}}, {"cx": {"$nin": [COMMON]}}]}),
        ({"ix": {"$in": []}}, {"ix": {"$in": []}}),
        ({"$nor": [{"ix": COMMON}, {"at": 4}]}, {"$nor": [{"cx": COMMON}, {"at": 4}]}),
        ({"ix": COMMON, "$or": [{"ix": RARE}]}, {"$and": [{"cx": COMMON}, {"$or": [{"ix": RARE}]}]}),
        ({"has": COMMON, "r.date": {"lo": 3}}, {"$and": [{"has": COMMON}, {"r.date": {"lo": 3}}]}),
    ],
)  # fmt: skip
def test_a_filter_asks_where_each_term_is_filed(asked: dict[str, Any], filter: dict[str, Any]) -> None:
    assert apart(asked, TERMS) == filter
