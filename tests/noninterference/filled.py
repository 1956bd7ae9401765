"""A store that is filled as its world came about, or with some of its versions alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pymongo import MongoClient, UpdateOne

from fhir_server.app import Parts, assemble
from fhir_server.crypto.keyring import Keyring
from fhir_server.errors import Conflict
from fhir_server.settings import Settings
from fhir_server.store.consents import BUCKETS, BY_PATIENT, EPOCHS
from fhir_server.store.drafts import Draft, Removal, earlier
from fhir_server.store.numbers import MEMBERSHIPS
from fhir_server.store.resources import Ungated
from tests.live import Clock
from tests.noninterference.oracle import NOW
from tests.noninterference.world import Step, World
from tests.noninterference.written import Version, instant_of

TYPES = (
    "Patient Observation Condition Encounter MedicationRequest Appointment Consent RelatedPerson Device Organization"
    " Practitioner List Composition Group CareTeam PractitionerRole"
).split()
EVERYTHING = Ungated("the test's own reading")


def _name_if_filled(collection: str) -> list[dict[str, Any]]:
    """Return the stages that give one document with the collection's name, none where the collection is empty."""
    return [{"$limit": 1}, {"$project": {"_id": 0, "name": {"$literal": collection}}}]


class Store:
    """One database: written as another worker process would, emptied between examples."""

    def __init__(self, uri: str, settings: Settings, keyring: Keyring) -> None:
        self._runner = asyncio.Runner()
        self.parts: Parts = assemble(settings, keyring, uri=uri, clock=Clock(NOW))
        self.client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True)
        self.database = self.client[settings.database]
        self._emptied = True
        self.run(self.parts.ready())

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self.parts.client.close())
        self._runner.close()
        self.client.drop_database(self.database.name)
        self.client.close()

    def empty(self) -> None:
        """Delete what an earlier example left. Keys stay: servers hold them opened; epochs count up: nothing is fresh."""
        for name in self._filled():
            self.database[name].delete_many({})
        self.database[EPOCHS].bulk_write(
            [UpdateOne({"_id": bucket}, {"$inc": {"n": 1}}, upsert=True) for bucket in (*range(BUCKETS), MEMBERSHIPS)]
        )
        self._emptied = True

    def _filled(self) -> list[str]:
        """Return the names of the collections to be emptied that hold anything, by one command for all of them."""
        names = [name for type in (*TYPES, "Communication", "AuditEvent") for name in (type, f"{type}_history")]
        unions = [{"$unionWith": {"coll": name, "pipeline": _name_if_filled(name)}} for name in (*names[1:], "persons")]
        return [each["name"] for each in self.database[names[0]].aggregate([*_name_if_filled(names[0]), *unions])]

    def write(self, world: World) -> None:
        """Store a world as it came about. In a store just emptied, only what this world wrote is looked for again."""
        there: set[tuple[str, str]] | None = set() if self._emptied else None
        self._emptied = False

        async def all_of_it() -> None:
            for number, group in enumerate(world.groups):
                try:
                    await self._group(group, instant_of(number), there)
                except Conflict:  # what one step changes by moving a person's records, another of the group changes too
                    for step in group:
                        await self._group([step], instant_of(number), there)

        self.run(all_of_it())

    async def _group(self, group: Sequence[Step], at: int, there: set[tuple[str, str]] | None) -> None:
        """Store some steps together. there: the resources that are stored already; None if that is to be looked for."""
        services = self.parts.services
        drafts, removals = [], []
        for step in group:
            known = there is None or (step.type, step.id) in there
            versions = await services.resources.versions(step.type, step.id, EVERYTHING) if known else []
            last = versions[0] if versions else None
            if step.resource is None:
                assert last
                removals.append(Removal(step.type, step.id, await self._whole(step)))
                continue
            drafts.append(
                Draft(
                    step.resource,
                    step.id,
                    step.organization,
                    version=last["v"] + 1 if last else 1,
                    old=None if last is None or last.get("deleted") else await self._whole(step),
                    by=BY_PATIENT if step.by_patient else None,
                    labels=tuple(last.get("lab", ())) if last and last.get("deleted") else (),
                )
            )
        unit, *_ = await services.writer.store(drafts, removals, at=at)
        await services.committer.commit(unit)
        if there is not None:
            there.update((step.type, step.id) for step in group)

    async def _whole(self, step: Step) -> dict[str, Any]:
        found = await self.parts.services.resources.read(step.type, step.id, EVERYTHING)
        assert found
        return found

    def hold(self, versions: Iterable[tuple[Version, bool]]) -> None:
        """Store exactly these versions, each as current or as an earlier one; nothing of the others is known here."""
        self._emptied = False
        held = list(versions)
        self._link(version for version, _ in held)
        # Patients by themselves: what one of their earlier versions says is not how their records are filed.
        for patients, at in sorted({(version.type == "Patient", version.at) for version, _ in held}):
            self._hold([each for each in held if (each[0].type == "Patient", each[0].at) == (patients, at)], at)

    def _link(self, versions: Iterable[Version]) -> None:
        """File which of these Patients are one person, by what their last versions here say."""
        said = {each.id: each for each in sorted(versions, key=lambda each: each.number) if each.type == "Patient"}
        persons = self.parts.services.gatekeeper.persons
        for id, each in said.items():
            if (key := persons.key({**each.content, "id": id})) != persons.own_key(id):
                self.database["persons"].insert_one(persons.row(id, key))

    def _hold(self, held: Sequence[tuple[Version, bool]], at: int) -> None:
        written = [each for each in held if each[0].resource is not None]
        drafts = [
            Draft(version.resource or {}, version.id, version.organization, version.number) for version, _ in written
        ]
        _, stored, _ = self.run(self.parts.services.writer.store(drafts, at=at))
        for (version, current), each in zip(written, stored, strict=True):
            if current:
                self.database[version.type].insert_one(each.document)
            else:
                self.database[f"{version.type}_history"].insert_one(self._earlier(version, each.document))
        for version, _ in held:
            if version.resource is None:
                tombstone = {"_id": version.id, "v": version.number, "at": at, "org": version.organization}
                said = {**tombstone, "w": {"lo": at, "hi": at}, "ix": [], "deleted": True}
                self.database[f"{version.type}_history"].insert_one(self._earlier(version, said))

    def _earlier(self, version: Version, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document as the history keeps it."""
        marks = self.parts.services.resources.marks
        return marks.marked(version.type, earlier(document), id=version.id, earlier=True)
