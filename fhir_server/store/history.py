"""The history of a type or of the whole system: all versions and deletions, newest first, never without a gate.

Versions stand in the descending order of (when, type, id, version number), so every page has a place where it goes on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from pymongo.asynchronous.database import AsyncDatabase

from consent_engine.predicate import Attribute, Predicate, weakened
from fhir_server.store.collections import history_of
from fhir_server.store.judged import in_short, test_of
from fhir_server.store.marks import Earlier
from fhir_server.store.permitted import NO_DOCUMENT, PURGED, Permitted, to_filter
from fhir_server.store.queries import MOST_MILLISECONDS
from fhir_server.store.resources import WITHOUT_BODY, Document, Gate, Resources

# How many versions are looked at in one step when many of them turn out to be hidden by labels or superseded.
LONGEST_STEP = 2_000


class Place(NamedTuple):
    """Where a version stands. at: microseconds since 1970 UTC."""

    at: int
    type: str
    id: str
    version: int


class Version(NamedTuple):
    """A stored version, its logical id as `_id`, without its body."""

    type: str
    document: Document

    @property
    def place(self) -> Place:
        return Place(self.document["at"], self.type, self.document["_id"], self.document["v"])

    @property
    def deleted(self) -> bool:
        return bool(self.document.get("deleted"))


@dataclass(frozen=True, slots=True)
class Window:
    """Which versions are asked for; all times in microseconds since 1970 UTC.

    since: those stored at or after it. during: those that were current at some time in [first, last], and the
    deletions that took place in it.
    """

    since: int | None = None
    during: tuple[int, int] | None = None

    @property
    def filter(self) -> Document:
        """The filter of when such a version can have been stored."""
        bounds = {} if self.since is None else {"$gte": self.since}
        bounds |= {"$lte": self.during[1]} if self.during else {}
        return {"at": bounds} if bounds else {}

    def spans(self, version: Version) -> bool:
        """Return whether a version was stored in time."""
        at = version.document["at"]
        return (self.since is None or at >= self.since) and (self.during is None or at <= self.during[1])

    def is_before(self, version: Version) -> bool:
        """Return whether a version was stored before the time at which it has to be current."""
        return self.during is not None and version.document["at"] < self.during[0]

    def of_one(self, versions: Sequence[Version]) -> list[Version]:
        """Return those asked for out of all versions of one resource, newest first."""
        found, begun = [], False  # begun: a version was current when the time began
        for each in versions:
            if self.spans(each) and (not self.is_before(each) or not (begun or each.deleted)):
                found.append(each)
            begun = begun or (self.during is not None and each.document["at"] <= self.during[0])
        return found


class History:
    """The versions of all resources."""

    def __init__(self, database: AsyncDatabase[Document], resources: Resources) -> None:
        self._database = database
        self._resources = resources
        # What follows from a permission is worked out once, and forgotten with it.
        self._views: WeakKeyDictionary[Permitted, dict[str, _View]] = WeakKeyDictionary()

    async def page(
        self, types: Iterable[str], gate: Gate, window: Window, *, after: Place | None, size: int
    ) -> list[Version]:
        """Return the first `size` versions in the window, behind a place, that the gate admits.

        Each is judged as `Resources.versions` judges it. What is hidden is passed over in steps of bounded size.
        """
        permitted, names = await asyncio.gather(gate.overall(), self._database.list_collection_names())
        present = set(names)
        all_views = [self._view(permitted, type) for type in types if {type, history_of(type)} & present]
        views = {view.type: view for view in all_views if view.filter != NO_DOCUMENT}
        found: list[Version] = []
        step = size
        while True:
            rows = await self._step(views, window, after, step)
            found += await self._asked_for(views, window, rows)
            if len(rows) < step or len(found) >= size:
                return found[:size]
            after, step = rows[-1].place, min(step * 2, LONGEST_STEP)

    async def bodies(self, versions: Sequence[Version]) -> list[bytes | None]:
        """Return the JSON of each version's resource; None for a deletion.

        versions: as they were found here, or by `Resources.versions`, which look at their marks.
        Raises Unreadable if its key was destroyed, Unsealable if it was changed in the store.
        """
        by_type: dict[str, list[Document]] = defaultdict(list)
        for type, document in versions:
            if not document.get("deleted"):
                by_type[type].append(document)
        opened = await asyncio.gather(*(self._opened(type, found) for type, found in by_type.items()))
        bodies = {key: body for each in opened for key, body in each.items()}
        return [bodies.get((type, document["_id"], document["v"])) for type, document in versions]

    def _view(self, permitted: Permitted, type: str) -> _View:
        known = self._views.setdefault(permitted, {})
        if type not in known:
            known[type] = _View(permitted.on(type), type, strict=self._resources.strictest_label)
        return known[type]

    async def _opened(self, type: str, documents: Sequence[Document]) -> dict[tuple[str, str, int], bytes]:
        ids = [each["_id"] for each in documents]
        wanted = {(each["_id"], each["v"]) for each in documents}
        shown = {"v": 1, "k": 1, "body": 1}
        current = await self._database[type].find({"_id": {"$in": ids}}, shown).to_list()
        whole = {(each["_id"], each["v"]): each for each in current if (each["_id"], each["v"]) in wanted}
        # In this order: what becomes an earlier version meanwhile is found here.
        names = [f"{id}/{version}" for id, version in wanted - whole.keys()]
        earlier = self._database[history_of(type)].find({"_id": {"$in": names}}, {**shown, "id": 1}) if names else None
        for each in await earlier.to_list() if earlier else ():
            whole[each["id"], each["v"]] = {**each, "_id": each["id"]}
        # Their marks were looked at when they were found; a body opens for no other version.
        bodies = await self._resources.unsealed(type, list(whole.values()))
        return {(type, *key): body for key, body in zip(whole, bodies, strict=True)}

    async def _step(self, views: Mapping[str, _View], window: Window, after: Place | None, size: int) -> list[Version]:
        """Return the next rows that may be admitted, in order."""
        each = await asyncio.gather(*(self._of_type(view, window, after, size) for view in views.values()))
        found = {version.place: version for versions in each for version in versions}
        return [found[place] for place in sorted(found, reverse=True)[:size]]

    async def _of_type(self, view: _View, window: Window, after: Place | None, size: int) -> list[Version]:
        # What was purged cannot be judged by a filter: it is told of where it is asked for by its id, and nowhere else.
        asked = [view.filter, window.filter, _behind(after, view.type), {PURGED: None}]
        found = []
        # The current ones first: what becomes an earlier version meanwhile is then found twice, never missed.
        for name, id in ((view.type, "_id"), (history_of(view.type), "id")):
            order = [("at", -1), (id, -1), *([("v", -1)] if id == "id" else [])]
            filter = {"$and": [_renamed(part, id) for part in asked if part]}
            cursor = self._database[name].find(filter, WITHOUT_BODY).sort(order).limit(size)
            rows = await cursor.max_time_ms(MOST_MILLISECONDS).to_list()
            found += [_version(view.type, row, id) for row in rows]
        return found

    async def _asked_for(self, views: Mapping[str, _View], window: Window, rows: Sequence[Version]) -> list[Version]:
        by_type: dict[str, list[Version]] = defaultdict(list)
        for row in rows:
            by_type[row.type].append(row)
        each = await asyncio.gather(*(self._of_window(views[type], window, found) for type, found in by_type.items()))
        kept = {version.place: version for found in each for version in found}
        return [kept[row.place] for row in rows if row.place in kept]

    async def _of_window(self, view: _View, window: Window, rows: Sequence[Version]) -> list[Version]:
        """Return those of a type's rows that are admitted and not superseded before the window's time begins."""
        earlier = {row.document["_id"] for row in rows if window.is_before(row) and not row.deleted}
        lives = await self._lives(view, earlier, until=window.during[0]) if window.during and earlier else {}
        current = {found[0].place for found in lives.values() if not found[0].deleted}
        admitted = await self._admitted(view, rows)
        return [row for row in admitted if not window.is_before(row) or row.place in current]

    async def _lives(self, view: _View, ids: set[str], *, until: int) -> dict[str, list[Version]]:
        """Return, by id, the admitted versions of these resources that were stored by an instant, newest first."""
        found: dict[Place, Version] = {}
        for name, id in ((view.type, "_id"), (history_of(view.type), "id")):
            asked = {id: {"$in": list(ids)}, "at": {"$lte": until}, PURGED: None}
            for row in await self._database[name].find(asked, WITHOUT_BODY).to_list():
                version = _version(view.type, row, id)
                found[version.place] = version
        admitted = await self._admitted(view, list(found.values()), exact=False)
        lives: dict[str, list[Version]] = defaultdict(list)
        for each in sorted(admitted, key=lambda each: -each.document["v"]):
            lives[each.document["_id"]].append(each)
        return lives

    async def _admitted(self, view: _View, rows: Sequence[Version], *, exact: bool = True) -> list[Version]:
        """Return the rows that the gate admits. exact: they were found by the view's filter. Raises ChangedInStore."""
        if view.exact:
            admitted = list(rows) if exact else [row for row in rows if view.admits(row.document)]
            self._resources.check(view.type, [row.document for row in admitted])
            return admitted
        newest = await self._newest(view.type, {row.document["_id"] for row in rows})
        admitted, lived = [], []
        for row in rows:
            labels = newest[row.document["_id"]].get("lab", [])
            as_lived = Version(row.type, {**row.document, "lab": labels})
            if view.admits(as_lived.document):
                lived.append(as_lived)
                admitted.append(row)
        used = {row.document["_id"]: newest[row.document["_id"]] for row in admitted}
        self._resources.check(view.type, [*used.values(), *(row.document for row in admitted)])
        return lived

    async def _newest(self, type: str, ids: set[str]) -> dict[str, Document]:
        """Return the newest version of each resource, which carries the labels of its whole life, without its body."""
        current = await self._database[type].find({"_id": {"$in": list(ids)}}, WITHOUT_BODY).to_list()
        found: dict[str, Document] = {each["_id"]: each for each in current}
        if gone := ids - found.keys():
            tombstones = await self._resources.buried(type, gone)
            found |= {id: Earlier({**each, "_id": id}) for id, each in tombstones.items()}
        return found


