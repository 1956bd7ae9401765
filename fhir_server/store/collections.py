"""The collections and their indexes: one for the current resources of each type, one for their earlier versions."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

# Equality parameters of every kind share two multikey indexes; there is no index for a single search parameter. The
# last one serves those records, few, that belong to several persons.
CURRENT = (
    IndexModel([("ix", ASCENDING), ("_id", ASCENDING)], name="term"),
    IndexModel([("pat", ASCENDING), ("ix", ASCENDING)], name="person_term"),
    IndexModel([("org", ASCENDING), ("pat", ASCENDING), ("_id", ASCENDING)], name="custodian"),
    IndexModel([("at", ASCENDING), ("_id", ASCENDING)], name="updated"),
    IndexModel([("s.date", ASCENDING), ("_id", ASCENDING)], name="date", sparse=True),
    IndexModel([("pr", ASCENDING)], name="patient", sparse=True),
    IndexModel([("pats", ASCENDING)], name="several_persons", sparse=True),
)
EARLIER = (
    IndexModel([("id", ASCENDING), ("v", ASCENDING)], name="version", unique=True),
    IndexModel([("pr", ASCENDING)], name="patient", sparse=True),
)


def history_of(type: str) -> str:
    """Return the name of the collection of a type's earlier versions and tombstones."""
    return f"{type}_history"


class Collections:
    """Makes each collection, with its indexes, before the first write to it."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._database = database
        self._ready: set[str] = set()

    async def ensure(self, *types: str) -> None:
        """Make the collections of these types unless they are there."""
        for type in types:
            if type not in self._ready:
                await self._database[type].create_indexes(list(CURRENT))
                await self._database[history_of(type)].create_indexes(list(EARLIER))
                self._ready.add(type)
