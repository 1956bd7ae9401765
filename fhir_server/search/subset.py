"""Parts of resources: _summary and _elements (FHIR R4 Search, "Summary" and "Elements").

A resource that lost anything by it says so by the tag SUBSETTED, so that nobody takes it for the whole, or stores it.
Mandatory elements and modifiers always stay: without them the rest could be misread. An element that stays keeps its
id and its extensions, which may say why its value is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.definitions.registry import ANY_TYPE, registry
from fhir_server.definitions.summary import kept
from fhir_server.errors import InvalidSearchValue

Resource = dict[str, Any]
Summary = Literal["true", "text", "data"]

SUMMARIES = ("true", "text", "data", "count", "false")
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules"})
# What belongs to an element that stays, whatever is cut from within it.
OF_ELEMENT = frozenset({"id", "extension", "modifierExtension"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What is kept of a resource: one form of summary, or elements.

    elements: those of every resource. of_type: those of resources of one type, beside them.
    """

    summary: Summary | None = None
    elements: frozenset[str] = frozenset()
    of_type: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def leaves(self, type: str) -> bool:
        """Return whether resources of a type are left whole."""
        return self.summary is None and not self.elements and type not in self.of_type


def shape_of(types: Sequence[str], summary: str | None, elements: str | None) -> Shape | None:
    """Return the shape that _summary and _elements ask for; None if resources stay whole.

    types: those that are asked for ("Resource": any). Raises InvalidSearchValue.
    """
    if summary is not None and summary not in SUMMARIES:
        raise InvalidSearchValue(f"_summary is one of {', '.join(SUMMARIES)}.")
    chosen: Summary | None = summary if summary in ("true", "text", "data") else None  # type: ignore[assignment]
    if elements is None:
        return Shape(chosen) if chosen else None
    if chosen:
        raise InvalidSearchValue("_summary and _elements cannot be used together.")
    plain: set[str] = set()
    of_type: dict[str, set[str]] = {}
    for text in elements.split(","):
        type, dot, name = text.rpartition(".")
        if dot:
            of_type.setdefault(type, set()).add(_element((type,), name))
        else:
            plain.add(_element(types, name))
    return Shape(None, frozenset(plain), {type: frozenset(names) for type, names in of_type.items()})


def _element(types: Sequence[str], name: str) -> str:
    """Return the name of an element of at least one of the types. Raises InvalidSearchValue."""
    known = registry().types if ANY_TYPE in types else registry().types.intersection(types)
    # resourceType is no element, but is always there, and fhirpy asks for it.
    if name == "resourceType" or any(name in registry().elements(type) or name in kept(type).names for type in known):
        return name
    raise InvalidSearchValue("_elements names an element that the type does not have at its root.")


def subset(resource: Resource, shape: Shape) -> Resource:
    """Return what a shape keeps of a resource, tagged SUBSETTED; the resource itself stays as it is."""
    type = resource["resourceType"]
    if shape.leaves(type):
        return resource
    found = _part(resource, type, shape)
    meta = found.get("meta", {})
    tags = meta.get("tag", [])
    if SUBSETTED not in tags:
        meta = {**meta, "tag": [*tags, SUBSETTED]}
    head = {"resourceType": type, **({"id": found["id"]} if "id" in found else {}), "meta": meta}
    return {**head, **{name: value for name, value in found.items() if name not in head}}


def _part(resource: Resource, type: str, shape: Shape) -> Resource:
    marked = kept(type)
    match shape.summary:
        case "data":
            return {name: value for name, value in resource.items() if name != "text"}
        case "text":
            return _chosen(resource, ALWAYS | marked.mandatory | {"text"})
        case "true":
            return _summary(resource, type, ALWAYS | {"modifierExtension"})
    asked = shape.elements | shape.of_type.get(type, frozenset())
    wanted = {name for name, plain in marked.names.items() if name in asked or plain in asked}
    return _chosen(resource, ALWAYS | marked.mandatory | marked.modifying | wanted)


def _chosen(value: Resource, names: frozenset[str] | set[str]) -> Resource:
    """Return the members with these names; _name, beside a primitive, goes with it."""
    return {name: each for name, each in value.items() if name.removeprefix("_") in names}


def _summary(value: Resource, path: str, always: frozenset[str]) -> Resource:
    marked = kept(path)
    chosen = _chosen(value, always | marked.summary | marked.mandatory)
    return {name: _within(each, marked.paths.get(name, "")) for name, each in chosen.items()}


def _within(value: Any, path: str) -> Any:
    """Return the summary of the value of an element; of a type without any marks, the whole value."""
    if isinstance(value, list):
        return [_within(each, path) for each in value]
    return _summary(value, path, OF_ELEMENT) if isinstance(value, dict) and kept(path).summary else value