class _View:
    """What may be seen of one type: a filter that finds it, and, where labels matter, the decision on each version.

    A version carries the labels that it had when it was stored; it is judged by those of the whole life. So the filter
    does not ask for labels, and finds more than may be seen.
    """

    def __init__(self, predicate: Predicate, type: str, *, strict: bool) -> None:
        coarse = in_short(weakened(predicate, Attribute.LABEL) if strict else predicate, upwards=True)
        self.type = type
        self.exact = coarse == predicate
        self.filter = to_filter(coarse, type)
        self.admits = test_of(predicate, type)


def _version(type: str, row: Document, id: str) -> Version:
    """Return a row as a version. id: the field of its logical id, which tells the history from what is current."""
    return Version(type, Earlier({**row, "_id": row["id"]}) if id == "id" else row)


def _behind(after: Place | None, type: str) -> Document:
    """Return the filter of a type's versions that stand behind a place."""
    if after is None:
        return {}
    if type != after.type:
        return {"at": {"$lte" if type < after.type else "$lt": after.at}}
    lower = [{"at": {"$lt": after.at}}, {"_id": {"$lt": after.id}}, {"_id": after.id, "v": {"$lt": after.version}}]
    return {"at": {"$lte": after.at}, "$or": lower}


def _renamed(filter: Any, id: str) -> Any:
    """Return a filter with the logical id under the name that it has in a history collection."""
    if id == "_id":
        return filter
    if isinstance(filter, dict):
        return {id if key == "_id" else key: _renamed(value, id) for key, value in filter.items()}
    return [_renamed(each, id) for each in filter] if isinstance(filter, list) else filter
