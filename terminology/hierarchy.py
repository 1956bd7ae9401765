"""Code systems: concepts, their properties, and which of them are below which (FHIR R4 CodeSystem, "Hierarchy")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terminology.members import CannotExpand

Json = Mapping[str, Any]

# What nesting means where it is no statement that the child is a kind of the parent.
NO_SUBSUMPTION = frozenset({"grouped-by", "part-of"})
# http://hl7.org/fhir/concept-properties: the properties that state a hierarchy, whatever code a system gives them.
DEFINED = "http://hl7.org/fhir/concept-properties#"
UPWARD, DOWNWARD = frozenset({"parent", "subsumedBy"}), frozenset({"child"})
INACTIVE = frozenset({"retired", "inactive"})


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept. parents: codes directly above. properties: the values of each as texts; "true" for a boolean."""

    parents: frozenset[str]
    properties: Mapping[str, frozenset[str]]

    @property
    def inactive(self) -> bool:
        """Whether the concept is not to be used any more (concept properties `inactive` and `status`)."""
        said = self.properties
        return "true" in said.get("inactive", ()) or not INACTIVE.isdisjoint(said.get("status", ()))


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """A code system as far as it is known here.

    complete: it lists all its codes. declared: the codes of the properties that its concepts can have.
    """

    url: str
    version: str | None
    complete: bool
    concepts: Mapping[str, Concept]
    children: Mapping[str, frozenset[str]]
    declared: frozenset[str]

    def below(self, code: str) -> frozenset[str]:
        """Return the code and all codes below it. Raises CannotExpand if that cannot be known."""
        return self._reached(code, lambda each: self.children.get(each, frozenset()))

    def above(self, code: str) -> frozenset[str]:
        """Return the code and all codes above it. Raises CannotExpand if that cannot be known."""
        return self._reached(code, lambda each: self.concepts[each].parents if each in self.concepts else frozenset())

    def _reached(self, code: str, step: Any) -> frozenset[str]:
        if not self.complete:
            raise CannotExpand("the code system does not list all its codes here")
        found, ahead = {code}, [code]
        while ahead:
            new = step(ahead.pop()) - found
            found |= new
            ahead.extend(new)
        return frozenset(found)


def read_code_system(resource: Json) -> CodeSystem:
    """Return what a CodeSystem resource says. What has no code is passed over."""
    kinds = _kinds(resource.get("property", ()))
    nested = resource.get("hierarchyMeaning") not in NO_SUBSUMPTION
    parents: dict[str, set[str]] = {}
    properties: dict[str, Mapping[str, frozenset[str]]] = {}
    for concept, over in _walk(resource.get("concept", ())):
        code = concept["code"]
        said = _properties(concept.get("property", ()))
        properties[code] = said
        above = parents.setdefault(code, set())
        if nested and over:
            above.add(over)
        for name, values in said.items():
            if kinds.get(name, name) in UPWARD:
                above |= values
            elif kinds.get(name, name) in DOWNWARD:
                for child in values:
                    parents.setdefault(child, set()).add(code)
    return CodeSystem(
        url=str(resource.get("url", "")),
        version=resource.get("version"),
        complete=resource.get("content") == "complete",
        concepts={code: Concept(frozenset(parents[code]), said) for code, said in properties.items()},
        children=_turned(parents),
        declared=frozenset({*kinds, *(name for said in properties.values() for name in said)}),
    )


def _walk(concepts: Iterable[Json]) -> Iterator[tuple[Json, str | None]]:
    """Yield every concept with the code that it is nested in. Without recursion: a client decides on the depth."""
    ahead: list[tuple[Json, str | None]] = [(each, None) for each in concepts]
    while ahead:
        concept, over = ahead.pop()
        if isinstance(concept.get("code"), str):
            yield concept, over
            ahead.extend((each, concept["code"]) for each in concept.get("concept", ()))


def _kinds(declared: Iterable[Json]) -> dict[str, str]:
    """Return, by the code of each declared property, the standard property that it is, or the code itself."""
    return {
        each["code"]: uri.removeprefix(DEFINED)
        if (uri := str(each.get("uri", ""))).startswith(DEFINED)
        else each["code"]
        for each in declared
        if isinstance(each.get("code"), str)
    }


def _properties(said: Iterable[Json]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for each in said:
        value = next((value for key, value in each.items() if key.startswith("value")), None)
        if isinstance(each.get("code"), str) and value is not None:
            found.setdefault(each["code"], set()).add(_text(value))
    return {code: frozenset(values) for code, values in found.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.get("code", "")) if isinstance(value, Mapping) else str(value)


def _turned(parents: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    children: dict[str, set[str]] = {}
    for code, above in parents.items():
        for each in above:
            children.setdefault(each, set()).add(code)
    return {code: frozenset(below) for code, below in children.items()}
