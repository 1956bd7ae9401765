"""Logical ids that the server gives."""

from __future__ import annotations

import os
import re
import time

RANDOM_BITS = 74
RANDOM_BYTES = 10
RECENT = 60_000  # milliseconds
_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a logical id that nobody can guess: a UUID of version 7 (RFC 9562, 5.7).

    It begins with the time, so that what is stored one after the other lies side by side in every index.
    """
    random = int.from_bytes(os.urandom(RANDOM_BYTES)) >> 8 * RANDOM_BYTES - RANDOM_BITS
    milliseconds = time.time_ns() // 1_000_000
    high, low = random >> 62, random & (1 << 62) - 1
    digits = f"{milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_new(id: str, version: int) -> bool:
    """Return whether the server gave an id just now, so that nothing can have named it before."""
    return version == 1 and is_ours(id) and abs(_milliseconds(id) - time.time_ns() // 1_000_000) < RECENT


def is_ours(id: str) -> bool:
    """Return whether an id has the form of those that the server gives."""
    return _OURS.fullmatch(id) is not None


def _milliseconds(id: str) -> int:
    return int(id[:8] + id[9:13], 16)
