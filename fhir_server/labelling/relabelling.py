"""Labelling what was stored before: by whose labels a resource is judged, without a new version of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from fhir_server.crypto.sealing import Unsealable
from fhir_server.fhir_json import parse
from fhir_server.store.collections import history_of
from fhir_server.store.keys import Unreadable
from fhir_server.store.marks import FIELD, Earlier

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Document = dict[str, Any]
BATCH = 50


async def relabel_earlier(
    database: AsyncDatabase[Document], use: Services, type: str, refused: Callable[[str], None] = lambda name: None
) -> None:
    """File the labels of all earlier versions of a type, with those versions and with what they have become.

    A resource is judged by every label that it ever carried (consent.md, D21): the newest version, or the tombstone,
    carries them all. The current versions are left to be filed anew (reindexing/refiling.py). Nobody may write meanwhile.
    refused: told of each version that is not as it was stored: it is left as it is.
    """
    safe = WriteConcern("majority")
    earlier = database.get_collection(history_of(type), write_concern=safe)
    current = database.get_collection(type, write_concern=safe)
    after = ""
    while found := await earlier.find(_behind(after)).sort("_id", 1).limit(BATCH).to_list():
        lived: defaultdict[str, set[int]] = defaultdict(set)
        updates: list[UpdateOne] = []
        for each in found:
            try:
                new = await _labels(use, type, each) - set(each.get("lab", ()))
            except Unsealable:
                refused(f"{type}/{each['id']}/_history/{each['v']}")
                continue
            if new:
                updates.append(_added(use, type, each["id"], each, new, earlier=True))
                lived[each["id"]] |= new
        if updates:
            ids = [*lived]
            graves = await earlier.find({"id": {"$in": ids}, "deleted": True}).to_list()
            living = await current.find({"_id": {"$in": ids}}).to_list()
            # The newest first: what is broken off begins again where an earlier version has not its labels yet.
            await _stored(
                current, [_added(use, type, each["_id"], each, lived[each["_id"]], earlier=False) for each in living]
            )
            buried = [_added(use, type, each["id"], each, lived[each["id"]], earlier=True) for each in graves]
            await _stored(earlier, [*buried, *updates])
        after = found[-1]["_id"]


async def _labels(use: Services, type: str, document: Document) -> set[int]:
    await asyncio.sleep(0)
    try:
        (body,) = await use.resources.opened(type, [Earlier({**document, "_id": document["id"]})])
    except Unreadable:  # its key was destroyed: nobody reads it any more
        return set()
    return use.writer.labels(parse(body))


def _behind(after: str) -> Document:
    return {"_id": {"$gt": after}, "deleted": {"$ne": True}}


def _added(use: Services, type: str, id: str, document: Document, labels: Iterable[int], *, earlier: bool) -> UpdateOne:
    """Return what adds labels to a document; its mark is made anew only if it was right before."""
    more = {**document, "lab": sorted({*document.get("lab", ()), *labels})}
    if use.resources.marks.fits(type, document, id=id, earlier=earlier):
        more = use.resources.marks.marked(type, more, id=id, earlier=earlier)
    changed = {name: more[name] for name in ("lab", FIELD) if name in more}
    return UpdateOne({"_id": document["_id"]}, {"$set": changed})


async def _stored(collection: AsyncCollection[Document], updates: list[UpdateOne]) -> None:
    if updates:
        await collection.bulk_write(updates, ordered=True)
