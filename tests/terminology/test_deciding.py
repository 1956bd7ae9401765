"""Membership told from a code alone, without its code system."""

from __future__ import annotations

from typing import Any

import pytest

from terminology.deciding import decided
from terminology.expansion import read_value_set
from terminology.members import CannotExpand

A, B = "urn:a", "urn:b"


def compose(include: Any, exclude: Any = ()) -> dict[str, Any]:
    return {"compose": {"include": list(include), "exclude": list(exclude)}}


def by_code(op: str, value: str, property: str = "code", system: str = A) -> dict[str, Any]:
    return {"system": system, "filter": [{"property": property, "op": op, "value": value}]}


LISTED = {"system": A, "concept": [{"code": "1"}, {"code": "2"}]}


@pytest.mark.parametrize(
    ("said", "members", "others"),
    [
        (compose([LISTED]), [(A, "1"), (A, "2")], [(A, "3"), (B, "1")]),
        (compose([{"system": A, "version": "7"}]), [(A, "anything")], [(B, "anything")]),
        (compose([by_code("regex", "F1[0-9].*")]), [(A, "F10"), (A, "f19.2")], [(A, "F2"), (A, "xF10"), (B, "F10")]),
        (compose([by_code("regex", "F1|F2")]), [(A, "F1"), (A, "F2")], [(A, "F1.1")]),
        (compose([by_code("=", "x", "concept")]), [(A, "x")], [(A, "X")]),
        (compose([by_code("in", "x, y")]), [(A, "x"), (A, "y")], [(A, "x, y")]),
        (compose([by_code("regex", ".*")], [LISTED]), [(A, "3")], [(A, "1")]),
        (compose([LISTED, by_code("regex", "9.*", system=B)]), [(A, "1"), (B, "91")], [(B, "1"), (A, "91")]),
        (
            {**compose([by_code("is-a", "1")]), "expansion": {"contains": [{"system": A, "code": "5"}]}},
            [(A, "5")],
            [(A, "1")],
        ),
    ],
)
def test_a_code_alone_tells(
    said: dict[str, Any], members: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    found = decided(read_value_set(said))
    assert all(each in found for each in members)
    assert not any(each in found for each in others)
    assert {system for system, _ in members} <= found.systems


@pytest.mark.parametrize(
    "said",
    [
        {},
        compose([{"valueSet": ["urn:v"]}]),
        compose([{"system": A, "valueSet": ["urn:v"]}]),
        compose([LISTED], [{"valueSet": ["urn:v"]}]),
        compose([by_code("is-a", "1", "concept")]),
        compose([by_code("regex", "x", "parent")]),
        compose([by_code("regex", "(")]),
        {**compose([by_code("is-a", "1")]), "expansion": {"total": 2, "contains": [{"system": A, "code": "5"}]}},
    ],
)
def test_what_a_code_alone_does_not_tell_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(CannotExpand):
        decided(read_value_set(said))
