"""Share files: a keyring that no one person can open, split among several (shamir.py).

Two kinds. `keyring`: the shares restore the whole keyring file. `sealing`: they restore the key of `keyring.sealed`, the
keyring file sealed by SM4-GCM, which then is all that lies in the data folder; a rotation changes that file and no share.
A share file is JSON: {format, kind, keyring (fingerprint), set (which split), index, threshold, shares, share (base64),
protected (how the passphrase is used, or null), checksum (SM3)}; mode 0600.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from argon2.low_level import Type, hash_secret_raw

from fhir_server.crypto.files import FORMAT, OpenToOthers, octets, read_private, read_stated, stated, text, written
from fhir_server.crypto.keyfile import KeyFile, KeyringError, Secrets, parsed, serialised
from fhir_server.crypto.sealing import KEY_SIZE, Unsealable, new_key, seal, unseal
from fhir_server.crypto.shamir import joined, split

Kind = Literal["keyring", "sealing"]
# RFC 9106, section 4, second recommended option, with a key's length for the result.
ARGON2 = {"passes": 3, "memory_kib": 65_536, "lanes": 4}
MOST_MEMORY_KIB, MOST_PASSES, MOST_LANES = 1 << 20, 64, 64
SALT_SIZE = 16
SHORTEST_PASSPHRASE = 12  # characters


@dataclass(frozen=True, slots=True, repr=False)
class Share:
    """One share. content: its bytes, sealed if `protected`, which then is {salt, passes, memory_kib, lanes}."""

    kind: Kind
    keyring: str
    set: str
    index: int
    threshold: int
    shares: int
    content: bytes
    protected: Mapping[str, Any] | None = None

    def protect(self, passphrase: str) -> Share:
        """Return this share sealed under a passphrase (argon2id, SM4-GCM). Raises KeyringError if that is too short."""
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise KeyringError(f"A passphrase has at least {SHORTEST_PASSPHRASE} characters.")
        how = {**ARGON2, "salt": text(os.urandom(SALT_SIZE))}
        return replace(self, content=seal(key_of(passphrase, how), self.content, self._place()), protected=how)

    def opened(self, passphrase: str) -> Share:
        """Return this share without its passphrase. Raises KeyringError if it is another one."""
        if self.protected is None:
            return self
        try:
            plain = unseal(key_of(passphrase, self.protected), self.content, self._place())
        except Unsealable:
            raise KeyringError(f"The passphrase does not open share {self.index}.") from None
        return replace(self, content=plain, protected=None)

    def file(self) -> bytes:
        """Return the content of the share's file."""
        fields = asdict(self)
        return stated({"format": FORMAT, **fields, "content": text(self.content)})

    def _place(self) -> bytes:
        said = (self.kind, self.keyring, self.set, str(self.index), str(self.threshold), str(self.shares))
        return b"\0".join((b"share", *(each.encode() for each in said)))

    def __repr__(self) -> str:
        return f"Share({self.index} of {self.shares}, {self.keyring})"


def key_of(passphrase: str, how: Mapping[str, Any]) -> bytes:
    """Return the SM4 key that a passphrase yields. how: {salt, passes, memory_kib, lanes}. Source: RFC 9106 (argon2id)."""
    return hash_secret_raw(
        passphrase.encode(),
        octets(how["salt"]),
        time_cost=min(int(how["passes"]), MOST_PASSES),
        memory_cost=min(int(how["memory_kib"]), MOST_MEMORY_KIB),
        parallelism=min(int(how["lanes"]), MOST_LANES),
        hash_len=KEY_SIZE,
        type=Type.ID,
    )


def whole(secrets: Secrets, *, shares: int, threshold: int) -> list[Share]:
    """Return shares of which `threshold` restore the whole keyring. Raises KeyringError for numbers that do not fit."""
    return _shares("keyring", secrets.fingerprint, serialised(secrets), shares, threshold)


