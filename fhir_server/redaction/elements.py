"""Elements that an obligation withholds, taken out of a resource.

What is shown does not depend on whether there was a value: the reason `masked` stands where the element would stand in
any case, so that a masked value and an absent one look the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from fhir_server.definitions.registry import Element, Registry
from fhir_server.definitions.registry import registry as standard
from fhir_server.redaction.marks import MASKED, REASON, Json, labelled

# They say nothing by being there, or a reason would not be valid in their place: they only go.
_WITHOUT_REASON = frozenset({"Extension", "Narrative", "Resource", "xhtml"})
_WITH_CHILDREN = frozenset({"BackboneElement", "Element"})
KNOWN = 10_000


def masked(registry: Registry, resource: Json, elements: Collection[str]) -> Json:
    """Return a resource without these elements ("Patient.telecom"); the same object if none of them bears on it.

    What it contains is masked by its own type. A contained resource takes no labels (R4 dom-4): what contains it has
    them. What a Bundle holds stays: one in which something is withheld is hidden as a whole (auth/policy.py).
    """
    # The longest first: what stands in place of an element is not to be changed by what is withheld within it.
    own = sorted((path for each in elements if (path := _within(resource, each))), key=lambda path: (-len(path), path))
    inner = _contained(registry, resource, elements)
    if inner is resource and not own:
        return resource
    for path in own:
        inner = _without(registry, inner, str(resource["resourceType"]), path)
    return labelled(_without_lost(resource, inner))


@lru_cache(KNOWN)
def is_element(path: str) -> bool:
    """Return whether resources have such an element ("Patient.telecom"): what they have not cannot be withheld.

    A choice has the elements of all its types.
    """
    registry = standard()
    type, *names = path.split(".")
    places = {type}
    for name in names:
        found = [each for at in places if (each := element_at(registry, at, name))]
        places = {inner_path(each, type) for each in found for type in each.types}
    return bool(places)


def element_at(registry: Registry, at: str, name: str) -> Element | None:
    """Return the child of a type or path that has this name, a choice also by the name of one of its types."""
    children = registry.elements(at)
    if name in children:
        return children[name]
    return next((each for each in children.values() if any(name == json for json, _ in each.json_names())), None)


def inner_path(element: Element, type: str) -> str:
    """Return where the registry lists the children of an element that has a value of a type."""
    return element.path if type in _WITH_CHILDREN else type


def _within(resource: Json, element: str) -> list[str]:
    """Return the names that lead to an element within its type; none if the resource is of another type."""
    type, _, path = element.partition(".")
    return path.split(".") if path and resource.get("resourceType") == type else []


def _contained(registry: Registry, resource: Json, elements: Collection[str]) -> Json:
    """Return a resource with what it contains masked; the same object if nothing of that is."""
    contained = resource.get("contained", ())
    inner = [_unlabelled(each, masked(registry, each, elements)) for each in contained]
    same = all(new is old for new, old in zip(inner, contained, strict=True))
    return resource if same else {**resource, "contained": inner}


def _without_lost(before: Json, after: Json) -> Json:
    """Return a masked resource without what it contained for the sake of what was taken out.

    A contained resource is a part of the element that refers to it: nothing else leads to it (R4 dom-3).
    """
    if "contained" not in after:
        return after
    lost = _referred(before) - _referred(after)
    kept = [each for each in after["contained"] if each.get("id") not in lost]
    rest = {key: value for key, value in after.items() if key != "contained"}
    return {**rest, "contained": kept} if kept else rest


def _referred(resource: Json) -> set[str]:
    """Return the ids of what a resource contains to which a reference leads, along others in it."""
    inner = {f"#{each['id']}": each for each in resource["contained"] if "id" in each}
    found, new = set[str](), {*_texts({key: value for key, value in resource.items() if key != "contained"})}
    while new := (new & inner.keys()) - found:
        found |= new
        new = {text for each in new for text in _texts(inner[each])}
    return {each.removeprefix("#") for each in found}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(each)


def _unlabelled(before: Json, after: Json) -> Json:
    """Return a masked contained resource with the meta that it had."""
    if after is before:
        return before
    rest = {key: value for key, value in after.items() if key != "meta"}
    return {**rest, "meta": before["meta"]} if "meta" in before else rest


def _without(registry: Registry, value: Json, at: str, path: list[str]) -> Json:
    """Return a value without the element at a path. at: where the registry lists the value's children."""
    element = element_at(registry, at, path[0])
    if element is None:
        return value
    if len(path) == 1:
        gone = {json for json, _ in element.json_names()}
        kept = {key: each for key, each in value.items() if key.removeprefix("_") not in gone}
        return {**kept, **dict(_reason(registry, at, element))}
    made = dict(value)
    for json, type in element.json_names():
        if json in value:
            made[json] = _each(registry, value[json], inner_path(element, type), path[1:])
    return made


def _each(registry: Registry, value: Any, at: str, path: list[str]) -> Any:
    if isinstance(value, list):
        return [_each(registry, each, at, path) for each in value]
    return _without(registry, value, at, path) if isinstance(value, dict) else value


def _reason(registry: Registry, at: str, element: Element) -> Iterator[tuple[str, Any]]:
    """Yield the property that says why the element is not there; none where that cannot be said."""
    if element.name == "value" and element.choice and "dataAbsentReason" in registry.elements(at):
        yield "dataAbsentReason", REASON
        return
    json, type = element.json_names()[0]
    if type in _WITHOUT_REASON:
        return
    complex = bool(registry.elements(inner_path(element, type)))
    yield json if complex else f"_{json}", [MASKED] if element.many else MASKED
