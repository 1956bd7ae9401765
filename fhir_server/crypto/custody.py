"""Custody: who holds the master key, the root and what is signed by them, and does the work that needs them.

A server holds a `Keyring` (keyring.py), which asks its custody. `InFile` has the secrets in this process, read from the
keyring file. `Apart` (apart.py) asks another process for each piece of work, as one asks an HSM or a KMS. That process gives
a custody of its own to `listening` (custodian.py): examples/hsm is one over PKCS#11. docs/operations.md, "Custody of the
keys", has what an HSM behind the SDF interface (GM/T 0018) is asked for each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from fhir_server.crypto.keyfile import KeyFile, KeyringError, Secrets, derived
from fhir_server.crypto.sealing import Bound, Held, Unsealable, WrappedKey, place, seal, unseal
from fhir_server.crypto.sm2 import SEED_SIZE, Signer, signer_from

SIGNED = "sm2"  # what the purposes begin with whose derived key would be a private one

log = logging.getLogger(__name__)


class Custody(Protocol):
    """What is asked of whoever keeps an installation's secrets. Methods raise KeyringError if nobody answers."""

    @property
    def remote(self) -> bool:
        """Whether an answer takes longer than working it out, so that an event loop should not wait for it."""

    @property
    def fingerprint(self) -> str:
        """What tells this keyring from another without giving anything away."""

    @property
    def signing_pem(self) -> bytes:
        """The key (EC P-256, PKCS #8) of operators' tokens, which the server signs in its own memory."""

    def masters(self) -> Sequence[str]:
        """Return the ids of the master keys that are held, the current one, which wraps, first."""

    def derive(self, purpose: str, size: int) -> bytes:
        """Return the installation's key for one purpose."""

    def wrap(self, keys: Iterable[Bound]) -> list[WrappedKey]:
        """Return the keys wrapped under the current master key."""

    def unwrap(self, keys: Iterable[Held]) -> list[bytes]:
        """Return the plain keys. Raises Unsealable if one was changed, is another's, or its master key is not held."""

    def signer(self, purpose: str) -> Signer:
        """Return what signs with the SM2 key of one purpose."""


class InFile:
    """The secrets of a keyring file in this process's memory.

    The file is looked at again before each use of a master key, which takes a microsecond: when a rotation has put
    another in its place, all processes wrap under the new master key from then on. What was read is taken over as a
    whole; a file that is damaged, gone, or another installation's changes nothing here.
    """

    __slots__ = ("_file", "_secrets", "_stamp", "_told")
    remote = False

    def __init__(self, file: KeyFile) -> None:
        """Raises KeyringError if the file cannot be used."""
        self._file = file
        self._stamp = file.stamp()
        self._secrets = file.read()
        self._told = False

    @property
    def fingerprint(self) -> str:
        return self._secrets.fingerprint

    @property
    def signing_pem(self) -> bytes:
        return self._secrets.signing_pem

    @property
    def file(self) -> KeyFile:
        return self._file

    def masters(self) -> Sequence[str]:
        secrets = self._present()
        return (secrets.current, *(name for name in secrets.masters if name != secrets.current))

    def derive(self, purpose: str, size: int) -> bytes:
        return derived(self._secrets.root, purpose, size)

    def wrap(self, keys: Iterable[Bound]) -> list[WrappedKey]:
        secrets = self._present()
        name, master = secrets.current, secrets.masters[secrets.current]
        return [WrappedKey(name, seal(master, key, place(name, owner))) for key, owner in keys]

    def unwrap(self, keys: Iterable[Held]) -> list[bytes]:
        secrets = self._present()
        return [_opened(secrets, wrapped, owner) for wrapped, owner in keys]

    def signer(self, purpose: str) -> Signer:
        return signer_from(self.derive(seed_of(purpose), SEED_SIZE))

    def _present(self) -> Secrets:
        """Return the secrets as the file has them now."""
        stamp = self._file.stamp()
        if stamp != self._stamp and stamp is not None:
            try:
                found = self._file.read()
            except KeyringError as error:
                self._warn(str(error))
            else:
                if found.fingerprint == self._secrets.fingerprint:
                    self._secrets, self._stamp, self._told = found, stamp, False
                else:
                    self._warn(
                        f"{self._file.path} is another installation's keyring now; the one read before is used on."
                    )
        return self._secrets

    def _warn(self, text: str) -> None:
        if not self._told:
            self._told = True
            log.warning("%s", text)


def seed_of(purpose: str) -> str:
    """Return the purpose under which the seed of an SM2 key is derived; nothing else is derived under such a name."""
    return purpose if purpose.startswith(SIGNED) else f"{SIGNED} {purpose}"


def _opened(secrets: Secrets, wrapped: WrappedKey, owner: bytes) -> bytes:
    master = secrets.masters.get(wrapped.master)
    if master is None:
        raise Unsealable("The key is wrapped under a master key that this keyring does not hold.")
    return unseal(master, wrapped.sealed, place(wrapped.master, owner))
