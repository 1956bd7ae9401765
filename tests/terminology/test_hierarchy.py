"""What is above and below a code, however its code system states the hierarchy."""

from __future__ import annotations

from typing import Any

import pytest

from terminology.hierarchy import CodeSystem, read_code_system
from terminology.members import CannotExpand

NESTED: list[dict[str, Any]] = [
    {"code": "a", "concept": [{"code": "b", "concept": [{"code": "c"}]}, {"code": "d"}]},
    {"code": "e"},
]


def stated(*rows: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Return the concepts a to e; each row says (code, property, value) of one."""
    made: dict[str, dict[str, Any]] = {code: {"code": code} for code in "abcde"}
    for code, property, value in rows:
        made[code].setdefault("property", []).append({"code": property, "valueCode": value})
    return list(made.values())


def code_system(concepts: list[dict[str, Any]], **said: Any) -> CodeSystem:
    return read_code_system({"url": "urn:s", "content": "complete", "concept": concepts, **said})


@pytest.mark.parametrize(
    "system",
    [
        code_system(NESTED),
        code_system(NESTED, hierarchyMeaning="is-a"),
        code_system(NESTED, hierarchyMeaning="classified-with"),
        code_system(stated(("b", "parent", "a"), ("c", "parent", "b"), ("d", "parent", "a"))),
        code_system(stated(("b", "subsumedBy", "a"), ("c", "subsumedBy", "b"), ("d", "subsumedBy", "a"))),
        code_system(stated(("a", "child", "b"), ("b", "child", "c"), ("a", "child", "d"))),
        code_system(
            stated(("b", "over", "a"), ("c", "over", "b"), ("d", "over", "a")),
            property=[{"code": "over", "uri": "http://hl7.org/fhir/concept-properties#parent", "type": "code"}],
        ),
    ],
    ids=["nested", "is-a", "classified-with", "parent", "subsumedBy", "child", "property with the standard's uri"],
)
def test_the_hierarchy_is_the_same_in_whatever_way_it_is_stated(system: CodeSystem) -> None:
    assert system.below("a") == {"a", "b", "c", "d"}
    assert system.below("c") == {"c"}
    assert system.above("c") == {"a", "b", "c"}
    assert system.above("e") == {"e"}


@pytest.mark.parametrize("meaning", ["part-of", "grouped-by"])
def test_parts_and_groups_are_not_below_what_they_are_in(meaning: str) -> None:
    assert code_system(NESTED, hierarchyMeaning=meaning).below("a") == {"a"}


def test_a_concept_may_have_several_parents_and_even_be_its_own_ancestor() -> None:
    system = code_system(stated(("c", "parent", "a"), ("c", "parent", "b"), ("a", "parent", "c")))
    assert system.above("c") == {"a", "b", "c"}
    assert system.below("b") == {"a", "b", "c"}


def test_a_code_that_the_system_does_not_have_is_alone() -> None:
    assert code_system(NESTED).below("zz") == code_system(NESTED).above("zz") == {"zz"}


@pytest.mark.parametrize("content", ["fragment", "example", "not-present", "supplement"])
def test_nothing_is_said_of_a_code_system_that_does_not_list_all_its_codes(content: str) -> None:
    with pytest.raises(CannotExpand):
        code_system(NESTED, content=content).below("a")


def test_a_deep_hierarchy_is_read_without_recursion() -> None:
    concept: dict[str, Any] = {"code": "0"}
    for depth in range(1, 3_000):
        concept = {"code": str(depth), "concept": [concept]}
    assert len(code_system([concept]).above("0")) == 3_000


@pytest.mark.parametrize(
    ("property", "inactive"),
    [
        ({"code": "inactive", "valueBoolean": True}, True),
        ({"code": "inactive", "valueBoolean": False}, False),
        ({"code": "status", "valueCode": "retired"}, True),
        ({"code": "status", "valueString": "inactive"}, True),
        ({"code": "status", "valueCode": "deprecated"}, False),
    ],
)
def test_a_concept_is_inactive_if_its_properties_say_so(property: dict[str, Any], inactive: bool) -> None:
    assert code_system([{"code": "a", "property": [property]}]).concepts["a"].inactive is inactive
