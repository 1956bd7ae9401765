"""The keyring: one file, readable by its owner only, that holds every secret an installation lives by.

Whoever loses this file loses the records; whoever copies it can read them. Only what must be independent is stored;
keys of a single purpose are derived from the root (HKDF of RFC 5869, with SM3).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

FORMAT = 1
MASTER_SIZE = 16  # bytes, SM4
ROOT_SIZE = 32  # bytes, one SM3 digest


class KeyringError(RuntimeError):
    """The keyring file cannot be used. The message names the file and the remedy, never what the file holds."""


def derived(key: bytes, purpose: str, size: int = 32) -> bytes:
    """Return the key of `size` bytes that `key` yields for one purpose; different purposes give unrelated keys.

    Source: RFC 5869 with SM3, no salt (the input is uniformly random already), the purpose as info.
    """
    return HKDF(hashes.SM3(), size, salt=None, info=b"fhir-facade/" + purpose.encode()).derive(key)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Keyring:
    """The secrets of one installation.

    current: id of the master key that wraps new data keys. masters: every master key (16 bytes) by id.
    root: 32 bytes that purposes are derived from. signing_pem: the token signer, an EC P-256 private key.
    """

    current: str
    masters: Mapping[str, bytes]
    root: bytes
    signing_pem: bytes

    @classmethod
    def open(cls, path: Path) -> Keyring:
        """Return the keyring in the file, which is created first if it is absent; all processes get the same one.

        Raises KeyringError if the file is damaged, open to other users, or cannot be read or made.
        """
        try:
            if not path.exists():
                _create(path, generated())
            content = _read(path)
        except OSError as error:
            raise KeyringError(f"The keyring {path} cannot be read or created: {error.strerror}.") from None
        keyring = _parsed(content)
        if keyring is None:
            raise KeyringError(
                f"The keyring {path} is damaged or of another format. Restore it from a backup; "
                "without it the records stored under it cannot be opened."
            )
        return keyring

    def derive(self, purpose: str, size: int = 32) -> bytes:
        """Return this installation's key for one purpose, such as "audit"."""
        return derived(self.root, purpose, size)

    @property
    def index_key(self) -> bytes:
        """The key (32 bytes) of index tokens."""
        return self.derive("index")

    @property
    def cursor_key(self) -> bytes:
        """The key (16 bytes, SM4) that seals page cursors."""
        return self.derive("cursor", 16)

    @property
    def fingerprint(self) -> str:
        """What tells this keyring from another without giving anything away; a database remembers it."""
        return self.derive("fingerprint", 8).hex()

    def __repr__(self) -> str:
        return f"Keyring({self.fingerprint})"


def generated() -> Keyring:
    """Return a keyring of fresh random keys."""
    signing = ec.generate_private_key(ec.SECP256R1())
    name = os.urandom(4).hex()
    return Keyring(
        current=name,
        masters=MappingProxyType({name: os.urandom(MASTER_SIZE)}),
        root=os.urandom(ROOT_SIZE),
        signing_pem=signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _create(path: Path, keyring: Keyring) -> None:
    """Put the keyring at the path unless another process was first.

    A link, unlike a rename, never replaces: the first one wins, and no reader ever sees half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".keyring-", dir=path.parent)  # mode 0600 from the start
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_serialised(keyring))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable: records must not outlive the keyring in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())  # of the open file, so that it cannot be exchanged between check and use
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise KeyringError(f"The keyring {path} is open to other users. Close it with: chmod 600 '{path}'")
        return file.read()


def _serialised(keyring: Keyring) -> bytes:
    content = {
        "format": FORMAT,
        "current": keyring.current,
        "masters": {name: _text(key) for name, key in keyring.masters.items()},
        "root": _text(keyring.root),
        "signing": _text(keyring.signing_pem),
    }
    return json.dumps({**content, "checksum": _checksum(content)}, indent=1).encode() + b"\n"


def _parsed(content: bytes) -> Keyring | None:
    """Return the keyring, or None if the content is not one.

    None and not an exception: that of a parser carries the text that it could not read, and would reach a traceback.
    """
    try:
        fields = json.loads(content)
        if fields.pop("checksum") != _checksum(fields) or fields["format"] != FORMAT:
            return None
        masters = {str(name): _bytes(key, MASTER_SIZE) for name, key in fields["masters"].items()}
        root, signing = _bytes(fields["root"], ROOT_SIZE), _bytes(fields["signing"])
        if fields["current"] not in masters:
            return None
        return Keyring(fields["current"], MappingProxyType(masters), root, signing)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _checksum(content: Mapping[str, Any]) -> str:
    """Return SM3 of the content; it finds damage, the file's mode keeps others from changing it."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.finalize().hex()


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _bytes(text: str, size: int | None = None) -> bytes:
    key = base64.b64decode(text, validate=True)
    if size is not None and len(key) != size:
        raise ValueError
    return key
