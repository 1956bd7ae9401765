"""The filters of a value set's compose: which codes of a code system pass (FHIR R4 ValueSet, "filter-operator")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import NamedTuple

from terminology.hierarchy import CodeSystem
from terminology.members import CannotExpand


class Filter(NamedTuple):
    """property: a code that the code system declares, or `concept` (also `code`) for the concept itself."""

    property: str
    op: str
    value: str


SELF = frozenset({"concept", "code"})


def passing(system: CodeSystem, filter: Filter) -> frozenset[str]:
    """Return the codes that pass. Raises CannotExpand for what cannot be decided."""
    if not system.complete:
        raise CannotExpand("it filters a code system whose codes are not all known here")
    if filter.op in HIERARCHICAL and filter.property in SELF:
        return frozenset(HIERARCHICAL[filter.op](system, filter.value))
    if filter.op in COMPARED:
        return frozenset(
            code
            for code in system.concepts
            if COMPARED[filter.op](_values(system, code, filter.property), filter.value)
        )
    raise CannotExpand("it has a filter that this server does not know")


def _values(system: CodeSystem, code: str, property: str) -> frozenset[str]:
    """Return the values of a concept's property; `parent` and `child` come from the hierarchy, however it is stated."""
    if property in SELF:
        return frozenset({code})
    if property == "parent":
        return system.concepts[code].parents
    if property == "child":
        return system.children.get(code, frozenset())
    if property not in system.declared:
        raise CannotExpand("it filters by a property that the code system does not have")
    return system.concepts[code].properties.get(property, frozenset())


def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(","))


HIERARCHICAL: Mapping[str, Callable[[CodeSystem, str], Set[str]]] = {
    "is-a": lambda system, code: system.below(code) & system.concepts.keys(),
    "descendent-of": lambda system, code: (system.below(code) - {code}) & system.concepts.keys(),
    "is-not-a": lambda system, code: system.concepts.keys() - system.below(code),
    "generalizes": lambda system, code: system.above(code) & system.concepts.keys(),
}
COMPARED: Mapping[str, Callable[[frozenset[str], str], bool]] = {
    "=": lambda values, text: text in values,
    "in": lambda values, text: not values.isdisjoint(_listed(text)),
    "not-in": lambda values, text: values.isdisjoint(_listed(text)),
    "exists": lambda values, text: bool(values) is (text == "true"),
}
