"""The keyring file, readable by its owner only, and the secrets in it; in the plain, or sealed (crypto/shares.py).

Whoever loses this file loses the records; whoever copies it can read them. Only what must be independent is stored;
keys of a single purpose are derived from the root (HKDF of RFC 5869, with SM3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fhir_server.crypto.files import (
    FORMAT,
    OpenToOthers,
    alone,
    created,
    octets,
    read_private,
    read_stated,
    stated,
    text,
    written,
)
from fhir_server.crypto.sealing import Unsealable, seal, unseal

MASTER_SIZE = 16  # bytes, SM4
ROOT_SIZE = 32  # bytes, one SM3 digest
PLACE = b"keyring"


class KeyringError(RuntimeError):
    """The keyring cannot be used. The message names the file and the remedy, never what the file holds."""


def derived(key: bytes, purpose: str, size: int = 32) -> bytes:
    """Return the key of `size` bytes that `key` yields for one purpose; different purposes give unrelated keys.

    Source: RFC 5869 with SM3, no salt (the input is uniformly random already), the purpose as info.
    """
    return HKDF(hashes.SM3(), size, salt=None, info=b"fhir-facade/" + purpose.encode()).derive(key)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Secrets:
    """The secrets of one installation.

    current: id of the master key that wraps new data keys. masters: every master key (16 bytes) by id, in the order in
    which they were made; those behind the current one are prepared for the next rotation.
    root: 32 bytes that purposes are derived from. signing_pem: the token signer, an EC P-256 private key.
    """

    current: str
    masters: Mapping[str, bytes]
    root: bytes
    signing_pem: bytes

    @property
    def fingerprint(self) -> str:
        return derived(self.root, "fingerprint", 8).hex()

    @property
    def older(self) -> tuple[str, ...]:
        """The ids of the master keys that were current before this one."""
        names = tuple(self.masters)
        return names[: names.index(self.current)]

    @property
    def prepared(self) -> tuple[str, ...]:
        """The ids of the master keys that are to be current after this one."""
        names = tuple(self.masters)
        return names[names.index(self.current) + 1 :]

    def preparing(self) -> Secrets:
        """Return these secrets with a new master key that is not current yet."""
        return replace(self, masters=MappingProxyType({**self.masters, _name(): os.urandom(MASTER_SIZE)}))

    def rotated(self) -> Secrets:
        """Return these secrets with the next master key current: the one that was prepared, else a new one."""
        ready = self if self.prepared else self.preparing()
        return replace(ready, current=ready.prepared[0])

    def without(self, names: frozenset[str]) -> Secrets:
        """Return these secrets without some older master keys. Raises ValueError for any other."""
        if not names <= {*self.older}:
            raise ValueError("only master keys that were current before can be taken out")
        kept = {name: key for name, key in self.masters.items() if name not in names}
        return replace(self, masters=MappingProxyType(kept))

    def __repr__(self) -> str:
        return f"Secrets({self.fingerprint})"


def generated() -> Secrets:
    """Return fresh random secrets."""
    signing = ec.generate_private_key(ec.SECP256R1())
    name = _name()
    return Secrets(
        current=name,
        masters=MappingProxyType({name: os.urandom(MASTER_SIZE)}),
        root=os.urandom(ROOT_SIZE),
        signing_pem=signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _name() -> str:
    return os.urandom(4).hex()


class Stamp(NamedTuple):
    """What tells one state of a file from another: a rename into its place changes all of it."""

    inode: int
    changed: int
    size: int


@dataclass(frozen=True, slots=True, repr=False)
class KeyFile:
    """A keyring file. sealing: the SM4 key under which it is kept (keyring.sealed); None if it is in the plain."""

    path: Path
    sealing: bytes | None = None

    def stamp(self) -> Stamp | None:
        """Return what the file's present state is known by, or None if it cannot be looked at."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return Stamp(found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self) -> Secrets:
        """Return the secrets in the file. Raises KeyringError if it is damaged, open to other users, or unreadable."""
        try:
            content = read_private(self.path)
        except OpenToOthers:
            closing = f"chmod 600 '{self.path}'"
            raise KeyringError(f"The keyring {self.path} is open to other users. Close it with: {closing}") from None
        except OSError as error:
            raise KeyringError(f"The keyring {self.path} cannot be read or created: {error.strerror}.") from None
        secrets = parsed(content) if self.sealing is None else self._unsealed(content, self.sealing)
        if secrets is None:
            raise KeyringError(
                f"The keyring {self.path} is damaged or of another format. Restore it from a backup; "
                "without it the records stored under it cannot be opened."
            )
        return secrets

    def create(self, secrets: Secrets) -> None:
        """Put the secrets at the path unless another process was first. Raises KeyringError."""
        try:
            created(self.path, self._content(secrets))
        except OSError as error:
            raise KeyringError(f"The keyring {self.path} cannot be read or created: {error.strerror}.") from None

    def put(self, secrets: Secrets) -> None:
        """Write the secrets in the place of whatever is there. Raises KeyringError."""
        try:
            written(self.path, self._content(secrets))
        except OSError as error:
            raise KeyringError(f"The keyring {self.path} cannot be written: {error.strerror}.") from None

    def change(self, change: Callable[[Secrets], Secrets]) -> Secrets:
        """Replace the secrets by what `change` makes of them, in one step that outlasts a power cut; return the new ones."""
        with alone(self.path.parent):
            made = change(self.read())
            self.put(made)
        return made

    def _content(self, secrets: Secrets) -> bytes:
        plain = serialised(secrets)
        if self.sealing is None:
            return plain
        content = {"format": FORMAT, "keyring": secrets.fingerprint, "sealed": text(seal(self.sealing, plain, PLACE))}
        return stated(content)

    @staticmethod
    def _unsealed(content: bytes, sealing: bytes) -> Secrets | None:
        fields = read_stated(content)
        try:
            return parsed(unseal(sealing, octets(fields["sealed"]), PLACE)) if fields is not None else None
        except (Unsealable, ValueError, KeyError, TypeError):
            return None


def serialised(secrets: Secrets) -> bytes:
    """Return the secrets as the keyring file holds them in the plain."""
    return stated(
        {
            "format": FORMAT,
            "current": secrets.current,
            "masters": {name: text(key) for name, key in secrets.masters.items()},
            "root": text(secrets.root),
            "signing": text(secrets.signing_pem),
        }
    )


def parsed(content: bytes) -> Secrets | None:
    """Return the secrets, or None if the content is not a keyring's.

    None and not an exception: that of a parser carries the text that it could not read, and would reach a traceback.
    """
    fields = read_stated(content)
    try:
        if fields is None:
            return None
        masters = {str(name): octets(key, MASTER_SIZE) for name, key in fields["masters"].items()}
        root, signing = octets(fields["root"], ROOT_SIZE), octets(fields["signing"])
        if fields["current"] not in masters:
            return None
        return Secrets(fields["current"], MappingProxyType(masters), root, signing)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
