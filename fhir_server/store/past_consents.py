"""The store as it stood at an instant, as far as decisions are made anew: records, and the Consents of persons.

Nothing is thrown away: whatever was replaced or deleted is in the history, with all that a decision looks at. What was
purged is not: its key was destroyed. Internal reading; what is told of it is the caller's to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from consent_engine.consent import Consent, rests_on
from fhir_server.fhir_json import parse
from fhir_server.store.collections import history_of
from fhir_server.store.consents import ByPerson, Trust
from fhir_server.store.keys import Unreadable
from fhir_server.store.marks import Earlier
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import WITHOUT_RANGES, Document, Resources

Json = Mapping[str, Any]
NOTHING: Mapping[str, Json] = {}
# Whether a document of a type counts as known to whoever is told of a reading.
Known = Callable[[str, Document], bool]


@dataclass(frozen=True, slots=True)
class Found:
    """The Consents of some persons at an instant, whatever their status.

    custodians: by id of a Consent, the institution that stored it. purged: references of those that cannot be read.
    """

    by_person: ByPerson
    custodians: Mapping[str, str]
    purged: tuple[str, ...]


class Past:
    """Reads what was current at an instant. All instants are in microseconds since 1970 UTC."""

    def __init__(self, database: AsyncDatabase[Document], resources: Resources, trust: Trust) -> None:
        self._database = database
        self._resources = resources
        self._trust = trust

    async def current(self, type: str, ids: Iterable[str], at: int) -> dict[str, Document]:
        """Return, by id, the version of each resource that was current at an instant; not those that were deleted.

        Raises ChangedInStore, as the other ways to find something here do.
        """
        wanted = list(ids)
        newest = await self._newest(type, {"_id": {"$in": wanted}}, {"id": {"$in": wanted}}, at)
        self._resources.check(type, newest.values())
        return {id: each for id, each in newest.items() if not each.get("deleted")}

    async def version(self, type: str, id: str, version: int) -> Document | None:
        """Return a version of a resource, judged by the labels that the resource had by then."""
        found = await self._database[type].find_one({"_id": id, "v": version}, WITHOUT_RANGES)
        if found is None:
            earlier = await self._database[history_of(type)].find_one({"id": id, "v": version})
            found = Earlier({**earlier, "_id": id}) if earlier else None
        self._resources.check(type, [found] if found else ())
        return found

    async def newest(self, type: str, id: str, at: int) -> Document | None:
        """Return the last version, or deletion, of a resource that was stored by an instant."""
        found = await self._newest(type, {"_id": id}, {"id": id}, at)
        self._resources.check(type, found.values())
        return found.get(id)

    async def consents(self, persons: Iterable[Hashable], at: int) -> Found:
        """Return the Consents that these persons had at an instant."""
        wanted = list(persons)
        theirs = {"$or": [{"pat": {"$in": wanted}}, {"pats": {"$in": wanted}}]}
        # A version that was theirs may have been followed by one that is another person's.
        ever = await self._newest("Consent", theirs, theirs, at)
        found = await self.current("Consent", ever, at)
        documents = [each for each in found.values() if not persons_of(each).isdisjoint(wanted)]
        bodies = await asyncio.gather(*(self._body("Consent", each) for each in documents))
        read = [(each, body) for each, body in zip(documents, bodies, strict=True) if body is not None]
        facts = await self._facts([body for _, body in read], at)
        by_person: dict[Hashable, list[Consent]] = {person: [] for person in wanted}
        for document, body in read:
            consent = self._read(document, body, facts)
            for person in persons_of(document) & by_person.keys():
                by_person[person].append(consent)
        unread = [each for each, body in zip(documents, bodies, strict=True) if body is None]
        return Found(
            {person: tuple(found) for person, found in by_person.items()},
            {each["_id"]: each["org"] for each in documents},
            tuple(sorted(f"Consent/{each['_id']}/_history/{each['v']}" for each in unread)),
        )

    async def read(
        self, documents: Sequence[Document], at: int, known: Known, beside: Mapping[str, Json] = NOTHING
    ) -> list[Consent | None]:
        """Return Consents as the engine reads them by what was known at an instant; None for what was purged.

        known: of what they rest on, all else is read as if it had never been written. beside: by "Type/id", what is
        being stored together with them.
        """
        bodies = [await self._body("Consent", each) for each in documents]
        facts = {**await self._facts([each for each in bodies if each is not None], at, known), **beside}
        pairs = zip(documents, bodies, strict=True)
        return [None if body is None else self._read(document, body, facts) for document, body in pairs]

    def _read(self, document: Document, body: Json, facts: Mapping[str, Json]) -> Consent:
        return self._trust.read(body, custodian=document["org"], by=document.get("by"), facts=facts)

    async def _facts(self, bodies: Sequence[Json], at: int, known: Known = lambda *_: True) -> dict[str, Json]:
        """Return what the reading of Consents rests on, as it was, as far as it is known."""
        by_type: dict[str, set[str]] = {}
        for type, _, id in (each.partition("/") for body in bodies for each in rests_on(body)):
            by_type.setdefault(type, set()).add(id)
        facts: dict[str, Json] = {}
        for type, ids in by_type.items():
            for id, document in (await self.current(type, ids, at)).items():
                if known(type, document) and (body := await self._body(type, document)) is not None:
                    facts[f"{type}/{id}"] = body
        return facts

    async def _newest(self, type: str, now: Document, then: Document, at: int) -> dict[str, Document]:
        """Return, by id, the last of the documents that two filters find, now current and earlier, by an instant."""
        # The current ones first: what becomes an earlier version meanwhile is then found twice, never missed.
        found = await self._database[type].find(now, WITHOUT_RANGES).to_list()
        earlier = await self._database[history_of(type)].find(then).to_list()
        found += [Earlier({**each, "_id": each["id"]}) for each in earlier]
        newest: dict[str, Document] = {}
        for each in found:
            known = newest.get(each["_id"])
            if each["at"] <= at and (known is None or known["v"] < each["v"]):
                newest[each["_id"]] = each
        return newest

    async def _body(self, type: str, document: Document) -> Json | None:
        try:
            (body,) = await self._resources.opened(type, [document])
        except Unreadable:
            return None
        resource: Json = parse(body)
        return resource
