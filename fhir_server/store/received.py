"""Records that were received from elsewhere for a visit: sealed under keys of their delivery, and written under its row.

A document of such a record names its delivery (dl), and so do all its versions. Whatever stores one touches the row of
the delivery as long as it is held, in the same unit; to begin the purge is to change the row. So from then on no unit
stores anything of the delivery, whichever process made it and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.store.commit import Unit
from fhir_server.store.keys import DELIVERY, Owner

DELIVERIES = "deliveries"
HELD = "held"


def owner(person: int | None, custodian: str, delivery: str | None) -> Owner:
    """Return under whose key a record is sealed. delivery: id of the one that it came with, None if with none."""
    return Owner(person, DELIVERY + delivery if delivery else custodian)


def hold(unit: Unit, deliveries: Iterable[str | None]) -> None:
    """Let a unit fail with Conflict unless these deliveries are still held when it is stored.

    An upsert that finds the row in another state would insert it a second time, which its id forbids.
    """
    for each in sorted({each for each in deliveries if each}):
        unit.touch(DELIVERIES, {"_id": each, "state": HELD}, {"$inc": {"n": 1}})


def delivery_of(document: Mapping[str, Any] | None) -> str | None:
    """Return the id of the delivery that a stored document came with."""
    return (document or {}).get("dl")
