"""Changing the elements of a resource's JSON in place: a primitive's extensions go with it, nothing stays empty.

FHIR's JSON keeps a primitive's id and extensions under the same name with an underscore, in arrays at the same
position (FHIR R4, JSON representation, "JSON representation of primitive elements").
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fhir_server.patching.places import Place, listed

Object = dict[str, Any]


class New(NamedTuple):
    """An element that is to be put in place: its JSON value, and a primitive's id and extensions. None: it has none."""

    value: Any = None
    extras: Any = None


def inserted(holder: Object, name: str, at: int, new: New) -> None:
    """Put an element into an array, at a position that is not behind its end."""
    count = length(holder, name)
    for key, item in ((name, new.value), (f"_{name}", new.extras)):
        if key in holder or item is not None:
            items = [*listed(holder, key), *[None] * count][:count]
            items.insert(at, item)
            holder[key] = items


def length(holder: Object, name: str) -> int:
    """Return how many items an array has, those that only have extensions included."""
    return max(len(listed(holder, key)) for key in (name, f"_{name}"))


def taken(holder: Object, name: str, at: int) -> New:
    """Take an element out of an array and return it."""
    found = []
    for key in (name, f"_{name}"):
        items = list(listed(holder, key))
        found.append(items.pop(at) if at < len(items) else None)
        _set(holder, key, items if any(each is not None for each in items) else None)
    return New(*found)


def put(holder: Object, name: str, new: New) -> None:
    """Put an element that is no array's into its place, instead of what was there."""
    _set(holder, name, new.value)
    _set(holder, f"_{name}", new.extras)


def replaced(place: Place, name: str, new: New) -> None:
    """Put an element into another's place. name: the JSON name of the new one; a choice can be of another type."""
    holder = place.holder_object
    if place.at is not None:
        taken(holder, name, place.at)
        inserted(holder, name, place.at, new)
        return
    if name != place.name:
        put(holder, place.name, New())
    put(holder, name, new)


def removed(place: Place) -> None:
    """Take an element out, and with it what it leaves empty."""
    holder = place.holder_object
    if place.at is None:
        put(holder, place.name, New())
    else:
        taken(holder, place.name, place.at)
    above = place.holder
    if holder or above is None or above.holder is None:
        return
    if above.value is holder:
        removed(above)
    elif above.at is None:
        above.holder_object.pop(f"_{above.name}")
    else:
        extras = above.holder_object[f"_{above.name}"]
        extras[above.at] = None
        _set(above.holder_object, f"_{above.name}", extras if any(each is not None for each in extras) else None)


def _set(holder: Object, key: str, value: Any) -> None:
    if value is None:
        holder.pop(key, None)
    else:
        holder[key] = value
