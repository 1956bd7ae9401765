"""What the ways store is sealed, and found by keyed names, under keys that the keyring yields for them alone."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import seal, unseal
from fhir_server.store.marks import RowMarks


class Box:
    """Seals messages, names and marks rows, and makes the codes of what patients give back."""

    def __init__(self, keyring: Keyring) -> None:
        self._key = keyring.derive("consent ways", 16)
        self._names = keyring.derive("consent ways names")
        self._codes = keyring.derive("consent ways codes")
        self.marks = RowMarks(keyring.derive("consent ways marks"))

    def sealed(self, place: str, value: Mapping[str, Any]) -> bytes:
        """Return a JSON object sealed. place: where it is stored; it opens nowhere else."""
        return seal(self._key, json.dumps(value, ensure_ascii=False).encode(), place.encode())

    def opened(self, place: str, sealed: bytes) -> dict[str, Any]:
        """Return the object that was sealed for this place. Raises Unsealable."""
        found: dict[str, Any] = json.loads(unseal(self._key, sealed, place.encode()))
        return found

    def name(self, domain: str, text: str) -> str:
        """Return what stands for a text in the store: HMAC-SM3 (32 bytes, hexadecimal)."""
        return _keyed(self._names, domain.encode(), text.encode()).hex()

    def code(self, salt: bytes, bound: str, digits: str) -> bytes:
        """Return what is stored of a code: HMAC-SM3 over salt, what the code is bound to, and the code."""
        return _keyed(self._codes, salt, bound.encode(), digits.encode())

    def fits(self, stored: bytes, salt: bytes, bound: str, digits: str) -> bool:
        """Return whether a code is the one of which this was stored; it takes as long either way."""
        return hmac.compare_digest(stored, self.code(salt, bound, digits))


def _keyed(key: bytes, *parts: bytes) -> bytes:
    """Return HMAC-SM3 of parts, each behind its length, so that no two lists of parts are taken for each other."""
    made = HMAC(key, hashes.SM3())
    for part in parts:
        made.update(len(part).to_bytes(4, "big") + part)
    return made.finalize()
