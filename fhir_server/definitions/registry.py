"""What the standard defines, read once from the tables beside this file (which `make.py` writes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

ANY_TYPE = "Resource"  # base of the search parameters that every resource has
EVERY_TYPE = "*"  # in search_parameters.json: a reference to any served type

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type: R4 ElementDefinition, cut down to what reading JSON needs."""

    name: str  # without "[x]"
    types: tuple[str, ...]  # "BackboneElement" for elements with children of their own
    many: bool  # a JSON array
    choice: bool  # the JSON name is the name followed by the type: value[x] -> valueQuantity
    path: str  # where the children of a backbone element are listed, else the element's own path
    system: str | None  # the only code system of a required binding, for a `code`

    def json_names(self) -> tuple[tuple[str, str], ...]:
        """Return the (JSON name, type) pairs under which the element may stand."""
        if not self.choice:
            return tuple((self.name, type) for type in self.types)
        return tuple((self.name + type[0].upper() + type[1:], type) for type in self.types)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite parameter. `expression` starts at the composite's element, or with %resource."""

    code: str
    type: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One SearchParameter as it applies to one base type ("Resource" for those that every type has)."""

    base: str
    code: str
    type: str
    expression: str
    targets: tuple[str, ...]
    components: tuple[Component, ...]
    url: str
    building: bool = False  # the stored records are still being filed under it


@dataclass(frozen=True, slots=True)
class Registry:
    """The definitions. All mappings are read-only.

    filing: counts up when resources are filed differently, which a search parameter outside R4 can bring about.
    """

    types: frozenset[str]
    unserved: Mapping[str, str]
    _parameters: Mapping[str, Mapping[str, SearchParameter]]
    _compartments: Mapping[str, Mapping[str, tuple[str, ...]]]
    _elements: Mapping[str, Mapping[str, Element]]
    filing: int = 0

    def extended(self, custom: Iterable[SearchParameter], filing: int) -> Registry:
        """Return the definitions with search parameters outside R4 besides, each of one base."""
        made: dict[str, Mapping[str, SearchParameter]] = dict(self._parameters)
        for each in custom:
            made[each.base] = MappingProxyType({**made[each.base], each.code: each})
        return replace(self, _parameters=MappingProxyType(made), filing=filing)

    def parameters(self, type: str) -> Mapping[str, SearchParameter]:
        """Return the search parameters of a served type by code, those of every resource included.

        type: "Resource" for those alone that every resource has.
        """
        return self._parameters.get(type, _NOTHING)

    def compartment(self, code: str) -> Mapping[str, tuple[str, ...]]:
        """Return which parameters put a resource of which type into a compartment: {type: codes}.

        code: Patient, Encounter, Practitioner, RelatedPerson or Device. The resource that gives the compartment
        its name belongs to it as well, without any parameter. Types that are never in it are absent.
        """
        return self._compartments.get(code, _NOTHING)

    def elements(self, path: str) -> Mapping[str, Element]:
        """Return the child elements of a type or backbone path by name; empty for a primitive or unknown path."""
        return self._elements.get(path, _NOTHING)


@cache
def registry() -> Registry:
    """Return the definitions of the R4 types that this server serves."""
    served: dict[str, Any] = _read("types.json")
    types = frozenset(served["served"])
    return Registry(
        types=types,
        unserved=MappingProxyType(served["unserved"]),
        _parameters=_parameters(_read("search_parameters.json"), sorted(types)),
        _compartments=_compartments(_read("compartments.json")),
        _elements=_elements(_read("elements.json")),
    )


def _read(name: str) -> Any:
    return orjson.loads(Path(__file__).with_name(name).read_bytes())


def _parameters(rows: Iterable[list[Any]], types: list[str]) -> Mapping[str, Mapping[str, SearchParameter]]:
    by_base: dict[str, dict[str, SearchParameter]] = {type: {} for type in types}
    everywhere: dict[str, SearchParameter] = {}
    for base, code, type, expression, url, targets, components in rows:
        (everywhere if base == ANY_TYPE else by_base[base])[code] = SearchParameter(
            base=base,
            code=code,
            type=type,
            expression=expression,
            targets=tuple(types if targets == EVERY_TYPE else targets),
            components=tuple(Component(*part) for part in components),
            url=url,
        )
    each = {type: MappingProxyType(everywhere | own) for type, own in by_base.items()}
    return MappingProxyType({ANY_TYPE: MappingProxyType(everywhere), **each})


def _compartments(rows: Iterable[tuple[str, str, list[str]]]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for code, type, parameters in rows:
        found.setdefault(code, {})[type] = tuple(parameters)
    return MappingProxyType({code: MappingProxyType(types) for code, types in found.items()})


def _elements(table: dict[str, dict[str, str]]) -> Mapping[str, Mapping[str, Element]]:
    found: dict[str, Mapping[str, Element]] = {}
    for key, own in table.items():
        path, _, base = key.partition(" < ")
        children = {element.name: element for element in (_element(path, name, said) for name, said in own.items())}
        found[path] = MappingProxyType({**found.get(base, _NOTHING), **children})
    return MappingProxyType(found)


def _element(parent: str, name: str, said: str) -> Element:
    """Read one entry of elements.json: "name[]" is an array, "name[x]" a choice; "types system" or "#path"."""
    bare = name.removesuffix("[]").removesuffix("[x]")
    types, _, system = said.partition(" ")
    refers = types.startswith("#")
    return Element(
        name=bare,
        types=("BackboneElement",) if refers else tuple(types.split("|")),
        many=name.endswith("[]"),
        choice=name.endswith("[x]"),
        path=types[1:] if refers else f"{parent}.{bare}",
        system=system or None,
    )
