"""_summary and _elements of what is read, version-read or listed in a history; searches read them with the rest."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.errors import InvalidSearchValue
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.cursor import Pairs
from fhir_server.search.subset import Shape, shape_of, subset

SHAPING = ("_summary", "_elements")


def shape_asked(types: Sequence[str], pairs: Pairs) -> Shape | None:
    """Return what is to be kept of each resource of these types; None if all of it. Raises InvalidSearchValue."""
    if not pairs:
        return None
    said: dict[str, str] = {}
    for name, text in pairs:
        if name in SHAPING:
            if name in said:
                raise InvalidSearchValue(f"{name} is given more than once.")
            said[name] = text
    if said.get("_summary") == "count":
        raise InvalidSearchValue("_summary=count is for searches: here there is nothing to count.")
    return shape_of(types, said.get("_summary"), said.get("_elements"))


def shaped(body: bytes, shape: Shape | None) -> bytes:
    """Return what a shape keeps of a resource's JSON."""
    return body if shape is None else dump(subset(parse(body), shape))
