"""Which modifiers the search parameters of each type take (FHIR R4 Search, "Modifiers")."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import UnsupportedParameter

# Beside these, a reference takes the names of the types that it may refer to.
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "composite": ("missing",),
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "reference": ("missing", "identifier"),
    "special": ("missing",),
    "string": ("missing", "exact", "contains"),
    "token": ("missing", "not", "text", "in", "not-in", "above", "below", "of-type"),
    "uri": ("missing", "above", "below"),
}
# What is an id, a time of the server's own, or a sound, has none of the modifiers of its type.
_FEWER: Mapping[str, tuple[str, ...]] = {
    "_id": ("missing", "not"),
    "_lastUpdated": ("missing",),
    "phonetic": ("missing",),
}


def taken_by(parameter: SearchParameter) -> tuple[str, ...]:
    """Return the modifiers that a parameter takes, the names of types aside."""
    return _FEWER.get(parameter.code, MODIFIERS[parameter.type])


def refused(parameter: SearchParameter) -> UnsupportedParameter:
    """Return the problem of a parameter that has a modifier which its type does not take."""
    taken = ", ".join(f":{each}" for each in taken_by(parameter))
    targets = " and its target types" if parameter.type == "reference" else ""
    return UnsupportedParameter(
        f"The modifier of {parameter.code} is not supported: this {parameter.type} parameter takes {taken}{targets}."
    )
