"""Which elements of a type stand in its summary, are mandatory, or are modifiers: summary.json, which make.py writes.

The table has a row for each type and backbone element: the names of such elements, marked + for ElementDefinition.
isSummary, ! for a minimum above 0, ? for isModifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import orjson

from fhir_server.definitions.registry import registry


@dataclass(frozen=True, slots=True)
class Kept:
    """JSON names of children of one type or backbone element.

    summary, mandatory, modifying: as marked. paths: for each child that has children, where those are listed.
    names: for each child its name in the standard, without the type of a choice.
    """

    summary: frozenset[str]
    mandatory: frozenset[str]
    modifying: frozenset[str]
    paths: Mapping[str, str]
    names: Mapping[str, str]


@cache
def _table() -> Mapping[str, str]:
    found: dict[str, str] = orjson.loads(Path(__file__).with_name("summary.json").read_bytes())
    return MappingProxyType(found)


@cache
def kept(path: str) -> Kept:
    """Return what is marked among the children of a type ("Patient") or backbone element ("Patient.contact")."""
    marks: dict[str, set[str]] = {"+": set(), "!": set(), "?": set()}
    for word in _table().get(path, "").split():
        name = word.rstrip("+!?")
        for mark in word[len(name) :]:
            marks[mark].add(name)
    paths, names = {}, {}
    for element in registry().elements(path).values():
        for json_name, type in element.json_names():
            names[json_name] = element.name
            paths[json_name] = element.path if type in ("BackboneElement", "Element") else type

    def json_names(mark: str) -> frozenset[str]:
        return frozenset(each for each, name in names.items() if name in marks[mark])

    return Kept(json_names("+"), json_names("!"), json_names("?"), MappingProxyType(paths), MappingProxyType(names))
