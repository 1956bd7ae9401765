"""Which documents were changed since an instant, from MongoDB's change stream: their ids, no contents."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import Timestamp, encode
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from fhir_server.backup.manifest import BackupError
from fhir_server.store.commit import DURABLE

Database = AsyncDatabase[dict[str, Any]]

BACKUPS = "backups"  # the backups that are known, and the marks by which a stream is known to have come far enough
MOST = 50_000  # ids that are gathered, at first, before what has become of the documents is written
LOST = (286, 280, 260)  # ChangeStreamHistoryLost, ChangeStreamFatalError, InvalidResumeToken
# Collections that were dropped or renamed leave no event for each document.
WHOLE = frozenset({"drop", "rename", "dropDatabase", "invalidate"})
WAIT_MS = 200


@dataclass(frozen=True, slots=True)
class Changed:
    """Ids of documents that were changed, by collection. token: where the stream goes on. complete: up to the mark.

    ids: of each collection, each by its BSON, since not every id can be hashed.
    """

    ids: Mapping[str, Mapping[bytes, Any]]
    token: str | None
    complete: bool


async def mark(database: Database) -> str:
    """Leave a mark in the stream of changes; return its name. What was acknowledged before stands before it."""
    name = f"mark {os.urandom(8).hex()}"
    marks = database.get_collection(BACKUPS, write_concern=DURABLE)
    await marks.insert_one({"_id": name})
    await marks.delete_one({"_id": name})
    return name


async def changed(database: Database, since: Timestamp, token: str | None, until: str, most: int) -> Changed:
    """Return what was changed since an instant, or since a token, until a mark; or part of it, if it is much.

    Raises BackupError if MongoDB does not know any more what was changed.
    """
    ids: dict[str, dict[bytes, Any]] = {}
    count = 0
    pipeline = [{"$project": {"ns": 1, "documentKey._id": 1, "operationType": 1}}]
    start = {"start_after": json.loads(token)} if token else {"start_at_operation_time": since}
    try:
        async with await database.watch(pipeline, max_await_time_ms=WAIT_MS, **start) as stream:
            while True:
                event = await stream.try_next()
                if event is None:
                    continue
                if event["operationType"] in WHOLE:
                    raise BackupError(
                        "A collection was dropped or renamed meanwhile: begin the backup anew, elsewhere."
                    )
                collection, id = event["ns"]["coll"], event["documentKey"]["_id"]
                if collection != BACKUPS:
                    found, key = ids.setdefault(collection, {}), encode({"": id})
                    count += key not in found
                    found[key] = id
                elif id == until or count >= most:
                    return Changed(ids, json.dumps(event["_id"]), id == until)
                if count >= most:
                    return Changed(ids, json.dumps(event["_id"]), False)
    except OperationFailure as error:
        if error.code in LOST:
            raise BackupError(
                "MongoDB keeps no record any more of what was changed since this backup was begun (its oplog is too "
                "small, or the backup lay too long): begin it anew, in another folder."
            ) from None
        raise
