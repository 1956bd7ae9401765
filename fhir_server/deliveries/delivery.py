"""A delivery: what an institution received from another one for a visit, and until when it is held.

Source: 个人信息保护法 art. 19 (kept no longer than the purpose needs) and art. 47 (deleted once the purpose is fulfilled).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from consent_engine.dates import span
from fhir_server.store.commit import Unit
from fhir_server.store.instants import microseconds
from fhir_server.store.received import DELIVERIES, HELD

# The states of a delivery beside HELD.
PURGING, PURGED = "purging", "purged"
# Rows {_id: "Type/id", delivery}: which resources came with which delivery, until it is purged.
RECEIVED = "received"
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came for a visit.

    institution: id of the Organization that received it. source: id of the one whose records they are. patient: id of the
    Patient of the visit. visit: id of its Encounter. due: when it is purged, as far as was known when it was
    last looked at.
    """

    id: str
    institution: str
    source: str
    patient: str
    visit: str
    received: datetime
    due: datetime
    state: str = HELD

    @property
    def marked(self) -> tuple[Any, ...]:
        """What a row carries a mark of: all by which is decided when it is purged, and for whom. Not how far that is."""
        named = (self.id, self.institution, self.source, self.patient, self.visit)
        return (*named, microseconds(self.received))

    def document(self) -> dict[str, Any]:
        """Return the row, without its mark."""
        return {
            "_id": self.id,
            "state": self.state,
            "org": self.institution,
            "source": self.source,
            "patient": self.patient,
            "visit": self.visit,
            "received": self.received,
            "due": self.due,
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Delivery:
        """Return the delivery that a row tells of."""
        named = (row[name] for name in ("_id", "org", "source", "patient", "visit", "received", "due", "state"))
        return cls(*named)


class Arrival(NamedTuple):
    """A delivery's row as it comes, with the resources that it brings ("Type/id"); held in the unit that stores them."""

    row: dict[str, Any]
    brought: tuple[str, ...]

    def hold(self, unit: Unit) -> None:
        """Add the delivery to a unit, which fails with Conflict if it came already."""
        unit.insert(DELIVERIES, self.row)
        for each in self.brought:
            unit.insert(RECEIVED, {"_id": each, "delivery": self.row["_id"]})


def due(encounter: Mapping[str, Any] | None, received: datetime, *, zone: tzinfo, days: int) -> datetime:
    """Return when what was received for a visit is purged: so many days after the visit.

    encounter: of the visit; without its end, or without it, the day counts on which the records were received.
    """
    period = (encounter or {}).get("period")
    ended = span(period.get("end"), zone) if isinstance(period, Mapping) else None
    day, kept = ended[1] if ended else received, timedelta(days=days)
    return day + kept if day < LATEST - kept else LATEST
