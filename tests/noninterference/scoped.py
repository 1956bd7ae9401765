"""How far the scopes of a token reach, read anew from their text (SMART App Launch 2.2, "Scopes for requesting data")."""

from __future__ import annotations

from typing import NamedTuple

from tests.noninterference.agreements import Json

# By type and parameter of a scope's search: the element that has its codes. Others have none in these worlds.
CODED = {
    ("Observation", "code"): "code",
    ("Observation", "category"): "category",
    ("Condition", "code"): "code",
    ("MedicationRequest", "code"): "medicationCodeableConcept",
    ("List", "code"): "code",
    ("Composition", "type"): "type",
    ("Encounter", "class"): "class",
    ("Device", "type"): "type",
    ("Consent", "category"): "category",
}
READABLE = {"category", "class", "code", "type"}


class Way(NamedTuple):
    """One scope for an interaction on a type. limits: of each parameter one of its values must be there."""

    in_context: bool
    limits: tuple[tuple[str, tuple[str, ...]], ...]

    def leads_to(self, type: str, resource: Json) -> bool:
        """Return whether a resource has what the search of the scope asks for."""
        return all(_has(resource, CODED.get((type, name), ""), values) for name, values in self.limits)


def ways(scopes: str, type: str, letter: str, contexts: tuple[str, ...]) -> list[Way]:
    """Return the ways by which scopes of these contexts allow an interaction on a type."""
    found = []
    for scope in scopes.split():
        named, _, query = scope.partition("?")
        context, _, rest = named.partition("/")
        of, _, letters = rest.partition(".")
        limits = tuple(_limit(each) for each in query.split("&")) if query else ()
        readable = all(name in READABLE and all(values) for name, values in limits)
        allowed = letter in letters and (not limits or letter in "rs")
        if readable and allowed and context in contexts and of in ("*", type):
            found.append(Way(context == "patient", limits))
    return found


def _limit(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, values = text.partition("=")
    return name, tuple(values.split(","))


def _has(resource: Json, element: str, values: tuple[str, ...]) -> bool:
    there = resource.get(element, [])
    codings = [
        coding
        for each in (there if isinstance(there, list) else [there])
        for coding in (each.get("coding", ()) if "coding" in each else [each])
    ]
    return any(_is(coding, value) for coding in codings for value in values)


def _is(coding: Json, value: str) -> bool:
    system, bar, code = value.rpartition("|")
    return (not code or coding.get("code") == code) and (not bar or coding.get("system", "") == system)
