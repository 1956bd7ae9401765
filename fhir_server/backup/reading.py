"""Reading a finished backup: seeing that it is whole and opens, and taking out of it the keys that were purged since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument

from fhir_server.backup import parts
from fhir_server.backup.manifest import MANIFEST, BackupError, Manifest, Part, Sealing, opened, put
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, WrappedKey, Wrapping
from fhir_server.store.keys import KEYS, bound_to

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup in its folder, opened."""

    folder: Path
    manifest: Manifest
    sealing: Sealing

    @classmethod
    def open(cls, folder: Path, keyring: Keyring, passphrase: str | None) -> Backup:
        """Return the backup in a folder. Raises BackupError if it is not finished, was changed, or is another keyring's."""
        backup = cls(folder, *opened(folder, MANIFEST, keyring, passphrase))
        if not backup.manifest.finished:
            raise BackupError(f"The backup in {folder} is not finished.")
        return backup

    def read(self, part: Part) -> list[RawBSONDocument]:
        """Return the documents of a part. Raises BackupError."""
        return parts.read(self.folder, self.manifest, self.sealing, part)

    def of(self, collection: str) -> tuple[Part, ...]:
        """Return the parts of one collection, in their order."""
        return tuple(each for each in self.manifest.parts if each.collection == collection)

    def last_state(self, collection: str) -> dict[Any, RawBSONDocument]:
        """Return the documents of a small collection by id, as they were at the instant of the backup."""
        found: dict[Any, RawBSONDocument] = {}
        for part in self.of(collection):
            for each in self.read(part):
                if part.kind == "copy":
                    found[each["_id"]] = each
                elif "d" in each:
                    found[each["i"]] = each["d"]
                else:
                    found.pop(each["i"], None)
        return found


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. documents: read in all, with the changes. keys: the data keys in it, all of which open."""

    files: int
    bytes: int
    documents: int
    keys: int


def verify(backup: Backup, keyring: Keyring, progress: Progress = lambda count: None) -> Report:
    """Read the whole backup: each file against its digest, each document, each data key with the keyring.

    Raises BackupError at the first thing that is not as it was written.
    """
    for part in backup.manifest.parts:
        backup.read(part)
        progress(part.documents)
    wrapping, keys = Wrapping(keyring), backup.last_state(KEYS)
    for name, document in keys.items():
        try:
            wrapping.unwrap(WrappedKey(document["master"], document["sealed"]), bound_to(name))
        except Unsealable:
            raise BackupError("The backup holds a data key that this keyring does not open.") from None
    said = backup.manifest.parts
    return Report(len(said), sum(each.bytes for each in said), sum(each.documents for each in said), len(keys))


def without_keys(backup: Backup, is_gone: Callable[[Mapping[str, Any]], bool]) -> tuple[Backup, int]:
    """Take purged data keys out of a backup; return it as it is then, and how many they were.

    The files that held them are written anew and then deleted. What the keys sealed stays, and nobody can open it.
    """
    made, count = list[Part](), 0
    for part in backup.manifest.parts:
        kept = part
        if part.collection == KEYS:
            documents = backup.read(part)
            left = [each for each in documents if not is_gone(_key_of(each))]
            if len(left) < len(documents):
                count += len(documents) - len(left)
                name = f"{part.file}x"
                kept = parts.sealed_as(backup.folder, name, backup.manifest, backup.sealing, KEYS, part.kind, left)
        made.append(kept)
    manifest = replace(backup.manifest, parts=tuple(made))
    put(manifest, backup.sealing, backup.folder, MANIFEST)
    for path in (backup.folder / "keys").glob("*"):
        if f"keys/{path.name}" not in {each.file for each in made}:
            path.unlink()
    return replace(backup, manifest=manifest), count


def _key_of(document: RawBSONDocument) -> Mapping[str, Any]:
    """Return the data key's document that a document of the backup is or tells of; a deletion tells of its id."""
    if "i" not in document:
        return document
    found: Mapping[str, Any] = document["d"] if "d" in document else {"_id": document["i"]}
    return found
