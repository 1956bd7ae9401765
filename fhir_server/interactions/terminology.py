"""Value sets and code systems for searches: those stored here that the requester may see, then R4's own.

What is stored is looked up for every request, under its gate; what a stored version says is read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhir_server.errors import InvalidSearchValue, TooCostly, UnsupportedParameter
from fhir_server.fhir_json import parse
from fhir_server.search.types import uri
from fhir_server.store.resources import Document, Gate, Resources
from terminology.expansion import ValueSet, members, read_value_set
from terminology.hierarchy import CodeSystem, read_code_system
from terminology.members import CannotExpand, Members
from terminology.standard import standard

__all__ = ["Members", "Terminology"]

MOST_FOUND = 500  # stored resources for the canonicals of one look-up
MOST_IMPORTED = 100
KNOWN = 1_000

READERS: dict[str, Callable[[Any], Any]] = {"ValueSet": read_value_set, "CodeSystem": read_code_system}


class Stored(NamedTuple):
    """One stored version, with what it is chosen by and what it says."""

    id: str
    number: int
    at: int
    url: str
    version: str | None
    active: bool
    says: Any

    def rank(self) -> tuple[Any, ...]:
        """Return what orders the versions of one URL: the active, the latest business version, the latest written."""
        pieces = re.findall(r"\d+|[^\d.]+", self.version or "")
        version = [(1, int(each), "") if each.isdecimal() else (0, 0, each) for each in pieces]
        return self.active, version, self.at, self.id

    def answers(self, canonical: str) -> bool:
        url, _, version = canonical.partition("|")
        return canonical == self.url or (url == self.url and version in ("", self.version))


@dataclass(frozen=True, slots=True)
class Found:
    """A library of what one look-up found stored here, R4's own behind it."""

    value_sets: dict[str, Stored]
    code_systems: dict[str, Stored]

    def value_set(self, canonical: str) -> ValueSet | None:
        here = self.value_sets.get(canonical)
        return here.says if here else standard().value_set(canonical)

    def code_system(self, canonical: str) -> CodeSystem | None:
        here = self.code_systems.get(canonical)
        return here.says if here else standard().code_system(canonical)

    @property
    def versions(self) -> frozenset[tuple[str, str, int]]:
        """Everything stored that an answer depends on."""
        both = (*self.value_sets.items(), *self.code_systems.items())
        return frozenset((canonical, each.id, each.number) for canonical, each in both)


class Terminology:
    """Answers who is a member of a value set, and what is above or below a code."""

    def __init__(self, resources: Resources, term: Callable[[str], int], *, base_url: str) -> None:
        self._resources = resources
        self._term = term
        self._base = f"{base_url}/"
        self._read: dict[tuple[str, str, int], Stored] = {}
        self._members: dict[tuple[str, frozenset[tuple[str, str, int]]], Members] = {}

    async def members(self, url: str, gate: Gate) -> Members:
        """Return the members of a value set.

        url: its canonical URL, with or without a version, or "ValueSet/id".
        Raises InvalidSearchValue if the requester sees no such value set, UnsupportedParameter if its members cannot
        all be told, TooCostly if it is made of too many others.
        """
        found = await self._closure(url, gate)
        value_set = found.value_set(url)
        if value_set is None:
            raise InvalidSearchValue("The value set that the search names is not known here.")
        key = (url, found.versions)
        if key not in self._members:
            if len(self._members) > KNOWN:
                self._members.clear()
            self._members[key] = _expanded(value_set, found)
        return self._members[key]

    async def subsumed(self, system: str, code: str, *, above: bool, gate: Gate) -> frozenset[str]:
        """Return the codes above or below a code of a code system, the code itself included.

        Raises UnsupportedParameter if the hierarchy of the code system is not known here.
        """
        stored = await self._stored("CodeSystem", [system], gate)
        known = Found({}, stored).code_system(system)
        if known is None or not known.complete:
            raise UnsupportedParameter("The hierarchy of the code system that the search names is not known here.")
        return known.above(code) if above else known.below(code)

    async def _closure(self, url: str, gate: Gate) -> Found:
        """Return what the members of a value set depend on."""
        found = Found({}, {})
        wanted, seen, systems = {url}, set[str](), set[str]()
        while wanted:
            seen |= wanted
            if len(seen) > MOST_IMPORTED:
                raise TooCostly(f"The value set is made of more than {MOST_IMPORTED} others.")
            found.value_sets.update(await self._stored("ValueSet", wanted, gate))
            sets = [each for canonical in wanted if (each := found.value_set(canonical))]
            systems.update(system for each in sets for system in each.systems())
            wanted = {canonical for each in sets for canonical in each.imports()} - seen
        found.code_systems.update(await self._stored("CodeSystem", systems, gate))
        return found

    async def _stored(self, type: str, canonicals: Iterable[str], gate: Gate) -> dict[str, Stored]:
        """Return, by canonical, the stored resources that the requester may see; of several the foremost."""
        ids = {each: id for each in canonicals if (id := self._own_id(type, each)) is not None}
        urls = [each for each in canonicals if each not in ids]
        by_id = await self._versions(type, (await self._resources.many(type, ids.values(), gate)).values(), gate)
        by_url = await self._versions(type, await self._filed(type, urls, gate), gate) if urls else {}
        found = {each: by_id[id] for each, id in ids.items() if id in by_id}
        for canonical in urls:
            if answering := [each for each in by_url.values() if each.answers(canonical)]:
                found[canonical] = max(answering, key=Stored.rank)
        return found

    def _own_id(self, type: str, canonical: str) -> str | None:
        """Return the id that a value set is named by, None if it is named by its canonical."""
        of, slash, id = canonical.removeprefix(self._base).partition("/")
        return id if of == type and slash else None

    async def _filed(self, type: str, urls: list[str], gate: Gate) -> list[Document]:
        names = {name for each in urls for name in (each, each.partition("|")[0])}
        terms = [self._term("url" + form) for name in sorted(names) for form in uri.looked_up(uri.Uri(name))]
        order = [("at", -1), ("_id", 1)]
        shown = {"_id": 1, "v": 1}
        return await self._resources.find(type, {"ix": {"$in": terms}}, gate, sort=order, limit=MOST_FOUND, shown=shown)

    async def _versions(self, type: str, rows: Iterable[Document], gate: Gate) -> dict[str, Stored]:
        """Return what each row's version says, by id; only versions not read before are fetched and opened."""
        known = {row["_id"]: self._read.get((type, row["_id"], row["v"])) for row in rows}
        new = await self._resources.many(type, [id for id, read in known.items() if read is None], gate)
        if len(self._read) > KNOWN:
            self._read.clear()
        for row, body in zip(new.values(), await self._resources.opened(type, list(new.values())), strict=True):
            known[row["_id"]] = self._read[type, row["_id"], row["v"]] = _read(type, row, parse(body))
        return {id: read for id, read in known.items() if read is not None}


def _read(type: str, row: Document, resource: Any) -> Stored:
    return Stored(
        id=row["_id"],
        number=row["v"],
        at=row["at"],
        url=resource.get("url", ""),
        version=resource.get("version"),
        active=resource.get("status") == "active",
        says=READERS[type](resource),
    )


def _expanded(value_set: ValueSet, library: Found) -> Members:
    try:
        return members(value_set, library)
    except CannotExpand as reason:
        raise UnsupportedParameter(f"The members of the value set cannot be told: {reason}.") from None
