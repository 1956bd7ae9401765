"""When the authorizations that hold will end by themselves: by it patients are reminded, and those outside are told.

A row for each Consent that holds and has an end, whoever wrote it; it is written in the unit of the version (following.py).
Rows only say when to look: what is told goes by the Consent, and rows that are missing or say something else than it are
found and mended (renewing.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.commit import Unit

ENDS = "authorization_ends"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """The end of an authorization. version: of the Consent that says so. until: µs since 1970 UTC.

    reminded: whether the patient was told that it comes soon.
    """

    consent: str
    version: int
    until: int
    reminded: bool = False


class Ends:
    """The rows of all authorizations."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._rows = database[ENDS]

    async def ensure(self) -> None:
        """Make the index by when something is due."""
        await self._rows.create_index([("until", ASCENDING)], name="until")

    def note(self, end: End, unit: Unit) -> None:
        """Add to the unit of a version that it ends then."""
        unit.touch(ENDS, {"_id": end.consent}, {"$set": _document(end)})

    def lift(self, consent: str, unit: Unit) -> None:
        """Add to the unit of a version that it does not hold, or has no end."""
        unit.touch(ENDS, {"_id": consent}, {"$set": {"until": None}})

    def remind(self, end: End, unit: Unit) -> None:
        """Add to a unit that the patient was reminded. It is a Conflict if there is another version by then."""
        unit.replace(ENDS, _found(end), {"_id": end.consent, **_document(replace(end, reminded=True))})

    def close(self, end: End, unit: Unit) -> None:
        """Add to a unit that the end was told of. It is a Conflict if there is another version by then."""
        unit.delete(ENDS, _found(end))

    async def coming(self, at: int, before: int) -> AsyncIterator[End]:
        """Yield the ends between two instants of which nobody was reminded yet."""
        async for row in self._rows.find({"until": {"$gt": at, "$lte": before}, "reminded": False}).sort("until", 1):
            yield _end(row)

    async def of(self, consents: Iterable[str]) -> dict[str, End]:
        """Return the rows of Consents by id, without those that say that there is no end."""
        rows = await self._rows.find({"_id": {"$in": list(consents)}, "until": {"$ne": None}}).to_list()
        return {each["_id"]: _end(each) for each in rows}

    def mend(self, old: End | None, new: End, unit: Unit) -> None:
        """Add to a unit that a row says what the Consent says. It is a Conflict if the row is another one by then."""
        if old is None:
            unit.insert(ENDS, {"_id": new.consent, **_document(new)})
        else:
            unit.replace(ENDS, _found(old), {"_id": new.consent, **_document(new)})

    async def past(self, at: int) -> AsyncIterator[End]:
        """Yield the ends that have come by an instant, and drop the rows of what has none any more."""
        await self._rows.delete_many({"until": None})
        async for row in self._rows.find({"until": {"$lte": at}}).sort("until", 1):
            yield _end(row)


def _found(end: End) -> Document:
    return {"_id": end.consent, "version": end.version, "until": end.until, "reminded": end.reminded}


def _document(end: End) -> Document:
    return {name: value for name, value in asdict(end).items() if name != "consent"}


def _end(row: Document) -> End:
    return End(row["_id"], row["version"], row["until"], row["reminded"])
