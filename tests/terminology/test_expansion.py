"""Who is a member of a value set, row by row: what it includes and excludes, imports and filters."""

from __future__ import annotations

from typing import Any

import pytest

from terminology.expansion import MOST_LISTED, ValueSet, members, read_value_set
from terminology.hierarchy import CodeSystem, read_code_system
from terminology.members import CannotExpand, Members

RED = {"code": "colour", "valueCode": "red"}
FRUIT = {
    "url": "urn:fruit",
    "version": "2",
    "content": "complete",
    "property": [{"code": "colour", "type": "code"}, {"code": "sweet", "type": "boolean"}],
    "concept": [
        {"code": "fruit", "concept": [
            {"code": "apple", "property": [RED], "concept": [
                {"code": "fuji", "property": [RED, {"code": "sweet", "valueBoolean": True}]},
            ]},
            {"code": "pear", "property": [{"code": "colour", "valueCode": "green"}]},
        ]},
        {"code": "old", "property": [{"code": "status", "valueCode": "retired"}]},
    ],
}  # fmt: skip
PARTIAL = {"url": "urn:partial", "content": "fragment", "concept": [{"code": "x"}]}
LARGE = {"url": "urn:large", "content": "complete", "concept": [{"code": str(n)} for n in range(MOST_LISTED + 1)]}
IS_A_X = {"property": "concept", "op": "is-a", "value": "x"}
ALL = {"fruit", "apple", "fuji", "pear", "old"}


class Shelf:
    """A library of a few resources."""

    def __init__(self, *value_sets: dict[str, Any]) -> None:
        self._value_sets = {each["url"]: read_value_set(each) for each in value_sets}
        read = [read_code_system(each) for each in (FRUIT, PARTIAL, LARGE)]
        self._systems = {each.url: each for each in read} | {"urn:fruit|2": read[0]}

    def value_set(self, canonical: str) -> ValueSet | None:
        return self._value_sets.get(canonical)

    def code_system(self, canonical: str) -> CodeSystem | None:
        return self._systems.get(canonical)


def include(*parts: dict[str, Any], **compose: Any) -> dict[str, Any]:
    return {"url": "urn:it", "compose": {"include": list(parts), **compose}}


def fruit(*filters: tuple[str, str, str], **said: Any) -> dict[str, Any]:
    made = [{"property": property, "op": op, "value": value} for property, op, value in filters]
    return {"system": "urn:fruit", **({"filter": made} if made else {}), **said}


def listed(*codes: str, system: str = "urn:fruit") -> dict[str, Any]:
    return {"system": system, "concept": [{"code": code} for code in codes]}


def codes(found: Members) -> set[str]:
    return {code for _, code in found.codes}


OTHERS = (
    {"url": "urn:red", "compose": {"include": [fruit(("colour", "=", "red"))]}},
    {"url": "urn:pears", "compose": {"include": [listed("pear", "quince")]}},
    {"url": "urn:anything-partial", "compose": {"include": [{"system": "urn:partial"}]}},
)


