"""What follows a write: records go over to the person that their Patient is now, Binaries to whom they belong now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.bodies import sealed
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.collections import history_of
from fhir_server.store.commit import Unit
from fhir_server.store.consents import count_up_all
from fhir_server.store.contexts import context_term
from fhir_server.store.keys import DataKeys
from fhir_server.store.marks import Earlier
from fhir_server.store.persons import Persons
from fhir_server.store.received import delivery_of, hold, owner
from fhir_server.store.resources import Document, Resources
from fhir_server.store.shadow import Membership, Shadows

BINARY = "Binary"
NOTHING: Mapping[str, Any] = {}


class Followed(NamedTuple):
    """A resource as it is stored now, to which Binaries may belong. reference: "Type/id". labels: keyed."""

    reference: str
    member: Membership
    labels: tuple[int, ...]


class Following:
    """Adds to the unit of a write what has to change along with it."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        shadows: Shadows,
        persons: Persons,
        keys: DataKeys,
        resources: Resources,
    ) -> None:
        self._database = database
        self._shadows = shadows
        self._persons = persons
        self._keys = keys
        self._resources = resources
        self._belonging: Coalesced[int, list[str]] = Coalesced(self._binaries)

    async def patients(self, patients: Sequence[Mapping[str, Any]], unit: Unit) -> None:
        """Add to the unit the person keys of Patients that are new or have changed, and all records that follow them."""
        moved: dict[str, int] = {}
        for patient in patients:
            key, again = self._persons.key(patient), int(patient["meta"]["versionId"]) > 1
            if await self._persons.link(patient["id"], key, unit, again=again):
                moved[patient["id"]] = key
        if moved:
            await self._move(unit, moved)

    async def contexts(self, unit: Unit, followed: Sequence[Followed]) -> None:
        """Add to the unit the Binaries, earlier versions too, that belong to what is written."""
        named = {self._shadows.term(context_term(each.reference)): each for each in followed}
        for term, ids in (await self._belonging.get_many(named)).items():
            for name, found_by in ((BINARY, {"_id": {"$in": ids}}), (history_of(BINARY), {"id": {"$in": ids}})):
                busy = unit.changed(name)
                for document in await self._database[name].find(found_by).to_list():
                    if document["_id"] not in busy:
                        await self._follow(unit, name, document, named[term])

    async def _binaries(self, terms: list[int]) -> dict[int, list[str]]:
        """Return the ids of the Binaries that are filed under each of these terms."""
        found: dict[int, list[str]] = {}
        for each in await self._database[BINARY].find({"ix": {"$in": terms}}, {"ix": 1}).to_list():
            for term in {*terms} & {*each["ix"]}:
                found.setdefault(term, []).append(each["_id"])
        return found

    async def _follow(self, unit: Unit, name: str, document: Document, target: Followed) -> None:
        before, labels = document.get("lab", ()), {*document.get("lab", ()), *target.labels}
        persons = document.get("pats", [document["pat"]] if "pat" in document else [])
        if list(target.member.persons) == persons and labels == {*before}:
            return
        hold(unit, [delivery_of(document)])
        filed = {"pr": list(target.member.patients), **({"lab": sorted(labels)} if labels else {})}
        moved = await self._of_persons(BINARY, document, target.member.persons, filed, earlier=name != BINARY)
        unit.replace(name, _as_read(document), moved)

    async def _move(self, unit: Unit, keys: Mapping[str, int]) -> None:
        """Add to the unit that all records of these Patients, earlier versions too, go over to other person keys."""
        names = set(await self._database.list_collection_names())
        for type in sorted(self._shadows.personal):
            # What the unit itself replaces or deletes is filed anew already; what it puts into the history is not.
            busy = unit.changed(type)
            for name in {type, history_of(type)} & names:
                for document in await self._database[name].find({"pr": {"$in": list(keys)}}).to_list():
                    if name != type or document["_id"] not in busy:
                        moved = await self._refiled(unit, type, document, keys, earlier=name != type)
                        unit.replace(name, _as_read(document), moved)
            history = unit.inserts.get(history_of(type), [])
            for place, document in enumerate(history):
                if keys.keys() & set(document.get("pr", ())):
                    history[place] = await self._refiled(unit, type, document, keys, earlier=True)

    async def _refiled(
        self, unit: Unit, type: str, document: Document, changed: Mapping[str, int], *, earlier: bool
    ) -> Document:
        """Return a stored document filed, and sealed, under the persons that its Patients are now."""
        keys = {**await self._persons.keys(document["pr"]), **changed}
        hold(unit, [delivery_of(document)])
        persons = tuple(sorted({keys[id] for id in document["pr"]}))
        moved = await self._of_persons(type, document, persons, earlier=earlier)
        if type == "Consent":
            count_up_all(unit, type, document, moved)
        return moved

    async def _of_persons(
        self,
        type: str,
        document: Document,
        persons: Sequence[int],
        filed: Mapping[str, Any] = NOTHING,
        *,
        earlier: bool,
    ) -> Document:
        """Return a stored document as the record of other persons, sealed for them. filed: other fields that change."""
        rest = {key: value for key, value in document.items() if key not in ("pat", "pats")}
        moved = {**rest, **({"pat": persons[0]} if persons else {}), **({"pats": list(persons)} if persons[1:] else {})}
        id = str(document.get("id", document["_id"]))
        self._resources.check(type, [Earlier({**document, "_id": id}) if earlier else document])
        if "body" in document:
            (body,) = await self._resources.unsealed(type, [{**document, "_id": id}])
            owned = owner(persons[0] if persons else None, document["org"], delivery_of(document))
            made, name = await self._keys.for_writing([owned]), self._keys.name(owned)
            moved |= {"k": name, "body": sealed(made[name], type, id, document["v"], body)}
        return self._keys.marks.marked(type, {**moved, **filed}, id=id, earlier=earlier)


def _as_read(document: Document) -> Document:
    """Return what finds a document unless it was filed anew meanwhile (fhir_server/reindexing)."""
    return {key: document.get(key) for key in ("_id", "v", "d")}
