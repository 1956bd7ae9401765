"""Sealing: SM4-GCM over bodies and data keys, so that the store holds nothing readable and nothing exchangeable.

Layout of what is sealed: nonce (12 random bytes) | ciphertext (as long as the plain text) | tag (16 bytes).
Random nonces are safe for some 2^32 seals under one key (NIST SP 800-38D, 8.3); a data key is one person's from one
origin, far below it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from fhir_server.crypto.keyring import Keyring

NONCE_SIZE = 12
TAG_SIZE = 16
KEY_SIZE = 16


class Unsealable(Exception):
    """The bytes were not sealed by this key for this place: changed, moved, cut, or sealed under another key."""


def seal(key: bytes, plain: bytes, aad: bytes) -> bytes:
    """Return the plain bytes sealed under a 16-byte key, 28 bytes longer.

    aad: what the sealed bytes belong to (such as type, id and version); they open only with the same.
    Source: RFC 8998 (SM4-GCM), NIST SP 800-38D.
    """
    nonce = os.urandom(NONCE_SIZE)
    sealing = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    sealing.authenticate_additional_data(aad)
    return b"".join((nonce, sealing.update(plain), sealing.finalize(), sealing.tag))


def unseal(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the plain bytes. Raises Unsealable unless key, sealed bytes and aad are those of one `seal`."""
    if len(sealed) < NONCE_SIZE + TAG_SIZE:
        raise Unsealable("The sealed bytes are cut short.")
    opening = Cipher(algorithms.SM4(key), modes.GCM(sealed[:NONCE_SIZE], sealed[-TAG_SIZE:])).decryptor()
    opening.authenticate_additional_data(aad)
    plain = opening.update(sealed[NONCE_SIZE:-TAG_SIZE])
    try:
        return plain + opening.finalize()
    except InvalidTag:
        raise Unsealable("The sealed bytes were changed, moved, or sealed under another key.") from None


def new_key() -> bytes:
    """Return a fresh random data key (16 bytes)."""
    return os.urandom(KEY_SIZE)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored. master: id of the master key that wraps it. sealed: the key, sealed by that one."""

    master: str
    sealed: bytes


class Bound(NamedTuple):
    """A data key and whose it is; once wrapped it opens for the same owner only."""

    key: bytes
    owner: bytes


class Held(NamedTuple):
    """A wrapped key as it is stored, and whose it is said to be."""

    wrapped: WrappedKey
    owner: bytes


class Wrapping:
    """Wraps data keys under the keyring's current master key, and opens those wrapped under any of its master keys."""

    __slots__ = ("_custody",)

    def __init__(self, keyring: Keyring) -> None:
        self._custody = keyring.custody

    @property
    def current(self) -> str:
        """The id of the master key under which keys are wrapped now."""
        return self._custody.masters()[0]

    @property
    def others(self) -> list[str]:
        """The ids of the other master keys that are held."""
        return list(self._custody.masters()[1:])

    def derive(self, purpose: str) -> bytes:
        """Return this installation's key (32 bytes) for one purpose."""
        return self._custody.derive(purpose, 32)

    def wrap(self, key: bytes, owner: bytes) -> WrappedKey:
        """Return the data key wrapped. owner: whose it is; the wrapped key opens for the same owner only."""
        return self._custody.wrap([Bound(key, owner)])[0]

    def unwrap(self, wrapped: WrappedKey, owner: bytes) -> bytes:
        """Return the data key. Raises Unsealable if it was changed, is another's, or its master key is not here."""
        return self._custody.unwrap([Held(wrapped, owner)])[0]

    async def latest(self) -> str:
        """Return `current`, without holding up the event loop for a custody that is elsewhere."""
        return (await asyncio.to_thread(self._custody.masters))[0] if self._custody.remote else self.current

    async def wrap_all(self, keys: Sequence[Bound]) -> list[WrappedKey]:
        """Return many keys wrapped, without holding up the event loop for a custody that is elsewhere."""
        if self._custody.remote:
            return await asyncio.to_thread(self._custody.wrap, keys)
        return self._custody.wrap(keys)

    async def unwrap_all(self, keys: Sequence[Held]) -> list[bytes]:
        """Return many plain keys. Raises Unsealable."""
        if self._custody.remote:
            return await asyncio.to_thread(self._custody.unwrap, keys)
        return self._custody.unwrap(keys)


def place(master: str, owner: bytes) -> bytes:
    """Return the aad of a wrapped key; the prefix keeps it apart from everything else ever sealed."""
    return b"\0".join((b"data key", master.encode(), owner))