@pytest.mark.parametrize(
    ("value_set", "expected"),
    [
        (include(listed("pear", "quince")), {"pear", "quince"}),
        (include(fruit()), ALL),
        (include(fruit(version="2")), ALL),
        (include(fruit(("concept", "is-a", "apple"))), {"apple", "fuji"}),
        (include(fruit(("code", "is-a", "apple"))), {"apple", "fuji"}),
        (include(fruit(("concept", "descendent-of", "apple"))), {"fuji"}),
        (include(fruit(("concept", "is-not-a", "apple"))), {"fruit", "pear", "old"}),
        (include(fruit(("concept", "generalizes", "fuji"))), {"fruit", "apple", "fuji"}),
        (include(fruit(("concept", "in", "pear, apple,quince"))), {"pear", "apple"}),
        (include(fruit(("concept", "not-in", "pear,apple"))), {"fruit", "fuji", "old"}),
        (include(fruit(("concept", "=", "pear"))), {"pear"}),
        (include(fruit(("colour", "=", "red"))), {"apple", "fuji"}),
        (include(fruit(("colour", "in", "green,blue"))), {"pear"}),
        (include(fruit(("colour", "exists", "false"))), {"fruit", "old"}),
        (include(fruit(("sweet", "=", "true"))), {"fuji"}),
        (include(fruit(("parent", "=", "fruit"))), {"apple", "pear"}),
        (include(fruit(("child", "=", "fuji"))), {"apple"}),
        (include(fruit(("concept", "is-a", "fruit"), ("colour", "=", "green"))), {"pear"}),
        (include(fruit(("concept", "is-a", "quince"))), set()),
        (include(listed("pear"), listed("fuji")), {"pear", "fuji"}),
        (include(fruit(), exclude=[listed("old", "pear")]), {"fruit", "apple", "fuji"}),
        (include(fruit(), exclude=[fruit(("concept", "is-a", "apple"))]), {"fruit", "pear", "old"}),
        (include(fruit(), inactive=False), ALL - {"old"}),
        (include(fruit(), inactive=True), ALL),
        (include(listed("pear", "old"), inactive=False), {"pear"}),
        (include({"valueSet": ["urn:red"]}), {"apple", "fuji"}),
        (include({"valueSet": ["urn:red"]}, {"valueSet": ["urn:pears"]}), {"apple", "fuji", "pear", "quince"}),
        (include({"valueSet": ["urn:red", "urn:pears"]}), set()),
        (include(fruit(("concept", "descendent-of", "apple"), valueSet=["urn:red"])), {"fuji"}),
        (include(fruit(), exclude=[{"valueSet": ["urn:red"]}]), {"fruit", "pear", "old"}),
        ({"url": "urn:it", "expansion": {"contains": [{"system": "urn:fruit", "code": "pear"}]}}, {"pear"}),
        ({"url": "urn:it", "expansion": {"contains": [{"abstract": True, "contains": [
            {"system": "urn:fruit", "code": "pear"}]}]}}, {"pear"}),
        ({**include({"system": "urn:partial", "filter": [IS_A_X]}),
          "expansion": {"contains": [{"system": "urn:partial", "code": "x"}]}}, {"x"}),
        ({**include(listed("pear")), "expansion": {"contains": [{"system": "urn:fruit", "code": "old"}]}}, {"pear"}),
    ],
)  # fmt: skip
def test_the_members_are_those_that_the_standard_says(value_set: dict[str, Any], expected: set[str]) -> None:
    found = members(read_value_set(value_set), Shelf(*OTHERS))
    assert codes(found) == expected
    assert not found.systems


@pytest.mark.parametrize("system", ["urn:elsewhere", "urn:partial", "urn:large"])
def test_a_system_whose_codes_are_not_listed_here_is_a_member_as_a_whole(system: str) -> None:
    found = members(read_value_set(include({"system": system})), Shelf())
    assert found == Members(systems=frozenset({system}))
    assert (system, "whatever") in found


def test_whole_systems_meet_lists_of_codes() -> None:
    both = {"system": "urn:partial", "concept": [{"code": "x"}], "valueSet": ["urn:anything-partial"]}
    assert codes(members(read_value_set(include(both)), Shelf(*OTHERS))) == {"x"}
    whole = include({"system": "urn:partial"}, exclude=[{"valueSet": ["urn:anything-partial"]}])
    assert members(read_value_set(whole), Shelf(*OTHERS)) == Members()


@pytest.mark.parametrize(
    ("value_set", "reason"),
    [
        ({"url": "urn:it"}, "what it is made of"),
        (include({"valueSet": ["urn:nowhere"]}), "value set that is not known"),
        (include({"valueSet": ["urn:it"]}), "made of itself"),
        (include({"valueSet": ["urn:ring"]}), "made of itself"),
        (include({"system": "urn:elsewhere", "filter": [IS_A_X]}), "not known"),
        (include(fruit(("concept", "is-a", "pear"), version="9") | {"version": "9"}), "not known"),
        (include({"system": "urn:partial", "filter": [IS_A_X]}), "not all known"),
        (include(fruit(("concept", "regex", ".*"))), "a filter that this server does not know"),
        (include(fruit(("taste", "=", "sour"))), "a property that the code system does not have"),
        (include({"system": "urn:partial"}, exclude=[listed("x", system="urn:partial")]), "excludes single codes"),
        ({"url": "urn:it", "expansion": {"total": 2, "contains": [{"system": "urn:fruit", "code": "pear"}]}}, "what it is"),
        ({"url": "urn:it", "expansion": {"extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/valueset-toocostly", "valueBoolean": True}]}}, "what it is"),
        ({"url": "urn:it", "expansion": {"parameter": [{"name": "limitedExpansion", "valueBoolean": True}]}}, "what it is"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused_and_never_just_less(value_set: dict[str, Any], reason: str) -> None:
    ring = {"url": "urn:ring", "compose": {"include": [{"valueSet": ["urn:it"]}]}}
    shelf = Shelf(*OTHERS, ring, *([value_set] if "compose" in value_set else []))
    with pytest.raises(CannotExpand, match=reason):
        members(read_value_set(value_set), shelf)
