"""The keyring: what an installation's keys do for the rest of the program, wherever they are kept (custody.py)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from fhir_server.crypto.custody import Custody, InFile
from fhir_server.crypto.keyfile import KeyFile, KeyringError, derived, generated
from fhir_server.crypto.sm2 import Signer

__all__ = ["Keyring", "KeyringError", "derived"]


class Keyring:
    """The keys of one installation. custody: who holds them and does the work that needs them."""

    def __init__(self, custody: Custody) -> None:
        self.custody = custody

    @classmethod
    def open(cls, path: Path) -> Keyring:
        """Return the keyring in the file, which is created first if it is absent; all processes get the same one.

        Raises KeyringError if the file is damaged, open to other users, or cannot be read or made; and if there is a
        sealed one beside it, in whose place no new one is put.
        """
        file = KeyFile(path)
        if not path.exists():
            if (sealed := path.with_suffix(".sealed")).exists():
                raise KeyringError(
                    f"The keyring {sealed} is sealed, and nobody has opened it: run `fhir-facade serve` or "
                    "`fhir-facade keys custodian` on this folder with enough shares, and keep that running."
                )
            file.create(generated())
        return cls(InFile(file))

    def derive(self, purpose: str, size: int = 32) -> bytes:
        """Return this installation's key for one purpose, such as "audit"."""
        return self.custody.derive(purpose, size)

    def signer(self, purpose: str = "sm2") -> Signer:
        """Return what signs with this installation's SM2 key for one purpose."""
        return self.custody.signer(purpose)

    @cached_property
    def sm2(self) -> Signer:
        """This installation's SM2 key."""
        return self.signer()

    @property
    def index_key(self) -> bytes:
        """The key (32 bytes) of index tokens."""
        return self.derive("index")

    @property
    def cursor_key(self) -> bytes:
        """The key (16 bytes, SM4) that seals page cursors."""
        return self.derive("cursor", 16)

    @property
    def signing_pem(self) -> bytes:
        """The token signer, an EC P-256 private key."""
        return self.custody.signing_pem

    @property
    def fingerprint(self) -> str:
        """What tells this keyring from another without giving anything away; a database remembers it."""
        return self.custody.fingerprint

    def __repr__(self) -> str:
        return f"Keyring({self.fingerprint})"
