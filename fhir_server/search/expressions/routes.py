"""What an expression means for one base: the places in the JSON where its values stand, with their types.

A place is found at compile time by walking the element tree, so that running it is looking up keys. An element with
a choice of types becomes one place for each type, unless the expression says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from fhir_server.definitions.registry import Registry
from fhir_server.search.expressions.syntax import (
    Binary,
    Call,
    Child,
    Index,
    Literal,
    NotSupported,
    OfType,
    This,
    Tree,
    Variable,
)

Test: TypeAlias = Callable[[Any], bool | None]  # FHIRPath's three values: None is empty

ANY_RESOURCE = ("Resource", "DomainResource")
WITH_OWN_CHILDREN = ("BackboneElement", "Element")
# Types that add no elements to Quantity, only rules on it.
QUANTITIES = frozenset(("Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity"))
# `as` takes what is derived from a type as well. Source: FHIR R4, Data Types, "Primitive Types".
DERIVED = {
    "integer": ("positiveInt", "unsignedInt"),
    "Quantity": tuple(QUANTITIES),
    "string": ("code", "id", "markdown"),
    "uri": ("canonical", "oid", "url", "uuid"),
}


class UnknownElement(ValueError):
    """The expression names an element or a type that its base does not have there: it could never find anything."""


@dataclass(frozen=True, slots=True)
class Key:
    """Go to the values of one JSON property."""

    name: str
    many: bool


@dataclass(frozen=True, slots=True)
class At:
    """Keep only the value at this position of the array just entered."""

    position: int


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the values that pass. Equal if written alike about the same kind of thing."""

    condition: Tree
    about: str
    test: Test = field(compare=False)


Step: TypeAlias = Key | At | Where


