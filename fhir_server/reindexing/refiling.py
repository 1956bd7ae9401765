"""Filing anew what is stored already, batch by batch, while reading and writing go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pymongo import ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from fhir_server.crypto.sealing import Unsealable
from fhir_server.fhir_json import parse
from fhir_server.store.keys import Unreadable

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Document = dict[str, Any]
BATCH = 50


class Position(NamedTuple):
    """How far a type has been filed anew: the last id, and how many documents were looked at."""

    last: str
    seen: int


async def refile(
    database: AsyncDatabase[Document],
    use: Services,
    type: str,
    filing: int,
    *,
    after: str = "",
    refused: Callable[[str], None] = lambda name: None,
) -> AsyncIterator[Position]:
    """File the current resources of a type anew, those behind an id; yield the position after each batch.

    use: the services of the definitions with the number `filing`. Whatever bears that number is left alone. A document
    that was written meanwhile is looked at again, so that behind the position nothing with a lower number is left; the
    fence (store/numbers.py), raised before, keeps such from coming in later. Earlier versions are not searched. refused:
    told of each document that is not as it was stored: it is left as it is.
    """
    collection = database.get_collection(type, write_concern=WriteConcern("majority"))
    older = {"$or": [{"d": {"$lt": filing}}, {"d": None}]}
    while found := await collection.find({"_id": {"$gt": after}, **older}).sort("_id", 1).limit(BATCH).to_list():
        made = [(each, await _anew(use, type, each, filing)) for each in found]
        replaced = [new for _, new in made if new is not None]
        matched = (await collection.bulk_write(replaced, ordered=False)).matched_count if replaced else 0
        if matched == len(replaced):
            for each, new in made:
                if new is None:
                    refused(f"{type}/{each['_id']}/_history/{each['v']}")
            after = found[-1]["_id"]
            yield Position(after, len(found))
        await asyncio.sleep(0)


async def _anew(use: Services, type: str, document: Document, filing: int) -> ReplaceOne[Document] | None:
    """Return the replacement of a document, which takes place only if the document is still as it was read.

    None for one that was changed behind the server's back: what it says is not to be believed, nor marked anew.
    """
    await asyncio.sleep(0)  # requests come in between
    as_read = {key: document.get(key) for key in ("_id", "v", "d", "pat", "pats")}
    try:
        (body,) = await use.resources.opened(type, [document])
    except Unreadable:  # its key was destroyed: nobody finds anything in it any more
        return ReplaceOne(as_read, {**document, "d": filing})
    except Unsealable:
        return None
    made = use.audit if type == "AuditEvent" else use.writer
    return ReplaceOne(as_read, {**made.refiled(type, document, parse(body)), "d": filing})
