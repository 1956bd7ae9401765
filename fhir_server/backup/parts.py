"""The files of a backup: documents as BSON, one after the other, sealed as a whole by SM4-GCM for their place in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bson import encode
from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives import hashes

from fhir_server.backup.manifest import BackupError, Kind, Manifest, Part, Sealing
from fhir_server.crypto.files import written
from fhir_server.crypto.sealing import Unsealable, seal, unseal
from fhir_server.store.keys import KEYS

# Plain bytes in a file, about: each is sealed and opened as a whole, in memory.
FULL = 32 << 20


def folder_of(collection: str) -> str:
    """Return where in the backup the files of a collection lie: data keys apart from what they seal."""
    return "keys" if collection == KEYS else "records"


def put(
    folder: Path,
    manifest: Manifest,
    sealing: Sealing,
    collection: str,
    kind: Kind,
    documents: Sequence[RawBSONDocument],
) -> Part:
    """Write the next file of a backup, durably; return what the manifest says of it. Raises OSError."""
    name = f"{folder_of(collection)}/{manifest.name_of_next}-{os.urandom(3).hex()}"
    return sealed_as(folder, name, manifest, sealing, collection, kind, documents)


def sealed_as(
    folder: Path,
    name: str,
    manifest: Manifest,
    sealing: Sealing,
    collection: str,
    kind: Kind,
    documents: Sequence[RawBSONDocument],
) -> Part:
    """Write a file of a backup under a name that no other of its files has."""
    plain = b"".join(each.raw for each in documents)
    content = seal(sealing.key, plain, _place(manifest, name, collection, kind))
    written(folder / name, content)
    return Part(name, collection, kind, len(documents), len(content), _sm3(content))


def read(folder: Path, manifest: Manifest, sealing: Sealing, part: Part) -> list[RawBSONDocument]:
    """Return the documents of a file. Raises BackupError if it is not as it was written."""
    try:
        content = (folder / part.file).read_bytes()
    except OSError as error:
        raise BackupError(f"{part.file} cannot be read: {error.strerror}.") from None
    if len(content) != part.bytes or _sm3(content) != part.sm3:
        raise BackupError(f"{part.file} was changed or cut: its SM3 is not that of the manifest.")
    try:
        plain = unseal(sealing.key, content, _place(manifest, part.file, part.collection, part.kind))
    except Unsealable:
        raise BackupError(f"{part.file} is not a file of this backup.") from None
    found = list(_documents(plain))
    if len(found) != part.documents:
        raise BackupError(f"{part.file} holds {len(found)} documents, not {part.documents}.")
    return found


def change(id: Any, document: RawBSONDocument | None) -> RawBSONDocument:
    """Return what has become of a document: itself, or that it is gone."""
    return RawBSONDocument(encode({"i": id} if document is None else {"i": id, "d": document}))


def _documents(plain: bytes) -> Iterator[RawBSONDocument]:
    at = 0
    while at < len(plain):
        end = at + int.from_bytes(plain[at : at + 4], "little")
        yield RawBSONDocument(plain[at:end])
        at = end


def _place(manifest: Manifest, name: str, collection: str, kind: Kind) -> bytes:
    return b"\0".join(each.encode() for each in ("backup", manifest.id, name, collection, kind))


def _sm3(content: bytes) -> str:
    digest = hashes.Hash(hashes.SM3())
    digest.update(content)
    return digest.finalize().hex()
