"""Writing the store: drafts of resources become one unit of documents, with all that must change along with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.fhir_json import dump
from fhir_server.store.collections import Collections, history_of
from fhir_server.store.commit import Unit
from fhir_server.store.consents import Trust, consent_terms, count_up
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.persons import Persons, person_term
from fhir_server.store.resources import Document, Resources, sealed
from fhir_server.store.shadow import Membership, Shadows, stamped


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource that is to be stored.

    old: the current document that it replaces. version: the number it gets. by: "patient" when patients write it.
    """

    resource: Mapping[str, Any]
    id: str
    custodian: str
    version: int = 1
    old: Document | None = None
    by: str | None = None

    @property
    def type(self) -> str:
        return str(self.resource["resourceType"])


@dataclass(frozen=True, slots=True)
class Written:
    """A version as it is stored: its place, its JSON and its document."""

    type: str
    id: str
    version: int
    at: int
    body: bytes
    document: Document

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}"


class Writer:
    """Turns drafts and deletions into units. The unit is the caller's to commit."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        *,
        collections: Collections,
        shadows: Shadows,
        persons: Persons,
        keys: DataKeys,
        resources: Resources,
        digest: Tokens,
        trust: Trust,
    ) -> None:
        self._database = database
        self._collections = collections
        self._shadows = shadows
        self._persons = persons
        self._keys = keys
        self._resources = resources
        self._digest = digest
        self._trust = trust

    def digest(self, resource: Mapping[str, Any]) -> int:
        """Return the keyed digest of what a resource says, whatever its id, version and date."""
        meta = {
            key: value for key, value in resource.get("meta", {}).items() if key not in ("versionId", "lastUpdated")
        }
        content = {**{key: resource[key] for key in sorted(resource) if key != "id"}, "meta": meta}
        return self._digest(dump(content).decode())

    async def memberships(self, resources: Sequence[Mapping[str, Any]]) -> list[Membership]:
        """Return whose records these resources (with ids) are; Patients among them count by what they say now."""
        patients = [self._shadows.patients(each) for each in resources]
        here = {each["id"]: self._persons.key(each) for each in resources if each["resourceType"] == "Patient"}
        others = {id for found in patients for id in found} - here.keys()
        keys = {**await self._persons.keys(others), **here} if others else here
        return [Membership(found, tuple(sorted({keys[id] for id in found}))) for found in patients]

    async def store(self, drafts: Sequence[Draft], *, at: int) -> tuple[Unit, list[Written]]:
        """Return the unit that stores the drafts as versions of the instant `at`, and the versions.

        at: microseconds since 1970 UTC.
        """
        await self._collections.ensure(*sorted({draft.type for draft in drafts}))
        resources = [stamped(each.resource, id=each.id, version=each.version, at=at) for each in drafts]
        members = await self.memberships(resources)
        owners = [_owner(member, each.custodian) for member, each in zip(members, drafts, strict=True)]
        keys = await self._keys.for_writing(owners)
        unit, written = Unit(), []
        for draft, resource, member, owner in zip(drafts, resources, members, owners, strict=True):
            name = self._keys.name(owner)
            body = dump(resource)
            document = {
                **self._shadow(draft, resource, member, at),
                "k": name,
                "h": self.digest(draft.resource),
                "body": sealed(keys[name], draft.type, draft.id, draft.version, body),
            }
            self._put(unit, draft, document)
            written.append(Written(draft.type, draft.id, draft.version, at, body, document))
        await self._link(unit, drafts, members)
        return unit, written

    def remove(self, type: str, old: Document, *, at: int) -> tuple[Unit, Document]:
        """Return the unit that deletes a resource, and the tombstone that its history keeps."""
        unit = Unit()
        unit.insert(history_of(type), earlier(old))
        kept: Document = {key: old[key] for key in ("org", "pat", "pats", "pr", "lab", "w", "by") if key in old}
        tombstone = {**kept, "_id": old["_id"], "v": old["v"] + 1, "at": at, "ix": [], "deleted": True}
        unit.insert(history_of(type), earlier(tombstone))
        unit.delete(type, {"_id": old["_id"], "v": old["v"]})
        if type == "Consent":
            _count_up_all(unit, old)
        return unit, tombstone

    def _shadow(self, draft: Draft, resource: dict[str, Any], member: Membership, at: int) -> Document:
        extra: list[str] = []
        if draft.type == "Consent":
            extra = consent_terms(self._trust.read(resource, custodian=draft.custodian, by=draft.by))
        if draft.type == "Patient":
            extra = [person_term(self._persons.key(resource))]
        shadow = self._shadows.of(
            resource,
            at=at,
            custodian=draft.custodian,
            members=member,
            labels=(draft.old or {}).get("lab", ()),
            extra=extra,
        )
        if draft.type == "Patient":
            shadow["me"] = self._persons.key(resource)
        return {**shadow, "by": draft.by} if draft.by else shadow

    def _put(self, unit: Unit, draft: Draft, document: Document) -> None:
        if draft.old is None:
            unit.insert(draft.type, document)
        else:
            unit.insert(history_of(draft.type), earlier(draft.old))
            unit.replace(draft.type, {"_id": draft.id, "v": draft.old["v"]}, document)
        if draft.type == "Consent":
            _count_up_all(unit, document, draft.old or {})

    async def _link(self, unit: Unit, drafts: Sequence[Draft], members: Sequence[Membership]) -> None:
        """Add to the unit the person links of Patients that are new or have changed, and the records that follow them."""
        for draft in drafts:
            if draft.type != "Patient":
                continue
            key = self._persons.key({**draft.resource, "id": draft.id})
            before = (await self._persons.keys([draft.id]))[draft.id]
            if key == before:
                continue
            self._persons.link(draft.id, key, unit)
            if await self._keys.has(before):
                await self._move(unit, draft.id, {each.id for each in drafts if each.type == "Patient"}, key)

    async def _move(self, unit: Unit, patient: str, here: Iterable[str], key: int) -> None:
        """Add to the unit that all records of a Patient, their earlier versions too, belong to another person key."""
        names = set(await self._database.list_collection_names())
        skip = {f"{id}" for id in here}
        for type in self._shadows.compartment_types:
            for name in {type, history_of(type)} & names:
                found = await self._database[name].find({"pr": patient}).to_list()
                moving = [each for each in found if not (type == name == "Patient" and each["_id"] in skip)]
                await asyncio.gather(*(self._moved(unit, type, name, each, patient, key) for each in moving))

    async def _moved(self, unit: Unit, type: str, name: str, document: Document, patient: str, key: int) -> None:
        keys = await self._persons.keys(id for id in document["pr"] if id != patient)
        persons = tuple(sorted({*keys.values(), key}))
        moved = {**document, "pat": persons[0], "pats": list(persons)}
        if len(persons) == 1:
            del moved["pats"]
        if "body" in document:
            id = document.get("id", document["_id"])
            (body,) = await self._resources.opened(type, [{**document, "_id": id}])
            owner = Owner(persons[0], document["org"])
            made, key = await self._keys.for_writing([owner]), self._keys.name(owner)
            moved |= {"k": key, "body": sealed(made[key], type, str(id), document["v"], body)}
        unit.replace(name, {"_id": document["_id"], "v": document["v"]}, moved)
        if type == "Consent":
            _count_up_all(unit, document, moved)


def earlier(document: Document) -> Document:
    """Return a current document as the history keeps it."""
    kept = {key: value for key, value in document.items() if key not in ("r", "s")}
    return {**kept, "_id": f"{document['_id']}/{document['v']}", "id": document["_id"]}


def _owner(member: Membership, custodian: str) -> Owner:
    return Owner(member.persons[0] if member.persons else None, custodian)


def _count_up_all(unit: Unit, *documents: Mapping[str, Any]) -> None:
    for person in {person for each in documents for person in each.get("pats", [each.get("pat")])} - {None}:
        count_up(person, unit)
