"""FHIRPath Patch: a resource changed by the operations of a Parameters resource.

Source: FHIR R4 "FHIRPath Patch" (http://hl7.org/fhir/R4/fhirpatch.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from fhir_server.definitions.registry import Element, Registry
from fhir_server.patching.changing import New, inserted, length, put, removed, replaced, taken
from fhir_server.patching.operations import Operation, Value, operations
from fhir_server.patching.places import Paths, Place
from fhir_server.patching.problems import impossible, unreadable
from fhir_server.search.expressions.syntax import Child, NotSupported, Tree, parse


class _Impossible(Exception):
    """The operation does not fit the resource; carries why."""


class _List(NamedTuple):
    """A list of elements: the JSON object that it stands in, its name there, its definition."""

    holder: dict[str, Any]
    name: str
    element: Element

    def __len__(self) -> int:
        return length(self.holder, self.name)


def patched(resource: Mapping[str, Any], parameters: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """Return a copy of a resource with the operations carried out, one after the other.

    Raises InvalidRequest if an operation cannot be read, Unprocessable if one cannot be carried out.
    """
    read = operations(parameters)
    found = deepcopy(dict(resource))
    for number, operation in enumerate(read):
        try:
            _Change(registry, found).carry_out(operation, parse(operation.path))
        except NotSupported:
            raise unreadable(number, "its path is none that patches here understand") from None
        except _Impossible as why:
            raise impossible(number, f"{operation.type}: {why}") from None
    return found


class _Change:
    """One operation on one resource, which it changes in place."""

    def __init__(self, registry: Registry, resource: dict[str, Any]) -> None:
        self._registry = registry
        self._paths = Paths(registry, resource)

    def carry_out(self, operation: Operation, path: Tree) -> None:
        match operation.type:
            case "add":
                place = self._one(path)
                self._add(_object(place), place.path, operation.name, operation.value)
            case "insert":
                self._insert(self._list(path), operation.index, operation.value)
            case "delete":
                self._delete(path)
            case "replace":
                self._replace(self._one(path), operation.value)
            case "move":
                self._move(self._list(path), operation.source, operation.destination)

    def _one(self, path: Tree) -> Place:
        found = self._paths.places(path)
        if len(found) != 1:
            raise _Impossible(f"the path leads to {'several elements' if found else 'no element'}, not to one")
        return found[0]

    def _list(self, path: Tree) -> _List:
        place = self._one(path.of) if isinstance(path, Child) else None
        name = path.name if isinstance(path, Child) else ""
        element = self._registry.elements(place.path).get(name) if place else None
        if place is None or element is None or not element.many:
            raise _Impossible("the path must end with the name of a list")
        return _List(_object(place), name, element)

    def _add(self, holder: dict[str, Any], path: str, name: str, value: Value) -> None:
        """Add an element to an object whose elements are defined under a path."""
        element = self._called(path, name)
        json_name = _json_name(element, value)
        new = self._fitting(element, value)
        if element.many:
            inserted(holder, json_name, length(holder, json_name), new)
        elif any(key in holder for each, _ in element.json_names() for key in (each, f"_{each}")):
            raise _Impossible("the element is there already, and cannot be there twice")
        else:
            put(holder, json_name, new)

    def _called(self, path: str, name: str) -> Element:
        """Return the element of a name; a choice may be called with its type, or [x], as well."""
        elements = self._registry.elements(path)
        bare = name.removesuffix("[x]")
        found = [each for each in elements.values() if each.name == bare or bare in dict(each.json_names())]
        if not found:
            raise _Impossible("there is no element of this name at this place")
        return found[0]

    def _insert(self, into: _List, index: int, value: Value) -> None:
        if index > len(into):
            raise _Impossible("the index is behind the end of the list")
        inserted(into.holder, into.name, index, self._fitting(into.element, value))

    def _delete(self, path: Tree) -> None:
        """R4: the element, if it is found; only a single one."""
        found = self._paths.places(path)
        if len(found) > 1:
            raise _Impossible("the path leads to several elements, and only a single one can be deleted")
        if found and found[0].holder is None:
            raise _Impossible("a patch does not delete the resource itself")
        if found:
            removed(found[0])

    def _replace(self, place: Place, value: Value) -> None:
        if place.element is None:
            raise _Impossible("a patch does not replace the resource itself")
        replaced(place, _json_name(place.element, value), self._fitting(place.element, value))

    def _move(self, within: _List, source: int, destination: int) -> None:
        if max(source, destination) >= len(within):
            raise _Impossible("the source or the destination is behind the end of the list")
        inserted(within.holder, within.name, destination, taken(within.holder, within.name, source))

    def _fitting(self, element: Element, value: Value) -> New:
        """Return a value as this element. R4: the type of the value must be correct for its place."""
        backbone = element.types == ("BackboneElement",)
        complex = backbone or any(self._registry.elements(type) or type == "Resource" for type in element.types)
        if value.type is None:
            path = element.path if backbone else element.types[0]
            if element.choice or not self._registry.elements(path):
                raise _Impossible("parts make an element that has elements of its own, and none of a choice")
            made: dict[str, Any] = {}
            for name, part in value.parts:
                self._add(made, path, name, part)
            return New(made)
        if not element.choice and isinstance(value.json, dict) is not complex:
            raise _Impossible("the value is of another type than the element")
        if not element.choice and complex and value.type not in element.types:
            raise _Impossible("the value is of another type than the element")
        return New(deepcopy(value.json), deepcopy(value.extras))


def _object(place: Place) -> dict[str, Any]:
    """Return the JSON object that holds a place's children, made if the place is a primitive without any."""
    found = place.object
    if found is not None:
        return found
    holder, name = place.holder_object, f"_{place.name}"
    if place.at is None:
        return holder.setdefault(name, {})  # type: ignore[no-any-return]
    extras = holder.setdefault(name, [])
    extras += [None] * (place.at + 1 - len(extras))
    extras[place.at] = {}
    return extras[place.at]  # type: ignore[no-any-return]


def _json_name(element: Element, value: Value) -> str:
    """Return the name under which an element stands in JSON: that of a choice ends with the type of its value."""
    if not element.choice:
        return element.name
    name = f"{element.name}{value.type}"
    if name not in dict(element.json_names()):
        raise _Impossible("the value is of another type than the element")
    return name
