"""Labelling what was stored before: by whose labels a resource is judged, without a new version of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pymongo import UpdateMany, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from fhir_server.fhir_json import parse
from fhir_server.store.collections import history_of
from fhir_server.store.keys import Unreadable

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Document = dict[str, Any]
Update = UpdateOne | UpdateMany
BATCH = 50


async def relabel_earlier(database: AsyncDatabase[Document], use: Services, type: str) -> None:
    """File the labels of all earlier versions of a type, with those versions and with what they have become.

    A resource is judged by every label that it ever carried (consent.md, D21): the newest version, or the tombstone,
    carries them all. The current versions are left to be filed anew (reindexing/refiling.py). Nobody may write meanwhile.
    """
    safe = WriteConcern("majority")
    earlier = database.get_collection(history_of(type), write_concern=safe)
    current = database.get_collection(type, write_concern=safe)
    after = ""
    while found := await earlier.find(_behind(after)).sort("_id", 1).limit(BATCH).to_list():
        lived: defaultdict[str, set[int]] = defaultdict(set)
        updates: list[Update] = []
        for each in found:
            if new := await _labels(use, type, each) - set(each.get("lab", ())):
                updates.append(UpdateOne({"_id": each["_id"]}, _added(new)))
                lived[each["id"]] |= new
        if updates:
            graves = [UpdateMany({"id": id, "deleted": True}, _added(new)) for id, new in lived.items()]
            # The newest first: what is broken off begins again where an earlier version has not its labels yet.
            await current.bulk_write([UpdateOne({"_id": id}, _added(new)) for id, new in lived.items()], ordered=False)
            await earlier.bulk_write([*graves, *updates], ordered=True)
        after = found[-1]["_id"]


async def _labels(use: Services, type: str, document: Document) -> set[int]:
    await asyncio.sleep(0)
    try:
        (body,) = await use.resources.opened(type, [{**document, "_id": document["id"]}])
    except Unreadable:  # its key was destroyed: nobody reads it any more
        return set()
    return use.writer.labels(parse(body))


def _behind(after: str) -> Document:
    return {"_id": {"$gt": after}, "deleted": {"$ne": True}}


def _added(labels: Iterable[int]) -> Document:
    return {"$addToSet": {"lab": {"$each": sorted(labels)}}}
