"""Writing the store: drafts of resources become one unit of documents, with all that must change along with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry
from fhir_server.fhir_json import canonical, dump
from fhir_server.store.collections import Collections, history_of
from fhir_server.store.commit import Unit
from fhir_server.store.consents import Trust, consent_terms, count_up_all
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.mentioned import Mentioned, mentioned
from fhir_server.store.persons import Persons, person_term
from fhir_server.store.resources import Document, Resources, Ungated, sealed
from fhir_server.store.shadow import Membership, Shadows, born_term, stamped

# What a tombstone keeps of what was deleted: all that the gate looks at.
KEPT = ("org", "pat", "pats", "pr", "lab", "w", "c", "by")


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource that is to be stored.

    old: the current document that it replaces. version: the number it gets. by: "patient" when patients write it.
    labels: keyed labels of an earlier life, before a deletion; they stay (consent.md, D21). said: what the resource
    mentions, once it has its security labels.
    """

    resource: Mapping[str, Any]
    id: str
    custodian: str
    version: int = 1
    old: Document | None = None
    by: str | None = None
    labels: tuple[int, ...] = ()
    said: Mentioned | None = None

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


@dataclass(frozen=True, slots=True)
class Removal:
    """A resource that is to be deleted; old is None when there is nothing to delete."""

    type: str
    id: str
    old: Document | None


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
        registry: Registry,
    ) -> None:
        self._registry = registry
        self._database = database
        self._collections = collections
        self._shadows = shadows
        self._persons = persons
        self._keys = keys
        self._resources = resources
        self._digest = digest
        self._trust = trust

    def labelled(self, draft: Draft) -> Draft:
        """Return the draft as it is stored: with the security labels that follow from what the resource holds."""
        if draft.said is not None:
            return draft
        said = mentioned(draft.resource)
        return replace(draft, resource=self._shadows.labeller.labelled(draft.resource, said.codings), said=said)

    def labels(self, resource: Mapping[str, Any]) -> set[int]:
        """Return the keyed security labels of a resource: stated, or following from what it holds."""
        return self._shadows.labels(resource, mentioned(resource))

    def digest(self, resource: Mapping[str, Any]) -> int:
        """Return the keyed digest of what a resource says, whatever its id, version and date."""
        meta = {
            key: value for key, value in resource.get("meta", {}).items() if key not in ("versionId", "lastUpdated")
        }
        content = {**{key: value for key, value in resource.items() if key != "id"}, "meta": meta}
        return self._digest(canonical(content).decode())

    async def memberships(self, resources: Sequence[Mapping[str, Any]]) -> list[Membership]:
        """Return whose records these resources (with ids) are; Patients among them count by what they say now."""
        patients = [await self._patients(each) for each in resources]
        here = {each["id"]: self._persons.key(each) for each in resources if each["resourceType"] == "Patient"}
        others = {id for found in patients for id in found} - here.keys()
        keys = {**await self._persons.keys(others), **here} if others else here
        return [Membership(found, tuple(keys[id] for id in found)) for found in patients]

    async def store(
        self, drafts: Sequence[Draft], removals: Sequence[Removal] = (), *, at: int
    ) -> tuple[Unit, list[Written], list[Document]]:
        """Return the unit that stores drafts and deletions as of the instant `at`, the versions, and the tombstones.

        at: microseconds since 1970 UTC. To commit the unit fails with Conflict if a resource, or the person of one of
        its Patients, has changed since it was read; made anew it may succeed.
        """
        drafts = [self.labelled(each) for each in drafts]
        await self._collections.ensure(*sorted({*(each.type for each in drafts), *(each.type for each in removals)}))
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
            _put(unit, draft, document)
            self._tell(unit, draft, resource, document)
            unit.filed_under = self._registry.filing
            written.append(Written(draft.type, draft.id, draft.version, at, body, document))
        tombstones = [_remove(unit, each, at) for each in removals if each.old is not None]
        await self._follow(unit, drafts, resources)
        for id, key in _filed(resources, members):
            self._persons.count(id, key, unit)
        return unit, written, tombstones

    def _tell(self, unit: Unit, draft: Draft, resource: Mapping[str, Any], document: Document) -> None:
        """Add to a unit that what is known of Consents, and of who belongs to whom, is out of date by this write."""
        if draft.type == "Patient":
            # Whether somebody may speak for a child rests on it (consent_engine/proxies.py).
            if draft.old and self._shadows.term(born_term(resource)) not in draft.old.get("c", ()):
                count_up_all(unit, draft.type, document, draft.old)
        else:
            count_up_all(unit, draft.type, document, draft.old or {})

    async def _patients(self, resource: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ids of the Patients whose record this is; for a Binary, those of what it belongs to."""
        context = resource.get("securityContext") if resource["resourceType"] == "Binary" else None
        type, _, id = str((context or {}).get("reference", "")).partition("/")
        if type in ("", "Patient") or type not in self._registry.types:
            return self._shadows.patients(resource)
        found = await self._resources.many(type, [id], Ungated("whose record a Binary belongs to"))
        return tuple(found[id].get("pr", ())) if id in found else ()

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
            labels=(*draft.labels, *(draft.old or {}).get("lab", ())),
            extra=extra,
            said=draft.said,
        )
        if draft.type == "Patient":
            shadow["me"] = self._persons.key(resource)
        shadow["d"] = self._registry.filing
        return {**shadow, "by": draft.by} if draft.by else shadow

    def refiled(self, type: str, document: Document, resource: dict[str, Any]) -> Document:
        """Return a current document filed anew: the same version of the same resource, sealed as it is."""
        labels, persons = document.get("lab", ()), document.get("pats", [document.get("pat")])
        draft = Draft(
            resource, document["_id"], document["org"], document["v"], None, document.get("by"), tuple(labels)
        )
        member = Membership(tuple(document.get("pr", ())), tuple(each for each in persons if each is not None))
        kept = {key: document[key] for key in ("k", "h", "body")}
        return {**self._shadow(draft, resource, member, document["at"]), **kept}

    async def _follow(self, unit: Unit, drafts: Sequence[Draft], resources: Sequence[Mapping[str, Any]]) -> None:
        """Add to the unit the person keys of Patients that are new or have changed, and all records that follow them."""
        moved: dict[str, int] = {}
        for draft, resource in zip(drafts, resources, strict=True):
            if draft.type == "Patient":
                key = self._persons.key(resource)
                if await self._persons.link(draft.id, key, unit, again=draft.version > 1):
                    moved[resource["id"]] = key
        if moved:
            await self._move(unit, moved)

    async def _move(self, unit: Unit, keys: Mapping[str, int]) -> None:
        """Add to the unit that all records of these Patients, earlier versions too, go over to other person keys."""
        names = set(await self._database.list_collection_names())
        for type in sorted(self._shadows.personal):
            # What the unit itself replaces or deletes is filed anew already; what it puts into the history is not.
            busy = unit.changed(type)
            for name in {type, history_of(type)} & names:
                for document in await self._database[name].find({"pr": {"$in": list(keys)}}).to_list():
                    if name != type or document["_id"] not in busy:
                        moved = await self._refiled(unit, type, document, keys)
                        # What was filed anew meanwhile must not be put back (fhir_server/reindexing).
                        as_read = {key: document.get(key) for key in ("_id", "v", "d")}
                        unit.replace(name, as_read, moved)
            history = unit.inserts.get(history_of(type), [])
            for place, document in enumerate(history):
                if keys.keys() & set(document.get("pr", ())):
                    history[place] = await self._refiled(unit, type, document, keys)

    async def _refiled(self, unit: Unit, type: str, document: Document, changed: Mapping[str, int]) -> Document:
        """Return a stored document filed, and sealed, under the persons that its Patients are now."""
        keys = {**await self._persons.keys(document["pr"]), **changed}
        persons = tuple(sorted({keys[id] for id in document["pr"]}))
        moved = {**document, "pat": persons[0], "pats": list(persons)}
        if len(persons) == 1:
            del moved["pats"]
        if "body" in document:
            id = str(document.get("id", document["_id"]))
            (body,) = await self._resources.opened(type, [{**document, "_id": id}])
            owner = Owner(persons[0], document["org"])
            made, name = await self._keys.for_writing([owner]), self._keys.name(owner)
            moved |= {"k": name, "body": sealed(made[name], type, id, document["v"], body)}
        if type == "Consent":
            count_up_all(unit, type, document, moved)
        return moved


def _filed(resources: Sequence[Mapping[str, Any]], members: Sequence[Membership]) -> list[tuple[str, int]]:
    """Return the Patients of whom records other than themselves are filed, with the keys these are filed under."""
    found = {
        (id, key)
        for resource, member in zip(resources, members, strict=True)
        for id, key in zip(member.patients, member.keys, strict=True)
        if id != resource["id"]
    }
    return sorted(found)


def _as_read(old: Document) -> Document:
    """Return what finds a document as it was read: of this version, and filed under these persons."""
    return {"_id": old["_id"], "v": old["v"], "pat": old.get("pat"), "pats": old.get("pats")}


def _put(unit: Unit, draft: Draft, document: Document) -> None:
    if draft.old is None:
        unit.insert(draft.type, document)
    else:
        unit.insert(history_of(draft.type), earlier(draft.old))
        unit.replace(draft.type, _as_read(draft.old), document)


def _remove(unit: Unit, removal: Removal, at: int) -> Document:
    """Add a deletion to the unit; return the tombstone, which is judged as what was deleted."""
    old = removal.old or {}
    unit.insert(history_of(removal.type), earlier(old))
    kept: Document = {key: old[key] for key in KEPT if key in old}
    tombstone = {**kept, "_id": old["_id"], "v": old["v"] + 1, "at": at, "deleted": True}
    unit.insert(history_of(removal.type), earlier(tombstone))
    unit.delete(removal.type, _as_read(old))
    count_up_all(unit, removal.type, old)
    return tombstone


def reborn(resource: Mapping[str, Any], id: str, custodian: str, tombstone: Document) -> Draft:
    """Return the draft of a resource that is stored again after it was deleted."""
    return Draft(resource, id, custodian, tombstone["v"] + 1, labels=tuple(tombstone.get("lab", ())))


def earlier(document: Document) -> Document:
    """Return a current document as the history keeps it."""
    kept = {key: value for key, value in document.items() if key not in ("r", "s", "e", "ix", "has", "to", "g")}
    return {**kept, "_id": f"{document['_id']}/{document['v']}", "id": document["_id"]}


def _owner(member: Membership, custodian: str) -> Owner:
    return Owner(member.persons[0] if member.persons else None, custodian)
