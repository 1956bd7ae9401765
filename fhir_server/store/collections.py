"""The collections and their indexes: one for the current resources of each type, one for their earlier versions."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.definitions.registry import Registry
from fhir_server.search.ranges import bounded
from fhir_server.store.shadow import personal_types

Indexes = tuple[IndexModel, ...]

# Equality parameters of every kind share multikey indexes; there is no index for a single search parameter.
TERM = IndexModel([("ix", ASCENDING), ("_id", ASCENDING)], name="term")
UPDATED = IndexModel([("at", ASCENDING), ("_id", ASCENDING)], name="updated")
CUSTODIAN = IndexModel([("org", ASCENDING), ("pat", ASCENDING), ("_id", ASCENDING)], name="custodian")
# Within one person's records; a Patient is found by its own terms, and only few records are of several persons.
PERSON_TERM = IndexModel([("pat", ASCENDING), ("ix", ASCENDING)], name="person_term")
PATIENT = IndexModel([("pr", ASCENDING)], name="patient", sparse=True)
SEVERAL = IndexModel([("pats", ASCENDING)], name="several_persons", sparse=True)

# The events of one writer in the order of its chain (audit/links.py).
CHAIN = IndexModel([("chain.by", ASCENDING), ("chain.n", ASCENDING)], name="chain", sparse=True)

LOG: Indexes = (TERM, UPDATED, CHAIN)
OF_NOBODY: Indexes = (TERM, UPDATED, CUSTODIAN)
OF_PERSONS: Indexes = (*OF_NOBODY, PERSON_TERM, PATIENT, SEVERAL)
PATIENTS: Indexes = (*OF_NOBODY, PATIENT, SEVERAL)
# Earlier versions are listed newest first: all, an institution's, a person's.
EARLIER: Indexes = (
    IndexModel([("id", ASCENDING), ("v", ASCENDING)], name="version", unique=True),
    IndexModel([("at", ASCENDING), ("id", ASCENDING), ("v", ASCENDING)], name="updated"),
    IndexModel([("org", ASCENDING), ("at", ASCENDING)], name="custodian_updated"),
)
EARLIER_OF_PERSONS: Indexes = (
    *EARLIER,
    IndexModel([("pat", ASCENDING), ("at", ASCENDING)], name="person"),
    PATIENT,
    SEVERAL,
)


def ordered_by(param: str) -> Indexes:
    """Return the indexes of a date parameter by which people search alone (search/ranges.py).

    In the first, what has no value stands first. The second holds only what the first cannot bound: few.
    """
    extent = f"e.{param}"
    long = IndexModel(
        [(f"{extent}.hi", ASCENDING), (f"{extent}.lo", ASCENDING)],
        name=f"{param}_extent",
        partialFilterExpression={f"{extent}.hi": {"$exists": True}},
    )
    return IndexModel([(f"s.{param}", ASCENDING), ("_id", ASCENDING)], name=param), long


def history_of(type: str) -> str:
    """Return the name of the collection of a type's earlier versions and tombstones."""
    return f"{type}_history"


class Collections:
    """Makes each collection, with its indexes, before the first write to it."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], registry: Registry) -> None:
        self._database = database
        self._indexes = dict.fromkeys(personal_types(registry), OF_PERSONS)
        self._indexes |= {"Patient": PATIENTS, "AuditEvent": LOG}
        self._ordered = {type: sorted(bounded(type) & registry.parameters(type).keys()) for type in registry.types}
        self._earlier = dict.fromkeys(personal_types(registry), EARLIER_OF_PERSONS)
        self._ready: set[str] = set()

    async def ensure(self, *types: str) -> None:
        """Make the collections of these types unless they are there."""
        for type in types:
            if type not in self._ready:
                ordered = (index for param in self._ordered.get(type, ()) for index in ordered_by(param))
                await self._database[type].create_indexes([*self._indexes.get(type, OF_NOBODY), *ordered])
                await self._database[history_of(type)].create_indexes(list(self._earlier.get(type, EARLIER)))
                self._ready.add(type)
