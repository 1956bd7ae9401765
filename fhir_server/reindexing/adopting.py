"""Marking what an earlier version of this program stored without marks (store/marks.py): once, by what the bodies say.

A body is authentic: it opens under its key alone, for its type, id and version. So is the key's name, which is made of the
person and of the institution, or the delivery: a document that names others than its key is left without a mark, and
refused from then on. What the body says is filed anew. Nobody may write meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from pymongo import ReplaceOne, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from fhir_server.crypto.sealing import Unsealable
from fhir_server.fhir_json import parse
from fhir_server.store.collections import history_of
from fhir_server.store.drafts import KEPT
from fhir_server.store.keys import Unreadable
from fhir_server.store.marks import FIELD
from fhir_server.store.persons import PERSONS

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Refused = Callable[[str], None]
BATCH = 200
SAFE = WriteConcern("majority")
WITHOUT = {FIELD: None}
LOG, LAST = "AuditEvent", "Binary"  # whose a Binary is, is told by what it belongs to, which is marked before


async def adopt(database: Database, use: Services, refused: Refused) -> None:
    """Mark all documents that have no mark. refused: told of each that is left without one, by type, id and version."""
    await _persons(database, use, refused)
    there = use.definitions.standard.types & set(await database.list_collection_names())
    for type in sorted(there, key=lambda each: (each == LAST, each)):
        for name in (history_of(type), type):
            await _bodies(database, use, type, name, refused)
        await _tombstones(database, use, type, refused)
    await use.emergencies.adopt()
    await use.consenting.rows.adopt()
    await use.deliveries.adopt()


async def _bodies(database: Database, use: Services, type: str, name: str, refused: Refused) -> None:
    collection = database.get_collection(name, write_concern=SAFE)
    async for batch in _batches(database, name, {**WITHOUT, "deleted": {"$ne": True}}):
        made = [(each, await _adopted(use, type, each)) for each in batch]
        for each, new in made:
            if new is None:
                refused(_named(type, each))
        if found := [ReplaceOne({"_id": each["_id"]}, new) for each, new in made if new is not None]:
            await collection.bulk_write(found, ordered=False)


async def _adopted(use: Services, type: str, document: Document) -> Document | None:
    """Return a document with its mark; None if it is not as it was stored."""
    id = str(document.get("id", document["_id"]))
    if type == LOG:  # whose auditors see it is bound by the log's own chain
        return use.resources.marks.marked(type, document)
    try:
        (body,) = await use.resources.unsealed(type, [{**document, "_id": id}])
        return await use.writer.adopted(type, document, parse(body), id=id)
    except Unreadable:  # its key was destroyed: nobody reads it any more
        return use.resources.marks.marked(type, document, id=id, earlier="id" in document)
    except Unsealable:
        return None


async def _tombstones(database: Database, use: Services, type: str, refused: Refused) -> None:
    """Mark the tombstones of a type: by the versions that they stand behind, where there are such."""
    history = database.get_collection(history_of(type), write_concern=SAFE)
    async for batch in _batches(database, history_of(type), {**WITHOUT, "deleted": True}):
        for each in batch:
            before = await history.find_one({"id": each["id"], "v": each["v"] - 1})
            if before is not None and not use.resources.marks.fits(type, before, id=each["id"], earlier=True):
                refused(_named(type, each))
                continue
            kept = {name: before[name] for name in KEPT if name in before} if before and "purged" not in each else {}
            labels = {*each.get("lab", ()), *kept.get("lab", ())}
            said = {**each, **kept, **({"lab": sorted(labels)} if labels else {})}
            marked = use.resources.marks.marked(type, said, id=each["id"], earlier=True)
            await history.replace_one({"_id": each["_id"]}, marked)


async def _persons(database: Database, use: Services, refused: Refused) -> None:
    """Mark the rows that say under which person a Patient's records are filed, where the Patient says the same."""
    rows = database.get_collection(PERSONS, write_concern=SAFE)
    async for batch in _batches(database, PERSONS, WITHOUT):
        for each in batch:
            found = await _patient(database, each["_id"])
            try:
                (body,) = await use.resources.unsealed("Patient", [found]) if found else (None,)
            except (Unreadable, Unsealable):
                body = None
            marked = use.writer.person_row(each["_id"], None if body is None else parse(body))
            if marked["key"] == each["key"]:
                await rows.bulk_write([UpdateOne({"_id": each["_id"]}, {"$set": marked})])
            else:
                refused(f"the person of Patient/{each['_id']}")


async def _patient(database: Database, id: str) -> Document | None:
    """Return a Patient as it is, or was last."""
    found = await database["Patient"].find_one({"_id": id})
    if found is None:
        asked = {"id": id, "body": {"$exists": True}}
        found = await database[history_of("Patient")].find_one(asked, sort=[("v", -1)])
    return {**found, "_id": id} if found else None


async def _batches(database: Database, name: str, filter: Document) -> AsyncIterator[list[Document]]:
    after: Document = {}
    while found := await database[name].find({**filter, **after}).sort("_id", 1).limit(BATCH).to_list():
        yield found
        after = {"_id": {"$gt": found[-1]["_id"]}}
        await asyncio.sleep(0)


def _named(type: str, document: Document) -> str:
    return f"{type}/{document.get('id', document['_id'])}/_history/{document['v']}"
