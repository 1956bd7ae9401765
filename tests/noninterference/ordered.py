"""Ids of AuditEvents that count up, however fast they follow each other."""

from __future__ import annotations

import threading

from fhir_server.store.ids import new_id


class Ordered:
    """Gives ids as the server does, each a millisecond behind the one before at least.

    Lists of events are ordered by time and then by id. The servers' clock stands still, so that what happens within one
    millisecond would stand in another order on each of the two.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        given = int(new_id().replace("-", ""), 16)
        with self._lock:
            # A UUID of version 7 begins with 48 bits of milliseconds; six bits of the others are fixed.
            milliseconds = self._last = max(self._last + 1, given >> 80)
        digits = f"{milliseconds << 80 | given & (1 << 80) - 1:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
