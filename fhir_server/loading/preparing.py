"""From lines and documents to one unit that stores them: parsed, checked, compared with what is stored, filed, sealed.

Nothing is stored here, so what is prepared may come too late: the unit says what it was prepared on and cannot be
committed if that has changed (store/commit.py), and `Prepared.seen` names what it does not say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from fhir_server.audit.event import Happening
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Scopes
from fhir_server.consenting.following import follow_ends
from fhir_server.errors import Problem
from fhir_server.interactions.call import Call, Services, touched
from fhir_server.interactions.changes import OURS, checked
from fhir_server.loading.bundle import Named
from fhir_server.loading.files import Chunk, Item, Reject, items, rejected
from fhir_server.reindexing import following
from fhir_server.reindexing.definitions import Definitions
from fhir_server.resident_id import is_resident_id
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft, reborn
from fhir_server.store.resources import Document, Ungated

MOST = 500  # resources in one unit
USER = "Device/fhir-facade-load"


class Place(NamedTuple):
    """A resource of the store."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What comes of a chunk.

    drafted: where each resource that the unit stores was found, by place. unchanged: how many are stored already as
    they are. seen: places that were only read, so that the unit does not fail when they have changed. rest: what has
    to wait until the unit is stored.
    """

    unit: Unit
    drafted: dict[Place, tuple[str, str]]  # file, position
    unchanged: int
    rejected: tuple[Reject, ...]
    seen: frozenset[Place]
    rest: Chunk


@dataclass(slots=True)
class _Batch:
    """Resources of different places that can go into one unit. again: those that say the same a second time."""

    items: dict[Place, Item] = field(default_factory=dict)
    again: list[tuple[Place, Item]] = field(default_factory=list)
    seen: set[Place] = field(default_factory=set)
    rejected: dict[Place, str] = field(default_factory=dict)
    bad: list[Reject] = field(default_factory=list)

    def rejects(self) -> Iterator[Reject]:
        yield from self.bad
        for place, item in chain(self.items.items(), self.again):
            if place in self.rejected:
                yield rejected(item, self.rejected[place])


class Preparer:
    """Prepares the records of one institution."""

    def __init__(self, definitions: Definitions, organization: str, named: Named) -> None:
        self._definitions = definitions
        self._organization = organization
        self._named = named
        self._everything = Ungated(f"load for {organization}")
        self._operator = Requester(Role.SYSTEM, USER, organization, "HSYSADMIN", Scopes(frozenset()))

    async def prepared(self, chunk: Chunk, most: int = MOST) -> Prepared:
        """Return what stores a chunk, on the state of the store as it is now. most: resources in the unit."""
        await self._definitions.renew()
        use = self._definitions.services
        batch, rest = self._batch(use, chunk, most)
        drafts = await self._drafts(use, batch)
        repeated = sum(place not in batch.rejected for place, _ in batch.again)
        unchanged = len(batch.items) - len(drafts) - len(batch.rejected) + repeated
        unit = await self._unit(use, drafts) if drafts else Unit()
        places = {place: batch.items[place] for place in (Place(each.type, each.id) for each in drafts)}
        return Prepared(
            unit,
            {place: (item.file, item.position) for place, item in places.items()},
            unchanged,
            tuple(batch.rejects()),
            frozenset(batch.seen | (batch.items.keys() - places.keys())),
            rest,
        )

    def _batch(self, use: Services, chunk: Chunk, most: int) -> tuple[_Batch, Chunk]:
        """Return the first resources that can be stored together, and what is left."""
        batch = _Batch()
        found = (item for raw in chunk for item in items(raw, self._named))
        for item in found:
            if reason := _fault(use, item):
                batch.bad.append(rejected(item, reason))
                continue
            resource = item.resource or {}
            place, context = Place(resource["resourceType"], resource["id"]), _context(resource)
            if place in batch.items and _same(use, batch.items[place], item):
                batch.again.append((place, item))
            elif place in batch.items or context in batch.items or len(batch.items) >= most:
                return batch, _left(chain([item], found))
            else:
                batch.items[place] = item
                batch.seen.update([context] if context else ())
        return batch, ()

    async def _drafts(self, use: Services, batch: _Batch) -> list[Draft]:
        """Return the drafts of what is to be stored; note in the batch what is rejected."""
        ids: dict[str, list[str]] = {}
        for type, id in batch.items:
            ids.setdefault(type, []).append(id)
        there = await asyncio.gather(*(self._there(use, type, wanted) for type, wanted in ids.items()))
        found = {place: old for part in there for place, old in part.items()}
        drafts = []
        for place, item in batch.items.items():
            old = found.get(place, {})
            if old.get("org", self._organization) != self._organization:
                batch.rejected[place] = "has the id of a record of another institution"
            elif draft := self._draft(use, item.resource or {}, old):
                drafts.append(draft)
        refused = self._refused(use, drafts)
        batch.rejected |= refused
        return [each for each in drafts if Place(each.type, each.id) not in refused]

    async def _there(self, use: Services, type: str, ids: Sequence[str]) -> dict[Place, Document]:
        """Return the current version of each resource, or the tombstone of one that was deleted."""
        stored = await use.resources.many(type, ids, self._everything)
        missing = [id for id in ids if id not in stored]
        buried = await use.resources.tombstones(type, missing) if missing else {}
        return {Place(type, id): each for id, each in {**buried, **stored}.items()}

    def _draft(self, use: Services, resource: dict[str, Any], old: Document) -> Draft | None:
        """Return the draft of a resource, None if it is stored already as it is."""
        if not old:
            return Draft(resource, resource["id"], self._organization)
        if old.get("deleted"):
            return reborn(resource, resource["id"], self._organization, old)
        draft = use.writer.labelled(Draft(resource, resource["id"], self._organization, old["v"] + 1, old))
        return None if old["h"] == use.writer.digest(draft.resource) else draft

    def _refused(self, use: Services, drafts: Sequence[Draft]) -> dict[Place, str]:
        """Return the search parameters that this user may not put in force or change, with the reason."""
        refused = {}
        standing: list[Draft] = []  # two that go together with what is in force need not go together with each other
        for draft in drafts:
            if draft.type != following.TYPE:
                continue
            try:
                following.follow(use, self._call(use), [*standing, draft], (), Unit())
            except Problem as problem:
                refused[Place(draft.type, draft.id)] = _reason(problem)
            else:
                standing.append(draft)
        return refused

    def _call(self, use: Services) -> Call:
        return Call(self._operator, use.settings.public_base)

    async def _unit(self, use: Services, drafts: Sequence[Draft]) -> Unit:
        at = use.now()
        unit, written, _ = await use.writer.store(drafts, at=at)
        following.follow(use, self._call(use), drafts, (), unit)
        await follow_ends(use, drafts, written, unit, at=at)
        happening = Happening("batch", touched=tuple(touched(each.type, each.document) for each in written))
        await use.audit.add(happening, self._operator, unit, at=at)
        return unit


def _fault(use: Services, item: Item) -> str | None:
    """Return why an item is not loaded, whatever is stored."""
    if item.problem is not None or item.resource is None:
        return item.problem or "cannot be read"
    try:
        checked(use, str(item.resource.get("resourceType")), item.resource)
    except Problem as problem:
        return _reason(problem)
    if item.resource["resourceType"] in OURS:
        return "is written by the server alone"
    if is_resident_id(item.resource["id"]):
        return "has a resident id number as its logical id"
    return None


def _reason(problem: Problem) -> str:
    where = f"{problem.expression}: " if problem.expression else ""
    return where + problem.diagnostics


def _same(use: Services, one: Item, other: Item) -> bool:
    """Return whether two items of one place say the same."""
    return use.writer.digest(one.resource or {}) == use.writer.digest(other.resource or {})


def _context(resource: dict[str, Any]) -> Place | None:
    """Return the resource that says whose record a Binary is: it has to be stored before."""
    context = resource.get("securityContext") if resource["resourceType"] == "Binary" else None
    type, _, id = str((context or {}).get("reference", "")).partition("/")
    return Place(type, id) if type and id else None


def _left(found: Iterable[Item]) -> Chunk:
    return tuple(item.raw for item in found)
