"""Where a FHIRPath leads to in a resource: places, which can be changed, rather than values.

The subset of FHIRPath that search parameters use (search/expressions/syntax.py) is what paths are written in: children,
[n], first(), last(), where(…), extension('…'), ofType(…); within where(…) also = != and, exists(), empty(), not().
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.registry import Element, Registry
from fhir_server.search.expressions.syntax import Binary, Call, Child, Index, Literal, NotSupported, OfType, This, Tree


@dataclass(frozen=True, eq=False)
class Place:
    """One element of a resource, as it stood when the path was evaluated.

    value: its JSON value, None for a primitive that only has extensions. type: its FHIR type. path: under which its
    children are defined (Registry.elements). holder: what it stands in, None for the resource itself. name: under which
    JSON name it stands there; at: at which position of the array there, None if it is no array.
    """

    value: Any
    type: str
    path: str
    element: Element | None = None
    holder: Place | None = None
    name: str = ""
    at: int | None = None

    @property
    def object(self) -> dict[str, Any] | None:
        """The JSON object that holds its children: its value, or for a primitive the one of its id and extensions."""
        if isinstance(self.value, dict):
            return self.value
        found = self.holder_object.get(f"_{self.name}")
        if isinstance(found, list) and self.at is not None:
            found = found[self.at] if self.at < len(found) else None
        return found if isinstance(found, dict) else None

    @property
    def holder_object(self) -> dict[str, Any]:
        """The JSON object that it stands in. Only for what is not the resource itself."""
        found = self.holder.object if self.holder else None
        if found is None:
            raise ValueError("the resource itself stands in nothing")
        return found


class Paths:
    """Evaluates paths on one resource."""

    def __init__(self, registry: Registry, resource: Mapping[str, Any]) -> None:
        self._registry = registry
        type = str(resource["resourceType"])
        self._whole = Place(resource, type, type)

    def places(self, tree: Tree, this: Place | None = None) -> list[Place]:
        """Return where a path leads to. Raises NotSupported if it leads to anything but elements of the resource."""
        found = self._evaluated(tree, this or self._whole)
        if not all(isinstance(each, Place) for each in found):
            raise NotSupported("computes a value")
        return found

    def children(self, of: Place, name: str) -> list[Place]:
        """Return the places of the child elements of a name, in their order; a choice is called by its bare name."""
        holder, element = of.object, self._registry.elements(of.path).get(name)
        if holder is None or element is None:
            return []
        found: list[Place] = []
        for json_name, type in element.json_names():
            if element.many:
                values, extras = listed(holder, json_name), listed(holder, f"_{json_name}")
                values = [*values, *[None] * (len(extras) - len(values))]
                found += [self._place(of, json_name, at, type, element, each) for at, each in enumerate(values)]
            elif json_name in holder or f"_{json_name}" in holder:
                found.append(self._place(of, json_name, None, type, element, holder.get(json_name)))
        return found

    def _place(self, of: Place, name: str, at: int | None, type: str, element: Element, value: Any) -> Place:
        if type == "Resource" and isinstance(value, dict):
            type = str(value.get("resourceType"))
        path = element.path if type == "BackboneElement" else type
        if not self._registry.elements(path):
            path = "Element"  # a primitive has an id and extensions
        return Place(value, type, path, element, of, name, at)

    def _evaluated(self, tree: Tree, this: Place) -> list[Any]:
        """Return places, or what is computed from them: booleans and literals."""
        match tree:
            case This():
                return [this]
            case Literal(value):
                return [value]
            case Child(This(), name) if this is self._whole and name in (this.type, "Resource", "DomainResource"):
                return [this]
            case Child(of, name):
                return [child for place in self.places(of, this) for child in self.children(place, name)]
            case Index(of, at):
                return self.places(of, this)[at : at + 1]
            case OfType(of, "as", type):
                return [place for place in self.places(of, this) if place.type == type]
            case Binary("and", left, right):
                return [_true(self._evaluated(left, this)) and _true(self._evaluated(right, this))]
            case Binary("=" | "!=" as operator, left, right):
                return _compared(operator, self._evaluated(left, this), self._evaluated(right, this))
            case Call(of, function, arguments):
                return self._called(of, function, arguments, this)
        raise NotSupported("holds what paths of patches do not understand")

    def _called(self, of: Tree, function: str, arguments: tuple[Tree, ...], this: Place) -> list[Any]:
        match function, arguments:
            case "where", (criterion,):
                return [place for place in self.places(of, this) if _true(self._evaluated(criterion, place))]
            case "first", ():
                return self.places(of, this)[:1]
            case "last", ():
                return self.places(of, this)[-1:]
            case "extension", (Literal(url),):
                found = [child for place in self.places(of, this) for child in self.children(place, "extension")]
                return [place for place in found if place.object and place.object.get("url") == url]
            case "exists", ():
                return [bool(self.places(of, this))]
            case "exists", (criterion,):
                return [any(_true(self._evaluated(criterion, place)) for place in self.places(of, this))]
            case "empty", ():
                return [not self.places(of, this)]
            case "not", ():
                return [not _true(self._evaluated(of, this))]
        raise NotSupported("calls a function that paths of patches do not understand")


def listed(holder: dict[str, Any], name: str) -> list[Any]:
    """Return the array of a name; none where a patch before has put something else that R4 does not have there."""
    found = holder.get(name)
    return found if isinstance(found, list) else []


def _compared(operator: str, one: list[Any], other: list[Any]) -> list[Any]:
    """Return whether two single values are equal, or not; nothing where one of them is not there."""
    if len(one) != 1 or len(other) != 1:
        return []
    left, right = (each.value if isinstance(each, Place) else each for each in (one[0], other[0]))
    # A boolean is no number.
    equal = isinstance(left, bool) is isinstance(right, bool) and left == right
    return [equal if operator == "=" else not equal]


def _true(found: list[Any]) -> bool:
    """Return whether a criterion holds: exactly one true; an element counts as its value."""
    return len(found) == 1 and (found[0].value if isinstance(found[0], Place) else found[0]) is True
