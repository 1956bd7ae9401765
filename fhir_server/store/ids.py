"""Logical ids that the server gives."""

from __future__ import annotations

import secrets
import time
import uuid

RANDOM_BITS = 74


def new_id() -> str:
    """Return a logical id that nobody can guess: a UUID of version 7 (RFC 9562, 5.7).

    It begins with the time, so that what is stored one after the other lies side by side in every index.
    """
    random = secrets.randbits(RANDOM_BITS)
    milliseconds = time.time_ns() // 1_000_000
    high, low = random >> 62, random & (1 << 62) - 1
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))
