"""Making a backup while the server writes: it holds the whole database exactly as it was at one instant.

First every document is copied, at leisure, as it is when its turn comes. Then what was changed since the beginning (the
change stream says which documents) is read again, all of it in one snapshot: the backup is the state of that snapshot.
Only this last, small reading has to fit into the time that MongoDB keeps a snapshot (5 minutes); where much was changed
it is read in rounds, each smaller than the one before. Killed anywhere, the backup goes on when it is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

from bson import Timestamp, encode, json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from fhir_server.backup import parts
from fhir_server.backup.changes import BACKUPS, MOST, changed, mark
from fhir_server.backup.manifest import (
    MANIFEST,
    PROGRESS,
    BackupError,
    Kind,
    Manifest,
    Part,
    Sealing,
    begun,
    opened,
    put,
)
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.commit import DURABLE
from fhir_server.store.rewrapping import masters_in_use
from fhir_server.wrapped import WRAPPED

Client = AsyncMongoClient[dict[str, Any]]
Database = AsyncDatabase[dict[str, Any]]
Progress = Callable[[int], None]
Raw = RawBSONDocument

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
MAJORITY = ReadConcern("majority")
TOGETHER = 500  # documents that are read again at once
TOO_OLD = (239, 246)  # SnapshotTooOld, SnapshotUnavailable
# A replica set that was just started tells no time of the cluster until it has the keys to sign it with.
TIMELESS_TRIES, TIMELESS_SECONDS = 120, 0.25


async def back_up(
    client: Client,
    database: Database,
    folder: Path,
    keyring: Keyring,
    *,
    passphrase: str | None = None,
    progress: Progress = lambda count: None,
) -> Manifest:
    """Make a backup in a folder, or go on with the one that was begun there; return its manifest.

    passphrase: what it is sealed under instead of a key of the keyring. progress: told how many documents were read.
    Raises BackupError.
    """
    making = await _begun(client, database, folder, keyring, passphrase)
    await making.remember()
    for name in await making.collections():
        async for documents in making.copy(name):
            progress(documents)
    await making.catch_up(progress)
    await making.finish()
    return making.manifest


async def _begun(client: Client, database: Database, folder: Path, keyring: Keyring, passphrase: str | None) -> _Making:
    if _is_resumed(folder):
        manifest, sealing = opened(folder, PROGRESS, keyring, passphrase)
        return _Making(client, database, folder, manifest, sealing)
    manifest, sealing = begun(keyring, await _now(client, database), passphrase)
    put(manifest, sealing, folder, PROGRESS)
    return _Making(client, database, folder, manifest, sealing)


async def _now(client: Client, database: Database) -> Timestamp:
    """Return the time of the cluster. Raises BackupError if there is none."""
    for _ in range(TIMELESS_TRIES):
        async with client.start_session() as session:
            await database.command("ping", session=session)
            if session.operation_time is not None:
                return session.operation_time
        await asyncio.sleep(TIMELESS_SECONDS)
    raise BackupError("MongoDB tells no time of the cluster: it has to be a replica set or a sharded cluster.")


def _is_resumed(folder: Path) -> bool:
    """Return whether a backup was begun in a folder; make it if it is not there. Raises BackupError if it is taken."""
    if (folder / MANIFEST).exists():
        raise BackupError(f"{folder} holds a finished backup: name another folder.")
    if (folder / PROGRESS).exists():
        return True
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty: name another folder.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return False


class _SnapshotGone(Exception):
    """MongoDB does not keep the snapshot any more."""


class _Making:
    def __init__(self, client: Client, database: Database, folder: Path, manifest: Manifest, sealing: Sealing) -> None:
        self._client = client
        self._database = database
        self._folder = folder
        self._sealing = sealing
        self.manifest = manifest

    async def remember(self) -> None:
        """Let the database know of the backup, so that no master key is taken away that it needs."""
        masters = await masters_in_use(self._database, WRAPPED)
        found = {"$set": {"begun": self.manifest.begun}, "$addToSet": {"masters": {"$each": sorted(masters)}}}
        known = self._database.get_collection(BACKUPS, write_concern=DURABLE)
        await known.update_one({"_id": self.manifest.id}, found, upsert=True)

    async def collections(self) -> list[str]:
        """Return the names of the collections that are still to be copied."""
        names = await self._database.list_collection_names(filter={"type": "collection"})
        known = {*self.manifest.copied, BACKUPS}
        return sorted(name for name in names if name not in known and not name.startswith("system."))

    async def copy(self, name: str) -> AsyncIterator[int]:
        """Copy a collection in the order of its ids, from behind the last that was copied; yield counts of documents."""
        source = self._raw(name, MAJORITY)
        cursor = source.find().sort("_id", 1)
        if last := self._last(name):
            # A bound of the index and no $gt: that compares ids of one type only.
            cursor = cursor.hint([("_id", 1)]).min([("_id", last["_id"])])
        gathered, size = list[Raw](), 0
        async with cursor:
            async for document in cursor:
                if last is not None and document["_id"] == last["_id"]:
                    continue
                gathered.append(document)
                size += len(document.raw)
                if size >= parts.FULL:
                    self._save(self.manifest.added(self._put(name, "copy", gathered)))
                    yield len(gathered)
                    gathered, size = [], 0
        made = self.manifest.added(self._put(name, "copy", gathered)) if gathered else self.manifest
        self._save(replace(made, copied=(*made.copied, name)))
        yield len(gathered)

    async def catch_up(self, progress: Progress) -> None:
        """Read again what was changed since the backup was begun, at last all of it in one snapshot.

        Each round takes twice as much as the one before: it ends however much is written meanwhile.
        """
        for most in (MOST << doubled for doubled in count()):
            async with self._client.start_session(snapshot=True) as session:
                masters = await masters_in_use(self._database, WRAPPED, session)  # the first reading fixes the instant
                since, token = self.manifest.timestamp, self.manifest.token
                found = await changed(self._database, since, token, await mark(self._database), most)
                if found.complete:
                    with contextlib.suppress(_SnapshotGone):
                        made = await self._read_again(found.ids, session, progress)
                        self.manifest = replace(made, masters=tuple(sorted(masters)), as_of=_instant(session))
                        return
            made = await self._read_again(found.ids, None, progress)
            self._save(replace(made, token=found.token))

    async def finish(self) -> None:
        """Write the manifest of the whole backup, and take away what is no part of it."""
        self.manifest = replace(self.manifest, indexes=await self._indexes())
        known = self._database.get_collection(BACKUPS, write_concern=DURABLE)
        found = {"$set": {"as_of": self.manifest.as_of, "masters": list(self.manifest.masters)}}
        put(self.manifest, self._sealing, self._folder, MANIFEST)
        await known.update_one({"_id": self.manifest.id}, found, upsert=True)
        (self._folder / PROGRESS).unlink()
        mine = {each.file for each in self.manifest.parts}
        for name in ("records", "keys"):
            for path in (self._folder / name).glob("*"):
                if f"{name}/{path.name}" not in mine:
                    path.unlink()

    async def _read_again(
        self, ids: Mapping[str, Mapping[bytes, Any]], session: AsyncClientSession | None, progress: Progress
    ) -> Manifest:
        """Write what has become of these documents; return the manifest with that, which is not saved yet."""
        made = self.manifest
        for name, changes in ids.items():
            gathered, size = list[Raw](), 0
            async for document in self._become(name, changes, session):
                gathered.append(document)
                size += len(document.raw)
                if size >= parts.FULL:
                    made = made.added(self._put(name, "changes", gathered, made))
                    progress(len(gathered))
                    gathered, size = [], 0
            if gathered:
                made = made.added(self._put(name, "changes", gathered, made))
                progress(len(gathered))
        return made

    async def _become(
        self, name: str, ids: Mapping[bytes, Any], session: AsyncClientSession | None
    ) -> AsyncIterator[Raw]:
        concern = None if session else MAJORITY
        source = self._raw(name, concern)
        for some in _some(ids.items()):
            try:
                found = await source.find({"_id": {"$in": [id for _, id in some]}}, session=session).to_list()
            except OperationFailure as error:
                if session and error.code in TOO_OLD:
                    raise _SnapshotGone from None
                raise
            present = {_key(each): each for each in found}
            for key, id in some:
                yield parts.change(id, present.get(key))

    def _raw(self, name: str, concern: ReadConcern | None) -> AsyncCollection[Raw]:
        found = self._database.get_collection(name, codec_options=RAW, read_concern=concern)
        return cast(AsyncCollection[Raw], found)

    async def _indexes(self) -> dict[str, list[str]]:
        """Return what the indexes of each collection are made by, as texts: the order of keys counts in them.

        That of _id comes by itself.
        """
        names = await self._database.list_collection_names(filter={"type": "collection"})
        found: dict[str, list[str]] = {}
        for name in sorted({*names} - {BACKUPS}):
            described = [each async for each in await self._database[name].list_indexes()]
            found[name] = [
                json_util.dumps({key: value for key, value in each.items() if key not in ("v", "ns")})
                for each in described
                if each["name"] != "_id_"
            ]
        return found

    def _last(self, name: str) -> Raw | None:
        mine = [each for each in self.manifest.parts if each.collection == name and each.kind == "copy"]
        return parts.read(self._folder, self.manifest, self._sealing, mine[-1])[-1] if mine else None

    def _put(self, name: str, kind: Kind, documents: list[Raw], manifest: Manifest | None = None) -> Part:
        try:
            return parts.put(self._folder, manifest or self.manifest, self._sealing, name, kind, documents)
        except OSError as error:
            raise BackupError(f"The backup cannot be written: {error.strerror}. Started again, it goes on.") from None

    def _save(self, manifest: Manifest) -> None:
        self.manifest = manifest
        try:
            put(manifest, self._sealing, self._folder, PROGRESS)
        except OSError as error:
            raise BackupError(f"The backup cannot be written: {error.strerror}. Started again, it goes on.") from None


def _some(changes: Iterable[tuple[bytes, Any]]) -> Iterator[list[tuple[bytes, Any]]]:
    coming = iter(changes)
    while found := list(islice(coming, TOGETHER)):
        yield found


def _key(document: Raw) -> bytes:
    return encode({"": document["_id"]})


def _instant(session: AsyncClientSession) -> str:
    """Return the time of the cluster as the snapshot was taken, in UTC."""
    time = (session.cluster_time or {}).get("clusterTime")
    at = time.as_datetime() if time else datetime.now(UTC)
    return at.astimezone(UTC).isoformat(timespec="seconds")
