"""Value sets: what their resources say, and who is a member (FHIR R4 ValueSet, "Value Set Expansion")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from terminology.filters import Filter, passing
from terminology.hierarchy import CodeSystem
from terminology.members import CannotExpand, Members

Json = Mapping[str, Any]

# A whole code system with more codes than these is named by its system instead of code by code.
MOST_LISTED = 10_000
_EXTENSIONS = "http://hl7.org/fhir/StructureDefinition/"
INCOMPLETE = frozenset({f"{_EXTENSIONS}valueset-toocostly", f"{_EXTENSIONS}valueset-unclosed"})
LIMITED = "limitedExpansion"  # the expansion parameter by which HL7's own tools say the same


@dataclass(frozen=True, slots=True)
class Part:
    """One include or exclude: codes of a system, cut down by value sets, all of which must have them.

    system: its canonical, with the version if one is asked for. codes: None for all that pass the filters.
    """

    system: str | None
    codes: frozenset[str] | None
    filters: tuple[Filter, ...]
    value_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A value set. composed: it has a compose. expansion: its members as it lists them, if it lists them all."""

    composed: bool
    includes: tuple[Part, ...]
    excludes: tuple[Part, ...]
    inactive: bool
    expansion: Members | None

    def imports(self) -> frozenset[str]:
        """Return the canonicals of the value sets that it is made of."""
        return frozenset(each for part in (*self.includes, *self.excludes) for each in part.value_sets)

    def systems(self) -> frozenset[str]:
        """Return the canonicals of the code systems that its members depend on."""
        both = (*self.includes, *self.excludes)
        return frozenset(part.system for part in both if part.system and (part.codes is None or not self.inactive))


class Library(Protocol):
    """The value sets and code systems that are known, by canonical: a URL, or a URL, "|" and a version."""

    def value_set(self, canonical: str) -> ValueSet | None: ...

    def code_system(self, canonical: str) -> CodeSystem | None: ...


def read_value_set(resource: Json) -> ValueSet:
    """Return what a ValueSet resource says."""
    compose = resource.get("compose") or {}
    return ValueSet(
        composed="compose" in resource,
        includes=tuple(_part(each) for each in compose.get("include", ())),
        excludes=tuple(_part(each) for each in compose.get("exclude", ())),
        inactive=compose.get("inactive") is not False,
        expansion=_expanded(resource.get("expansion")),
    )


def _part(said: Json) -> Part:
    system, version = said.get("system"), said.get("version")
    return Part(
        system=f"{system}|{version}" if system and version else system,
        codes=frozenset(each["code"] for each in said["concept"]) if "concept" in said else None,
        filters=tuple(Filter(each["property"], each["op"], each["value"]) for each in said.get("filter", ())),
        value_sets=tuple(said.get("valueSet", ())),
    )


def _expanded(expansion: Json | None) -> Members | None:
    """Return the members that an expansion lists, None if it does not list them all."""
    if expansion is None or any(each.get("url") in INCOMPLETE for each in expansion.get("extension", ())):
        return None
    if any(
        each.get("name") == LIMITED and each.get("valueBoolean") is not False for each in expansion.get("parameter", ())
    ):
        return None  # some servers say it in another type than boolean
    listed = list(_contained(expansion.get("contains", ())))
    if expansion.get("offset") or expansion.get("total", len(listed)) > len(listed):
        return None
    return Members(frozenset((each["system"], each["code"]) for each in listed if "system" in each and "code" in each))


def _contained(contains: Iterable[Json]) -> Iterator[Json]:
    ahead = list(contains)
    while ahead:
        each = ahead.pop()
        yield each
        ahead.extend(each.get("contains", ()))


def members(value_set: ValueSet, library: Library) -> Members:
    """Return the members. Raises CannotExpand if they cannot all be told: it is never silently less."""
    return _members(value_set, library, ())


def _members(value_set: ValueSet, library: Library, within: tuple[str, ...]) -> Members:
    if not value_set.composed and value_set.expansion is None:
        raise CannotExpand("it does not say what it is made of")
    if value_set.composed:
        try:
            return _composed(value_set, library, within)
        except CannotExpand:
            if value_set.expansion is None:
                raise
    assert value_set.expansion is not None
    return value_set.expansion


def _composed(value_set: ValueSet, library: Library, within: tuple[str, ...]) -> Members:
    found = Members()
    for part in value_set.includes:
        found |= _of_part(part, library, within)
    for part in value_set.excludes:
        found -= _of_part(part, library, within)
    return found if value_set.inactive else _active(found, library, value_set.systems())


def _of_part(part: Part, library: Library, within: tuple[str, ...]) -> Members:
    found = None if part.system is None else _of_system(part.system, part, library)
    for canonical in part.value_sets:
        imported = _imported(canonical, library, within)
        found = imported if found is None else found & imported
    return found or Members()


def _of_system(canonical: str, part: Part, library: Library) -> Members:
    url = canonical.partition("|")[0]
    if part.codes is not None:
        return Members(frozenset((url, code) for code in part.codes))
    system = library.code_system(canonical)
    if part.filters:
        if system is None:
            raise CannotExpand("it filters a code system that is not known here")
        codes = frozenset.intersection(*(passing(system, each) for each in part.filters))
    elif system is None or not system.complete or len(system.concepts) > MOST_LISTED:
        return Members(systems=frozenset({url}))
    else:
        codes = frozenset(system.concepts)
    return Members(frozenset((url, code) for code in codes))


def _imported(canonical: str, library: Library, within: tuple[str, ...]) -> Members:
    if canonical in within:
        raise CannotExpand("it is made of itself")
    imported = library.value_set(canonical)
    if imported is None:
        raise CannotExpand("it is made of a value set that is not known here")
    return _members(imported, library, (*within, canonical))


def _active(found: Members, library: Library, systems: Iterable[str]) -> Members:
    retired = {
        (system.url, code)
        for canonical in systems
        if (system := library.code_system(canonical))
        for code, concept in system.concepts.items()
        if concept.inactive
    }
    return Members(found.codes - retired, found.systems)
