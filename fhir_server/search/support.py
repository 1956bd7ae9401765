"""Which search parameters of the standard this server answers: one rule for all who need to know."""

from __future__ import annotations

from fhir_server.definitions.registry import SearchParameter
from fhir_server.search.types import composite, near

# Parameters that are held outside the index: the id and the time of the last update stand in the document itself.
OUTSIDE = frozenset({"_id", "_lastUpdated"})


def unsupported(parameter: SearchParameter) -> str | None:
    """Return in words why a parameter is not answered; None if it is."""
    if parameter.building:  # how far it is would tell how much there is that the requester may not see
        return "it is being built, the stored records are still being filed under it"
    if parameter.type == "special" and parameter.code != near.CODE:
        return "its type is special"
    if parameter.type == "composite":
        if composite.ranged_parts(parameter) > composite.MOST_RANGES:
            return "more than two of its parts are ranges"
        known = composite.EQUALITY.keys() | composite.RANGED.keys()
        if any(part.type not in known for part in parameter.components):
            return "one of its parts cannot be compared"
    return None


def ranged(parameter: SearchParameter) -> bool:
    """Return whether a parameter is filed as spans, not as terms."""
    return parameter.type in composite.RANGED or parameter.type == "composite"
