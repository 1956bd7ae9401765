"""Which search parameters of the standard this server answers: one rule for all who need to know."""

from __future__ import annotations

from fhir_server.definitions.registry import SearchParameter
from fhir_server.search import composite

# Parameters that are held outside the index: the id and the time of the last update stand in the document itself.
OUTSIDE = frozenset({"_id", "_lastUpdated"})


def unsupported(parameter: SearchParameter) -> str | None:
    """Return in words why a parameter is not answered; None if it is."""
    if parameter.type == "special":
        return "its type is special"
    if parameter.code == "phonetic":
        return "this server has no phonetic matching"
    if parameter.type == "composite":
        if composite.ranged_parts(parameter) > 1:
            return "two of its parts are ranges"
        known = composite.EQUALITY.keys() | composite.RANGED.keys()
        if any(part.type not in known for part in parameter.components):
            return "one of its parts cannot be compared"
    return None


def ranged(parameter: SearchParameter) -> bool:
    """Return whether a parameter is filed as spans, not as terms."""
    return parameter.type in composite.RANGED or parameter.type == "composite"