@dataclass(frozen=True, slots=True)
class Place:
    """Where values stand, and what they are.

    path: where the registry lists their children. steps: how to get there, from the base, or from the whole
    resource (`absolute`). system: the code system of a `code`.
    """

    type: str
    path: str
    steps: tuple[Step, ...] = ()
    absolute: bool = False
    system: str | None = None

    @property
    def says(self) -> str:
        """Return the type name to give with a value: "Observation.component" for a backbone element."""
        if self.type in QUANTITIES:
            return "Quantity"
        return self.path if self.type in WITH_OWN_CHILDREN else self.type


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression is about. resource: the type of %resource, None if unknown."""

    registry: Registry
    this: Place
    resource: str | None


def places(tree: Tree, scope: Scope) -> tuple[Place, ...]:
    """Return the places of an expression, in its order. Raises NotSupported, UnknownElement."""
    match tree:
        case This():
            return (scope.this,)
        case Variable("resource") if scope.resource:
            return (Place(scope.resource, scope.resource, absolute=True),)
        case Child(of, name):
            return _children(of, name, scope)
        case Binary("|", left, right):
            return tuple(dict.fromkeys(places(left, scope) + places(right, scope)))
        case OfType(of, "as", type):
            return _cast(places(of, scope), type)
        case Index(of, at):
            return (_at(places(of, scope), at),)
        case Call(of, "where", (condition,)):
            return tuple(_where(place, condition, scope) for place in places(of, scope))
        case Call(of, "extension", (Literal(str()) as url,)):
            condition = Binary("=", Child(This(), "url"), url)
            return tuple(_where(place, condition, scope) for place in _children(of, "extension", scope))
    raise NotSupported(f"no way to compile {tree}")


def _children(of: Tree, name: str, scope: Scope) -> tuple[Place, ...]:
    parents = places(of, scope)
    found = tuple(place for parent in parents for place in _child(parent, name, scope.registry))
    if found:
        return found
    if isinstance(of, This) and name in (scope.this.type, *ANY_RESOURCE):
        return parents
    if any(not scope.registry.elements(parent.path) for parent in parents):
        raise NotSupported(f"{name} of a primitive value")
    raise UnknownElement(f"{' or '.join(parent.path for parent in parents)} has no element {name}")


def _child(parent: Place, name: str, registry: Registry) -> Iterable[Place]:
    element = registry.elements(parent.path).get(name)
    for key, type in element.json_names() if element else ():
        assert element is not None
        path = element.path if type in WITH_OWN_CHILDREN else type
        steps = (*parent.steps, Key(key, element.many))
        yield Place(type, path, steps, parent.absolute, element.system if type == "code" else None)


def _cast(found: tuple[Place, ...], type: str) -> tuple[Place, ...]:
    """Keep what is of the type. R4 writes "DateTime" for "dateTime" in places: capitals do not count."""
    taken = {name.lower() for name in (type, *DERIVED.get(type, ()))}
    if same := tuple(place for place in found if place.type.lower() in taken):
        return same
    mixed = tuple(place for place in found if place.type in ANY_RESOURCE)
    if not mixed:
        raise UnknownElement(f"nothing here is of type {type}")
    test = Where(OfType(This(), "is", type), "Resource", lambda value: _resource_type(value) == type)
    return tuple(replace(place, type=type, path=type, steps=(*place.steps, test)) for place in mixed)


def _resource_type(value: Any) -> Any:
    return value.get("resourceType") if isinstance(value, dict) else None


def _at(found: tuple[Place, ...], position: int) -> Place:
    """Return the place of one item; only where the array is the only one on the way: else it is not one array."""
    arrays = [step for place in found for step in place.steps if isinstance(step, Key) and step.many]
    last = found[0].steps[-1] if found[0].steps else None
    if len(found) != 1 or not isinstance(last, Key) or arrays != [last]:
        raise NotSupported("a position in what several arrays give together")
    return replace(found[0], steps=(*found[0].steps, At(position)))


def _where(place: Place, condition: Tree, scope: Scope) -> Place:
    inside = Scope(scope.registry, Place(place.type, place.path), None)
    return replace(place, steps=(*place.steps, Where(condition, place.path, condition_test(condition, inside))))


def condition_test(tree: Tree, scope: Scope) -> Test:
    """Return a test of one value (or of the resource) for a condition. Raises NotSupported, UnknownElement."""
    match tree:
        case Binary("and", left, right):
            return _both(condition_test(left, scope), condition_test(right, scope))
        case Binary("=" | "!=" as operator, left, Literal(value)):
            return _compared(operator, _values(places(left, scope)), value)
        case Call(of, "exists", ()):
            values = _values(places(of, scope))
            return lambda node: bool(values(node))
        case OfType(Call(This(), "resolve", ()), "is", type):
            return lambda node: referred_type(node) == type
    raise NotSupported(f"no way to compile the condition {tree}")


def _both(left: Test, right: Test) -> Test:
    def test(node: Any) -> bool | None:
        answers = (left(node), right(node))
        return False if False in answers else None if None in answers else True

    return test


def _compared(operator: str, values: Callable[[Any], list[Any]], wanted: str | bool | int) -> Test:
    def test(node: Any) -> bool | None:
        found = values(node)
        if not found:
            return None
        same = len(found) == 1 and type(found[0]) is type(wanted) and found[0] == wanted
        return same if operator == "=" else not same

    return test


def _values(found: tuple[Place, ...]) -> Callable[[Any], list[Any]]:
    """Return a reader of direct children; conditions of search parameters look no deeper."""
    keys = tuple(step.name for place in found for step in place.steps if isinstance(step, Key))
    if any(len(place.steps) != 1 for place in found) or len(keys) != len(found):
        raise NotSupported("a condition on more than a child")

    def values(node: Any) -> list[Any]:
        if not isinstance(node, dict):
            return []
        given = (node.get(key) for key in keys)
        return [
            item for value in given for item in (value if isinstance(value, list) else (value,)) if item is not None
        ]

    return values


def referred_type(value: Any) -> str | None:
    """Return the resource type that a Reference (or canonical) points to, as far as its own text tells; else None.

    Nothing is fetched. A fragment, a urn and a mere identifier tell by Reference.type alone.
    Source: FHIR R4, References, "Literal References".

    >>> referred_type({"reference": "http://example.org/fhir/Patient/1/_history/2"})
    'Patient'
    >>> referred_type({"reference": "#mother", "type": "RelatedPerson"})
    'RelatedPerson'
    """
    text = value.get("reference") if isinstance(value, dict) else value
    if isinstance(text, str):
        parts = text.split("/")
        if len(parts) > 3 and parts[-2] == "_history":
            del parts[-2:]
        if len(parts) > 1 and parts[-2].isalpha() and parts[-2][0].isupper():
            return parts[-2]
    type = value.get("type") if isinstance(value, dict) else None
    return type.rpartition("/")[2] if isinstance(type, str) else None
