"""Restoring a backup into an empty database. Killed anywhere, it goes on when it is started again.

Until it is finished, the database says so itself, and no server starts on it (store/installation.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from fhir_server.backup.changes import BACKUPS
from fhir_server.backup.manifest import BackupError, Part
from fhir_server.backup.purged import Purged
from fhir_server.backup.reading import Backup
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.commit import DUPLICATE_KEY, DURABLE
from fhir_server.store.installation import NAME
from fhir_server.store.keys import KEYS

Database = AsyncDatabase[dict[str, Any]]
Progress = Callable[[int], None]
TOGETHER = 5_000  # documents in one write


async def restore(
    database: Database, backup: Backup, keyring: Keyring, purged: Purged, progress: Progress = lambda count: None
) -> int:
    """Restore a backup; return how many purged data keys were left out. progress: told how many documents are stored.

    Raises BackupError if the database is not empty, a master key is missing, or a file was changed.
    """
    if missing := {*backup.manifest.masters} - {*keyring.custody.masters()}:
        raise BackupError(
            f"The data keys in the backup need master keys that this keyring does not hold: {', '.join(sorted(missing))}. "
            "Take the keyring.json of that time, or shares that were made of it."
        )
    state = database.get_collection(NAME, write_concern=DURABLE)
    done = await _claimed(database, backup)
    for number, part in enumerate(backup.manifest.parts):
        if number >= done:
            await _store(database, part, backup.read(part))
            await state.update_one({"_id": NAME}, {"$set": {"restored": number + 1}})
        progress(part.documents)
    for name, indexes in (backup.manifest.indexes or {}).items():
        for index in indexes:
            described = json_util.loads(index)
            await database[name].create_index(list(described.pop("key").items()), **described)
    left_out = await _purge(database, purged)
    await _finish(database, backup)
    return left_out


async def _claimed(database: Database, backup: Backup) -> int:
    """Mark an empty database as one into which this backup is restored; return how many parts are stored already."""
    state = database.get_collection(NAME, write_concern=DURABLE)
    found = await state.find_one({"_id": NAME})
    if found is not None and found.get("restoring") == backup.manifest.id:
        return int(found["restored"])
    for name in await database.list_collection_names(filter={"type": "collection"}):
        if not name.startswith("system.") and await database[name].find_one({}, {"_id": 1}) is not None:
            raise BackupError(
                "The database is not empty. A backup is restored into a new one only: name it with FHIR_DATABASE, or "
                "drop the old one yourself."
            )
    new = {"_id": NAME, "keyring": backup.manifest.keyring, "restoring": backup.manifest.id, "restored": 0}
    await state.insert_one(new)
    return 0


async def _store(database: Database, part: Part, documents: Sequence[RawBSONDocument]) -> None:
    collection = database.get_collection(part.collection, write_concern=DURABLE)
    for at in range(0, len(documents), TOGETHER):
        some = documents[at : at + TOGETHER]
        if part.collection == NAME:  # what the database remembers of itself stands there when all else does
            continue
        if part.kind == "changes":
            await collection.bulk_write([_operation(each) for each in some])
            continue
        try:
            await collection.insert_many(some, ordered=False)
        except BulkWriteError as error:  # stored already, before it was killed: no document is in two such parts
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise


def _operation(document: RawBSONDocument) -> Any:
    found_by = {"_id": document["i"]}
    return ReplaceOne(found_by, document["d"], upsert=True) if "d" in document else DeleteOne(found_by)


async def _purge(database: Database, purged: Purged) -> int:
    """Destroy again what was purged since the backup; no server has run on this database yet."""
    keys = database.get_collection(KEYS, write_concern=DURABLE)
    gone = [each["_id"] async for each in keys.find() if purged.names(each)]
    for at in range(0, len(gone), TOGETHER):
        await keys.delete_many({"_id": {"$in": gone[at : at + TOGETHER]}})
    return len(gone)


async def _finish(database: Database, backup: Backup) -> None:
    """Note that the database holds this backup, which still needs its master keys, and let servers start on it."""
    manifest = backup.manifest
    known = {"begun": manifest.begun, "as_of": manifest.as_of, "masters": list(manifest.masters)}
    known["restored"] = datetime.now(UTC).isoformat(timespec="seconds")
    backups = database.get_collection(BACKUPS, write_concern=DURABLE)
    await backups.replace_one({"_id": manifest.id}, known, upsert=True)
    for id, document in backup.last_state(NAME).items():
        await database.get_collection(NAME, write_concern=DURABLE).replace_one({"_id": id}, document, upsert=True)
