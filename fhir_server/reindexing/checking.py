"""Looking through all stored documents for what was changed, or removed, behind the server's back.

A changed document is found by its mark (store/marks.py). One that was removed leaves none: it is found where other versions
of it are left. What decides who sees records, and is itself looked up by its index terms, must be found by what it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.sealing import Unsealable
from fhir_server.fhir_json import parse
from fhir_server.store.collections import history_of
from fhir_server.store.consents import MEMBERSHIP_TYPES
from fhir_server.store.keys import Unreadable
from fhir_server.store.marks import COVERED, FIELD
from fhir_server.store.persons import PERSONS

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Found = Callable[[str], None]
SHOWN = {"id": 1, "v": 1, FIELD: 1, **dict.fromkeys(COVERED, 1)}
CHANGED = "was changed behind the server's back"
REMOVED = "was removed behind the server's back"
HIDDEN = "is not found by what it says"
BY_TERMS = MEMBERSHIP_TYPES | {"Consent"}


async def check(database: Database, use: Services, found: Found) -> int:
    """Return how many documents were looked at; nobody should write meanwhile. found: told of each fault, in a line."""
    count = await _persons(database, use, found)
    there = set(await database.list_collection_names())
    for type in sorted(use.definitions.standard.types & there):
        for name in (type, history_of(type)):
            count += await _marks(database, use, type, name, found)
        if type in BY_TERMS:
            await _terms(database, use, type, found)
        await _removed(database, type, found)
    return count


async def _marks(database: Database, use: Services, type: str, name: str, found: Found) -> int:
    count = 0
    async for each in _each(database, name, SHOWN):
        count += 1
        earlier = name != type
        id = str(each.get("id") if earlier else each["_id"])
        if not use.resources.marks.fits(type, each, id=id, earlier=earlier):
            found(f"{type}/{id}/_history/{each.get('v')} {CHANGED}")
    return count


async def _persons(database: Database, use: Services, found: Found) -> int:
    count = 0
    async for each in _each(database, PERSONS, None):
        count += 1
        if not use.gatekeeper.persons.genuine(each):
            found(f"the person of Patient/{each['_id']} {CHANGED}")
    return count


async def _terms(database: Database, use: Services, type: str, found: Found) -> None:
    """Look whether what decides for others is found by its terms; what is to be filed anew first is left out."""
    async for each in _each(database, type, None):
        try:
            (body,) = await use.resources.opened(type, [each])
        except (Unsealable, Unreadable):
            continue
        if each.get("d") == use.registry.filing and use.writer.refiled(type, each, parse(body))["ix"] != each.get("ix"):
            found(f"{type}/{each['_id']} {HIDDEN}")


async def _removed(database: Database, type: str, found: Found) -> None:
    """Look whether of each resource the current version follows the last earlier one, and the other way round."""
    last: Document = {"_id": "$id", "v": {"$last": "$v"}, "deleted": {"$last": "$deleted"}}
    steps: list[Document] = [{"$sort": {"id": 1, "v": 1}}, {"$group": last}]
    async for each in await database[history_of(type)].aggregate(steps, allowDiskUse=True):
        current = await database[type].find_one({"_id": each["_id"]}, {"v": 1})
        if (current is None and not each.get("deleted")) or (current is not None and current["v"] != each["v"] + 1):
            found(f"{type}/{each['_id']}/_history/{each['v'] + 1} {REMOVED}")
    async for each in database[type].find({"v": {"$gt": 1}}, {"v": 1}):
        if await database[history_of(type)].find_one({"id": each["_id"]}, {"_id": 1}) is None:
            found(f"{type}/{each['_id']}/_history/{each['v'] - 1} {REMOVED}")


async def _each(database: Database, name: str, shown: Document | None) -> AsyncIterator[Document]:
    async with database[name].find({}, shown, batch_size=500) as cursor:
        async for each in cursor:
            yield each
            await asyncio.sleep(0)
