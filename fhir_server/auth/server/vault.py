"""What the authorization server stores is sealed, and found by keyed names: neither a secret nor a person in the clear."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import seal, unseal
from fhir_server.store.marks import FIELD, RowMarks

# The collections. Each row is {_id, ..., until: when MongoDB may drop it, body: sealed}.
CLIENTS = "auth_clients"
ACCOUNTS = "auth_accounts"
GRANTS = "auth_grants"
CODES = "auth_codes"
ASSERTIONS = "auth_assertions"
REVOKED = "auth_revoked"
SIGNING_KEYS = "auth_keys"
FAILURES = "auth_failures"
# In rows that change often or pass soon: what shows that the server stored them (ADR 39).
MARK = FIELD
PASSING = (GRANTS, CODES, ASSERTIONS, REVOKED, SIGNING_KEYS, FAILURES)  # rows that end by themselves


def new_secret(size: int = 32) -> str:
    """Return a fresh random text that nobody can guess, of `size` random bytes."""
    return secrets.token_urlsafe(size)


class Vault:
    """Seals, names and marks under keys that this installation's keyring yields for the authorization server alone."""

    def __init__(self, keyring: Keyring) -> None:
        self._key = keyring.derive("authorization", 16)
        self._names = keyring.derive("authorization names")
        marks = RowMarks(keyring.derive("authorization marks"))
        self.mark, self.fits = marks.of, marks.fits  # of rows that change often or pass soon

    def sealed(self, place: str, value: Mapping[str, Any]) -> bytes:
        """Return a JSON object sealed. place: where it is stored; it opens nowhere else."""
        return seal(self._key, json.dumps(value, ensure_ascii=False).encode(), place.encode())

    def opened(self, place: str, sealed: bytes) -> dict[str, Any]:
        """Return the object that was sealed for this place. Raises Unsealable."""
        found: dict[str, Any] = json.loads(unseal(self._key, sealed, place.encode()))
        return found

    def name(self, domain: str, text: str) -> str:
        """Return what stands for a text in the store: HMAC-SM3 over its domain and itself (32 bytes, hexadecimal)."""
        code = hmac.HMAC(self._names, hashes.SM3())
        code.update(f"{domain}\0{text}".encode("utf-8", "surrogatepass"))
        return code.finalize().hex()
