"""What an institution's auditors have before them of one emergency access, and what they said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Document = dict[str, Any]


class Status(StrEnum):
    """Where the review stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    QUESTIONED = "questioned"


# What a reviewer can say.
SAID = (Status.ACCEPTED, Status.QUESTIONED)


@dataclass(frozen=True, slots=True)
class Review:
    """What one reviewer said. by: reference of the user. at: microseconds since 1970 UTC."""

    by: str
    at: int
    status: Status
    note: str


@dataclass(frozen=True, slots=True)
class Filed:
    """One emergency access as one institution has it on file.

    user: reference; organization: id of the user's institution; patient: reference, in the user's institution that which
    was in context, in others that of their own record, None where only a number was told. first, last: microseconds since
    1970 UTC. times: answers that the reason has opened; records: how many records were in them. said: by the last review.
    seen: the times of which that reviewer knew.
    """

    id: str
    user: str
    organization: str
    patient: str | None
    purpose: str
    reason: str
    first: int
    last: int
    times: int
    records: int
    said: Status = Status.OPEN
    seen: int = 0
    reviews: tuple[Review, ...] = ()

    @property
    def status(self) -> Status:
        """Where the review stands: what came after it was accepted was not accepted with it."""
        return Status.OPEN if self.said is Status.ACCEPTED and self.times > self.seen else self.said


def reading(row: Mapping[str, Any], said: Mapping[str, Any], reviews: list[Mapping[str, Any]]) -> Filed:
    """Return what a stored row is. said, reviews: what was sealed in it."""
    return Filed(
        id=row["_id"],
        **said,
        first=row["at"],
        last=row["last"],
        times=row["times"],
        records=row["records"],
        said=Status(row["status"]),
        seen=row["seen"],
        reviews=tuple(Review(each["by"], each["at"], Status(each["status"]), each["note"]) for each in reviews),
    )


def standing(status: Status) -> Document:
    """Return the MongoDB filter of the rows whose review stands there; the same as Filed.status."""
    more = {"$expr": {"$gt": ["$times", "$seen"]}}
    match status:
        case Status.OPEN:
            return {"$or": [{"status": str(Status.OPEN)}, {"status": str(Status.ACCEPTED), **more}]}
        case Status.ACCEPTED:
            return {"status": str(Status.ACCEPTED), "$nor": [more]}
        case Status.QUESTIONED:
            return {"status": str(Status.QUESTIONED)}