def sealing(secrets: Secrets, path: Path, *, shares: int, threshold: int) -> tuple[KeyFile, list[Share]]:
    """Return a sealed keyring file that is not written yet, and shares of its fresh key. Raises KeyringError.

    Write the shares first: a sealed keyring without them is lost.
    """
    key = new_key()
    return KeyFile(path, key), _shares("sealing", secrets.fingerprint, key, shares, threshold)


def _shares(kind: Kind, fingerprint: str, secret: bytes, shares: int, threshold: int) -> list[Share]:
    of = os.urandom(4).hex()
    try:
        parts = split(secret, shares=shares, threshold=threshold)
    except ValueError as error:
        raise KeyringError(f"This cannot be split so: {error}.") from None
    return [Share(kind, fingerprint, of, index, threshold, shares, part) for index, part in parts.items()]


def name(share: Share) -> str:
    """Return the name of a share's file."""
    return f"share-{share.keyring}-{share.set}-{share.index}.json"


def write(share: Share, path: Path) -> None:
    """Write a share's file. Raises KeyringError if there is a file already or it cannot be made."""
    if path.exists():
        raise KeyringError(f"{path} exists already; a share is not written over.")
    try:
        written(path, share.file())
    except OSError as error:
        raise KeyringError(f"The share {path} cannot be written: {error.strerror}.") from None


def read(path: Path) -> Share:
    """Return the share in a file. Raises KeyringError if it is damaged, open to other users, or not a share."""
    try:
        fields = read_stated(read_private(path))
        if fields is not None:
            del fields["format"]
            share = Share(**{**fields, "content": octets(fields["content"])})
            if share.kind in ("keyring", "sealing") and 1 <= share.index <= share.shares:
                return share
    except OpenToOthers:
        raise KeyringError(f"The share {path} is open to other users. Close it with: chmod 600 '{path}'") from None
    except OSError as error:
        raise KeyringError(f"The share {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise KeyringError(f"{path} is damaged, or not a share of a keyring.")


def gathered(paths: Iterable[Path], passphrase: Callable[[Share], str]) -> list[Share]:
    """Return the shares in these files, opened. passphrase: asked for that of each protected share. Raises KeyringError."""
    shares = [read(path) for path in paths]
    _fit(shares)
    return [share.opened(passphrase(share)) if share.protected else share for share in shares]


def _fit(shares: list[Share]) -> None:
    if not shares:
        raise KeyringError("No share was given.")
    first = shares[0]
    if any((each.set, each.kind, each.keyring) != (first.set, first.kind, first.keyring) for each in shares):
        raise KeyringError("The shares are not of the same split: take those whose `set` is the same.")
    count = len({each.index for each in shares})
    if count < first.threshold:
        raise KeyringError(f"{first.threshold} different shares are needed, and {count} given.")


def restored(shares: list[Share], sealed_at: Path) -> Secrets:
    """Return the keyring that shares of either kind open. sealed_at: where keyring.sealed lies. Raises KeyringError."""
    _fit(shares)
    secret = joined({each.index: each.content for each in shares})
    found = KeyFile(sealed_at, secret).read() if shares[0].kind == "sealing" else parsed(secret)
    if found is None or found.fingerprint != shares[0].keyring:
        raise KeyringError("The shares do not give the keyring that they name: one of them was changed.")
    return found


def opening(shares: list[Share], path: Path) -> KeyFile:
    """Return the sealed keyring file that shares open. Raises KeyringError."""
    _fit(shares)
    if shares[0].kind != "sealing":
        raise KeyringError(
            "These shares hold a keyring of their own, not the key of a sealed one: fhir-facade keys combine."
        )
    file = KeyFile(path, joined({each.index: each.content for each in shares}))
    if file.read().fingerprint != shares[0].keyring:
        raise KeyringError(f"The keyring {path} is not the one that these shares open.")
    return file
