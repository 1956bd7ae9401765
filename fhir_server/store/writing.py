"""Writing the store: drafts of resources become one unit of documents, with all that must change along with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry
from fhir_server.fhir_json import canonical, dump
from fhir_server.store.bodies import sealed
from fhir_server.store.collections import Collections
from fhir_server.store.commit import Unit
from fhir_server.store.consents import Trust, consent_terms, count_up_all
from fhir_server.store.contexts import Belongings, Contexts, context_of, context_term, unknown_person
from fhir_server.store.drafts import Draft, Removal, Written, put, remove
from fhir_server.store.following import Followed, Following
from fhir_server.store.ids import is_new
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.marks import COVERED, FIELD
from fhir_server.store.mentioned import mentioned
from fhir_server.store.persons import Persons, person_term
from fhir_server.store.received import delivery_of, hold, owner
from fhir_server.store.resources import Document, Resources
from fhir_server.store.shadow import Membership, Shadows, stamped
from fhir_server.store.terms import born_term


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
        self._collections = collections
        self._shadows = shadows
        self._persons = persons
        self._keys = keys
        self._resources = resources
        self._contexts = Contexts(resources, shadows, registry)
        self._following = Following(database, shadows, persons, keys, resources)
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
        return await self._members(resources, await self._contexts.of(resources))

    async def _members(self, resources: Sequence[Mapping[str, Any]], contexts: Belongings) -> list[Membership]:
        patients = [
            contexts[place][1].patients if place in contexts else self._shadows.patients(each)
            for place, each in enumerate(resources)
        ]
        here = {each["id"]: self._persons.key(each) for each in resources if each["resourceType"] == "Patient"}
        others = {id for found in patients for id in found} - here.keys()
        keys = {**await self._persons.keys(others), **here} if others else here
        members = [Membership(found, tuple(keys[id] for id in found)) for found in patients]
        for place, (reference, context) in contexts.items():
            if not context.known:
                members[place] = Membership((), (self._persons.own_key(unknown_person(reference)),))
        return members

    async def store(
        self, drafts: Sequence[Draft], removals: Sequence[Removal] = (), *, at: int
    ) -> tuple[Unit, list[Written], list[Document]]:
        """Return the unit that stores drafts and deletions as of the instant `at`, the versions, and the tombstones.

        at: microseconds since 1970 UTC. To commit the unit fails with Conflict if a resource, or the person of one of
        its Patients, has changed since it was read; made anew it may succeed. Raises ChangedInStore: what is carried over
        from the version before must be as it was stored.
        """
        for draft in drafts:
            self._resources.check(draft.type, [draft.old] if draft.old else ())
        for removal in removals:
            self._resources.check(removal.type, [removal.old] if removal.old else ())
        drafts = [self.labelled(each) for each in drafts]
        await self._collections.ensure(*sorted({*(each.type for each in drafts), *(each.type for each in removals)}))
        resources = [stamped(each.resource, id=each.id, version=each.version, at=at) for each in drafts]
        contexts = await self._contexts.of(resources)
        members = await self._members(resources, contexts)
        owners = [_owner(member, each) for member, each in zip(members, drafts, strict=True)]
        keys = await self._keys.for_writing(owners)
        unit, written = Unit(), []
        for draft, resource, member, owned in zip(drafts, resources, members, owners, strict=True):
            name = self._keys.name(owned)
            body = dump(resource)
            document = {
                **self._shadow(draft, resource, member, at),
                "k": name,
                "h": self.digest(draft.resource),
                "body": sealed(keys[name], draft.type, draft.id, draft.version, body),
            }
            put(unit, draft, document, self._keys.marks)
            self._tell(unit, draft, resource, document)
            unit.filed_under = self._registry.filing
            written.append(Written(draft.type, draft.id, draft.version, at, body, document))
        hold(unit, (each.delivery for each in drafts))
        tombstones = [remove(unit, each, at, self._keys.marks) for each in removals if each.old is not None]
        _label_by(contexts, written)
        for stored in written:  # the documents themselves, which the unit has already
            stored.document[FIELD] = self._keys.marks.of(stored.type, stored.id, stored.document)
        await self._following.patients([each for each in resources if each["resourceType"] == "Patient"], unit)
        await self._following.contexts(unit, _followed(written, members))
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

    def _shadow(self, draft: Draft, resource: dict[str, Any], member: Membership, at: int) -> Document:
        extra: list[str] = []
        if draft.type == "Consent":
            extra = consent_terms(self._trust.read(resource, custodian=draft.custodian, by=draft.by))
        if draft.type == "Patient":
            extra = [person_term(self._persons.key(resource))]
        if context := context_of(resource):
            extra = [context_term(context)]
        shadow = self._shadows.of(
            resource,
            at=at,
            custodian=draft.custodian,
            members=member,
            labels=(*draft.labels, *(draft.old or {}).get("lab", ())) if self._resources.strictest_label else (),
            extra=extra,
            said=draft.said,
        )
        if draft.type == "Patient":
            shadow["me"] = self._persons.key(resource)
        shadow["d"] = self._registry.filing
        if draft.delivery:
            shadow["dl"] = draft.delivery
        return {**shadow, "by": draft.by} if draft.by else shadow

    def refiled(self, type: str, document: Document, resource: dict[str, Any]) -> Document:
        """Return a current document filed anew: the same version of the same resource, sealed as it is, and marked."""
        labels, persons = document.get("lab", ()), document.get("pats", [document.get("pat")])
        draft = Draft(
            resource, document["_id"], document["org"], document["v"], None, document.get("by"), tuple(labels)
        )
        member = Membership(tuple(document.get("pr", ())), tuple(each for each in persons if each is not None))
        kept: Document = {key: document[key] for key in ("k", "h", "body", "dl") if key in document}
        return self._keys.marks.marked(type, {**self._shadow(draft, resource, member, document["at"]), **kept})

    def person_row(self, id: str, patient: Mapping[str, Any] | None) -> Document:
        """Return the row, marked, of a Patient under whose person records are filed. patient: None if it is not known."""
        return self._persons.row(id, self._persons.key(patient) if patient else self._persons.own_key(id))

    async def adopted(self, type: str, document: Document, resource: dict[str, Any], *, id: str) -> Document | None:
        """Return a document that an earlier version stored without a mark, with all that decides by its body, and marked.

        None if it is not as it was stored: its key is another than that of whom the body, and of who keeps it. by, which
        says that a patient wrote a Consent, is believed. id: the logical one. Raises ChangedInStore.
        """
        (member,) = await self.memberships([resource])
        draft = Draft(
            resource,
            id,
            document["org"],
            document["v"],
            by=document.get("by"),
            labels=tuple(document.get("lab", ())),
            came_with=delivery_of(document),
        )
        if self._keys.name(_owner(member, draft)) != document["k"]:
            return None
        shadow = self._shadow(draft, resource, member, document["at"])
        rest = {name: value for name, value in document.items() if name not in COVERED}
        said = {name: shadow[name] for name in COVERED if name in shadow}
        return self._keys.marks.marked(type, {**rest, **said}, id=id, earlier="id" in document)


def _filed(resources: Sequence[Mapping[str, Any]], members: Sequence[Membership]) -> list[tuple[str, int]]:
    """Return the Patients of whom records other than themselves are filed, with the keys these are filed under."""
    found = {
        (id, key)
        for resource, member in zip(resources, members, strict=True)
        for id, key in zip(member.patients, member.keys, strict=False)  # of an unknown Patient there is only a key
        if id != resource["id"]
    }
    return sorted(found)


def _followed(written: Sequence[Written], members: Sequence[Membership]) -> list[Followed]:
    """Return what Binaries may belong to of what is written: not what has just got an id, which nothing names yet."""
    return [
        Followed(f"{each.type}/{each.id}", member, tuple(each.document.get("lab", ())))
        for each, member in zip(written, members, strict=True)
        if each.type != "Binary" and not is_new(each.id, each.version)
    ]


def _label_by(contexts: Belongings, written: Sequence[Written]) -> None:
    """Give the Binaries that are stored the labels of what they belong to."""
    beside = {f"{each.type}/{each.id}": each.document for each in written}
    for place, (reference, context) in contexts.items():
        document = written[place].document
        of = beside[reference].get("lab", ()) if reference in beside else context.labels
        if labels := sorted({*document.get("lab", ()), *of}):
            document["lab"] = labels


def _owner(member: Membership, draft: Draft) -> Owner:
    return owner(member.persons[0] if member.persons else None, draft.custodian, draft.delivery)
