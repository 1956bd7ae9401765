"""What binds one AuditEvent to the one before it: an HMAC-SM3 under a key that only one writer has.

A writer is the life of one process. Its events are numbered from 1 in the order in which they are stored, and each
carries in the field `chain`:

    by   the writer: 16 hexadecimal digits, random
    n    the event's number
    p    the code of the event before it (32 bytes; of the first one: zeros)
    m    the code of this event: HMAC-SM3(the writer's key, what `covered` returns)

The code covers all that an auditor or the gate goes by: whose auditors see the event, its id, version, times and data
key, and of the sealed body the nonce and the tag, which SM4-GCM binds to every bit of it (so whoever checks a code opens
the body as well; hashing it once more would cost each disclosure five times as much). It does not cover what the event is
filed under: that is made anew from the body by `reindex`, and can be compared with the body.

Source: GB/T 32905-2016 (SM3), RFC 2104 (HMAC); B. Schneier, J. Kelsey, "Secure Audit Logs to Support Computer
Forensics", 1999, for keys of writers and codes over codes.
"""

from __future__ import annotations

import hmac as constant_time
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from cryptography.hazmat.primitives import hashes, hmac

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import NONCE_SIZE, TAG_SIZE
from fhir_server.store.marks import FIELD as MARK

LOG = "AuditEvent"
FIELD = "chain"
CODE_SIZE = 32  # bytes
START = bytes(CODE_SIZE)

# The fields that an event's document has; none other may be in it, since some would change who sees it.
COVERED = frozenset({"_id", "v", "at", "org", "w", "k", "body", FIELD})
FILED = frozenset({"ix", "cx", "has", "r", "s", "e", "to", "g", "d", MARK})

# n, v, at, w.lo, w.hi, k; lengths of the body, the id and the institution's id.
_NUMBERS = struct.Struct(">QqqqqqIII")

Document = Mapping[str, Any]


def whole(value: Any) -> TypeGuard[int]:
    """Return whether a value from the database is a whole number: large ones are of a subclass of int."""
    return isinstance(value, int) and not isinstance(value, bool)


class Position(NamedTuple):
    """How far a chain reaches: the last number, the code of the last event, how many events there are."""

    n: int = 0
    m: bytes = START
    size: int = 0


class Links:
    """Makes and checks the codes of one writer."""

    __slots__ = ("_keyed", "writer")

    def __init__(self, keyring: Keyring, writer: str) -> None:
        self.writer = writer
        self._keyed = hmac.HMAC(keyring.derive(f"audit-chain/{writer}"), hashes.SM3())

    def code(self, previous: bytes, n: int, document: Document) -> bytes:
        """Return the code of an event with this number behind one with this code."""
        keyed = self._keyed.copy()
        keyed.update(covered(previous, n, document))
        return keyed.finalize()

    def fits(self, document: Document, *, n: int | None = None, of: Document | None = None) -> bool:
        """Return whether a document carries the code of what it says.

        n: as if that were its number. of: as if it carried the codes of another document. False for whatever is malformed.
        """
        try:
            chain = (of or document)[FIELD]
            said = self.code(chain["p"], document[FIELD]["n"] if n is None else n, document)
            return constant_time.compare_digest(said, chain["m"])
        except (KeyError, TypeError, AttributeError, ValueError, struct.error):
            return False


def covered(previous: bytes, n: int, document: Document) -> bytes:
    """Return the bytes that an event's code is made of; no two documents have the same."""
    body, when = document["body"], document["w"]
    id, institution = document["_id"].encode(), document["org"].encode()
    numbers = _NUMBERS.pack(
        n,
        document["v"],
        document["at"],
        when["lo"],
        when["hi"],
        document["k"],
        len(body),
        len(id),
        len(institution),
    )
    return b"".join((previous, numbers, body[:NONCE_SIZE], body[-TAG_SIZE:], id, institution))
