"""The manifest of a backup: what it consists of, as of when, and what it takes to open it. It holds nothing personal.

It is JSON with an HMAC-SM3 (RFC 2104) under a key derived from the backup's own key; that key is random, and stands in the
manifest sealed under a key of the keyring, or under a passphrase.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bson import Timestamp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as keyed

from fhir_server.crypto.files import octets, text, written
from fhir_server.crypto.keyring import Keyring, derived
from fhir_server.crypto.sealing import Unsealable, new_key, seal, unseal
from fhir_server.crypto.shares import ARGON2, SALT_SIZE, SHORTEST_PASSPHRASE, key_of

FORMAT = 1
MANIFEST, PROGRESS = "manifest.json", "progress.json"
KEYRING, PASSPHRASE = "keyring", "passphrase"

Kind = Literal["copy", "changes"]


class BackupError(RuntimeError):
    """A backup cannot be made, read or restored; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup. kind: `copy`, documents as they were read; `changes`, what has become of some of them since.

    bytes: of the file. sm3: of the file, hexadecimal.
    """

    file: str
    collection: str
    kind: Kind
    documents: int
    bytes: int
    sm3: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is. Times are ISO 8601 in UTC.

    keyring: the fingerprint of the installation's. masters: ids of the master keys that its data keys are wrapped under.
    sealed: how its key is sealed. begun, as_of: when it was begun, and the instant whose state it holds (None: it is not
    finished). since: the cluster time from which on changes count. token: how far the changes were read. copied: the
    collections that were copied to their end. indexes: of each collection, what they are made by, as extended JSON.
    """

    id: str
    keyring: str
    sealed: Mapping[str, Any]
    begun: str
    since: tuple[int, int]
    as_of: str | None = None
    masters: tuple[str, ...] = ()
    token: str | None = None
    copied: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    indexes: Mapping[str, list[str]] | None = None

    @property
    def finished(self) -> bool:
        return self.as_of is not None

    @property
    def timestamp(self) -> Timestamp:
        return Timestamp(*self.since)

    def added(self, *parts: Part) -> Manifest:
        return replace(self, parts=(*self.parts, *parts))

    @property
    def name_of_next(self) -> str:
        return f"{len(self.parts) + 1:06d}"


@dataclass(frozen=True, slots=True, repr=False)
class Sealing:
    """The key (SM4) that seals the files of one backup, and what is derived from it."""

    key: bytes

    def code(self, content: bytes) -> str:
        """Return the HMAC-SM3 of a manifest."""
        made = keyed.HMAC(derived(self.key, "backup manifest"), hashes.SM3())
        made.update(content)
        return made.finalize().hex()


def begun(keyring: Keyring, since: Timestamp, passphrase: str | None) -> tuple[Manifest, Sealing]:
    """Return the manifest of a backup that begins now, and its fresh key. Raises BackupError."""
    id, key = os.urandom(8).hex(), new_key()
    if passphrase is None:
        how: dict[str, Any] = {"by": KEYRING}
        outer = keyring.derive("backup", 16)
    else:
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise BackupError(f"A passphrase has at least {SHORTEST_PASSPHRASE} characters.")
        how = {"by": PASSPHRASE, **ARGON2, "salt": text(os.urandom(SALT_SIZE))}
        outer = key_of(passphrase, how)
    how["key"] = text(seal(outer, key, _place(id, keyring.fingerprint)))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(id, keyring.fingerprint, how, now, (since.time, since.inc)), Sealing(key)


def opened(folder: Path, name: str, keyring: Keyring, passphrase: str | None) -> tuple[Manifest, Sealing]:
    """Return a manifest that is as it was written, and the backup's key. Raises BackupError."""
    path = folder / name
    try:
        fields = json.loads(path.read_bytes())
        code = fields.pop("hmac")
        manifest = _read(fields)
    except FileNotFoundError:
        raise BackupError(f"There is no {name} in {folder}: it is not a whole backup.") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackupError(f"{path} is damaged.") from None
    if manifest.keyring != keyring.fingerprint:
        raise BackupError(
            f"The backup is of the keyring {manifest.keyring}, and here is {keyring.fingerprint}: put the right "
            "keyring.json into the data folder (fhir-facade keys combine restores it from shares)."
        )
    sealing = _sealing(manifest, keyring, passphrase, path)
    if not hmac.compare_digest(sealing.code(_content(manifest)), str(code)):
        raise BackupError(f"{path} was changed.")
    return manifest, sealing


def put(manifest: Manifest, sealing: Sealing, folder: Path, name: str) -> None:
    """Write a manifest as a whole, durably. Raises OSError."""
    content = _content(manifest)
    said = {**json.loads(content), "hmac": sealing.code(content)}
    written(folder / name, json.dumps(said, indent=1).encode() + b"\n")


def _sealing(manifest: Manifest, keyring: Keyring, passphrase: str | None, path: Path) -> Sealing:
    how = manifest.sealed
    try:
        if how["by"] == KEYRING:
            outer = keyring.derive("backup", 16)
        elif passphrase is None:
            raise BackupError("The backup is sealed under a passphrase: give it with --passphrase-stdin.")
        else:
            outer = key_of(passphrase, how)
        return Sealing(unseal(outer, octets(how["key"]), _place(manifest.id, manifest.keyring)))
    except Unsealable:
        raise BackupError("The passphrase is another one, or the manifest was changed.") from None
    except (KeyError, TypeError, ValueError):
        raise BackupError(f"{path} is damaged.") from None


def _place(id: str, keyring: str) -> bytes:
    return b"\0".join((b"backup key", id.encode(), keyring.encode()))


def _content(manifest: Manifest) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(manifest)}, sort_keys=True).encode()


def _read(fields: dict[str, Any]) -> Manifest:
    if fields.pop("format") != FORMAT:
        raise ValueError
    lists = {"masters": tuple(fields["masters"]), "copied": tuple(fields["copied"])}
    time, inc = fields["since"]
    parts = tuple(Part(**each) for each in fields["parts"])
    return Manifest(**{**fields, **lists, "since": (int(time), int(inc)), "parts": parts})
