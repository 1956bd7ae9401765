"""Persons: which Patients of which institutions are one person.

Every institution's Patient stays its own resource; all Patients of one person share a person key in their shadows, and
so do the records in their compartments. The key is a keyed token of the resident id number when that is valid, else of
the Patient's own id. The link is never in a resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.resident_id import resident_id
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import Unit
from fhir_server.store.marks import FIELD as MARK
from fhir_server.store.marks import LOG, ChangedInStore

PERSONS = "persons"


class Row(NamedTuple):
    """What is known of a Patient's records: the person key that they are filed under, and how often any were written.

    genuine: the server said so, and nobody else.
    """

    key: int
    written: int
    genuine: bool


def person_term(key: int) -> str:
    """Return the plain index term under which all Patients of one person are filed."""
    return f":person|{key}"


class Persons:
    """The person keys of Patients.

    A collection has a row for each Patient of whom there are records, or whose key is not that of their own id: the key
    under which the records are filed, and how often any were written. Whoever files a record counts the row up under
    the key that they filed it by; whoever changes the key changes the row as they read it. So of a record that comes
    and a key that changes at the same time, one has to begin again, and no record stays behind under an old key.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], tokens: Tokens) -> None:
        self._collection = database[PERSONS]
        self._tokens = tokens
        self._marks = tokens.of("person row")
        self._rows: Coalesced[str, Row] = Coalesced(self._fetch)

    def key(self, patient: Mapping[str, Any]) -> int:
        """Return the person key that a Patient resource (with its id) has by its content."""
        number = resident_id(patient)
        return self._tokens(f"resident-id|{number}") if number else self.own_key(patient["id"])

    def own_key(self, id: str) -> int:
        """Return the person key of a Patient of whom nothing but the id is known."""
        return self._tokens(f"patient|{id}")

    async def keys(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the person key of each Patient id, as stored now. Raises ChangedInStore."""
        wanted = list(ids)
        rows = await self._rows.get_many(wanted)
        _check(rows.values())
        return {id: rows[id].key if id in rows else self.own_key(id) for id in wanted}

    def count(self, id: str, key: int, unit: Unit) -> None:
        """Add to a unit that a record of this Patient is filed under this key: it fails if the key is another by then."""
        unit.touch(PERSONS, {"_id": id, "key": key}, {"$inc": {"n": 1}, "$set": {MARK: self._mark(id, key)}})

    async def link(self, id: str, key: int, unit: Unit, *, again: bool) -> bool:
        """Add to a unit that a Patient has this person key from now on.

        again: the Patient itself was stored before. Return whether anything may be filed under another key, and has to
        follow.
        """
        row = (await self._rows.get_many([id])).get(id)
        _check([row] if row else [])
        if (row.key if row else self.own_key(id)) == key:
            return False
        if row is None:
            unit.insert(PERSONS, {**self.row(id, key), "n": 0})
            return again
        unit.replace(PERSONS, {"_id": id, "n": row.written}, {**self.row(id, key), "n": row.written + 1})
        return True

    def row(self, id: str, key: int) -> dict[str, Any]:
        """Return what a row says, with its mark."""
        return {"_id": id, "key": key, MARK: self._mark(id, key)}

    def genuine(self, row: Mapping[str, Any]) -> bool:
        """Return whether the server stored what a row says."""
        return bool(row.get(MARK) == self._mark(row["_id"], row["key"]))

    def _mark(self, id: str, key: int) -> int:
        """Return what a row is known by to be the server's: HMAC-SM3 over what it says, cut to 64 bits."""
        return self._marks(f"{key}|{id}")

    async def _fetch(self, ids: list[str]) -> dict[str, Row]:
        documents = await self._collection.find({"_id": {"$in": ids}}).to_list()
        return {each["_id"]: Row(each["key"], each.get("n", 0), self.genuine(each)) for each in documents}


def _check(rows: Iterable[Row]) -> None:
    if not all(each.genuine for each in rows):
        LOG.error("whose records a Patient's are was changed behind the server's back. See: fhir-facade check")
        raise ChangedInStore("Whose record this is was changed in the store.")
