"""Persons: which Patients of which institutions are one person.

Every institution's Patient stays its own resource; all Patients of one person share a person key in their shadows, and
so do the records in their compartments. The key is a keyed token of the resident id number when that is valid, else of
the Patient's own id. The link is never in a resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.resident_id import resident_id
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import Unit

PERSONS = "persons"


def person_term(key: int) -> str:
    """Return the plain index term under which all Patients of one person are filed."""
    return f":person|{key}"


class Persons:
    """The person keys of Patients. A collection holds those that differ from the key of the Patient's own id."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], tokens: Tokens) -> None:
        self._collection = database[PERSONS]
        self._tokens = tokens
        self._linked: Coalesced[str, int] = Coalesced(self._fetch)

    def key(self, patient: Mapping[str, Any]) -> int:
        """Return the person key that a Patient resource (with its id) has by its content."""
        number = resident_id(patient)
        return self._tokens(f"resident-id|{number}") if number else self.own_key(patient["id"])

    def own_key(self, id: str) -> int:
        """Return the person key of a Patient of whom nothing but the id is known."""
        return self._tokens(f"patient|{id}")

    async def keys(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the person key of each Patient id, as stored now."""
        wanted = list(ids)
        linked = await self._linked.get_many(wanted)
        return {id: linked.get(id, self.own_key(id)) for id in wanted}

    def link(self, id: str, key: int, unit: Unit) -> None:
        """Add to a unit that a Patient has this person key from now on."""
        unit.touch(PERSONS, {"_id": id}, {"$set": {"key": key}})

    async def _fetch(self, ids: list[str]) -> dict[str, int]:
        documents = await self._collection.find({"_id": {"$in": ids}}).to_list()
        return {each["_id"]: each["key"] for each in documents}
