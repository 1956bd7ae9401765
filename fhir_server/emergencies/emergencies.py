"""The emergency accesses on file: sealed rows found by keyed names, one for each institution that an episode concerns.

The row of the user's institution is the clock of the episode. It is stored in the unit of the AuditEvent of the first
record that was opened, and counted up with each that follows; so are those of the institutions whose records they were,
each of which tells of that institution's own patient and records alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.audit.event import Happening
from fhir_server.auth.policy import breaks_glass
from fhir_server.auth.requester import Requester
from fhir_server.crypto.sealing import seal, unseal
from fhir_server.crypto.tokens import Tokens
from fhir_server.emergencies.filed import Filed, Review, Status, reading, standing
from fhir_server.emergencies.limit import Episode, Latest, episode_of, same
from fhir_server.fhir_json import dump, parse
from fhir_server.store.commit import Unit
from fhir_server.store.instants import EPOCH, moment
from fhir_server.store.keys import DataKeys, Owner
from fhir_server.store.marks import FIELD as MARK
from fhir_server.store.marks import LOG
from fhir_server.store.persons import Persons

EMERGENCIES = "emergencies"
OWNER = Owner(None, "emergencies")
Document = dict[str, Any]
INDEXES = (
    # Only the rows of users' institutions have a key.
    IndexModel([("key", ASCENDING), ("number", DESCENDING)], name="key", sparse=True),
    IndexModel([("org", ASCENDING), ("at", DESCENDING), ("_id", ASCENDING)], name="queue"),
)


async def ensure(database: AsyncDatabase[Document]) -> None:
    """Make the collection with its indexes."""
    await database[EMERGENCIES].create_indexes(list(INDEXES))


class _Share(NamedTuple):
    """What one institution has on file of an access.

    patient: reference; None where nothing but a number of an institution's records was told, so that it is not known which
    of its Patients it was. records: how many were its own.
    """

    institution: str
    patient: str | None
    records: int


class Emergencies:
    """The emergency accesses of this installation.

    lasting: for how long a reason opens a patient's records. entitled: whether the token has to say that its user may
    break the glass.
    """

    def __init__(
        self,
        database: AsyncDatabase[Document],
        keys: DataKeys,
        tokens: Tokens,
        persons: Persons,
        *,
        lasting: timedelta,
        entitled: bool,
    ) -> None:
        self._rows = database[EMERGENCIES]
        self._keys = keys
        self._tokens = tokens
        self._persons = persons
        self._lasting = lasting
        self._entitled = entitled

    async def counting(self, requester: Requester, persons: Iterable[Hashable], now: datetime) -> Requester:
        """Return the requester with a reason only if it counts (still) for the persons in context.

        Without one the glass is closed: everything is answered as to somebody who has stated none.
        """
        if not breaks_glass(requester):
            return requester
        if self._entitled and not requester.entitled:
            return replace(requester, reason=None)
        for person in persons:
            episode = await self._episode(self._key(requester, person), requester)
            if episode.over(now, self._lasting):
                return replace(requester, reason=None)
        return requester

    async def file(self, requester: Requester, happening: Happening, unit: Unit, *, at: int) -> None:
        """Add to the unit of a disclosure what the institutions concerned keep of it, if it broke the glass."""
        if not happening.notified or requester.patient is None:
            return
        id = requester.patient.removeprefix("Patient/")
        key = self._key(requester, (await self._persons.keys([id]))[id])
        number = (await self._episode(key, requester)).number
        (sealing,) = (await self._keys.for_writing([OWNER])).items()
        for share in _shares(requester, happening):
            name = self._name("row", f"{key}|{number}|{share.institution}|{share.patient}")
            row = {**_new(requester, share, name, sealing), "at": at}
            if share.institution == requester.organization:
                row |= {"key": key, "number": number, MARK: self._mark(key, number, at)}
            counts = {"$inc": {"times": 1, "records": share.records}, "$max": {"last": at}}
            unit.touch(EMERGENCIES, {"_id": name}, {"$setOnInsert": row, **counts})

    async def queue(
        self, institution: str, status: Status | None, *, after: tuple[int, str] | None = None, size: int
    ) -> Sequence[Filed]:
        """Return what an institution has on file, the latest first. after: (first, id) of the row before the page."""
        parts: list[Document] = [{"org": institution}]
        if status is not None:
            parts.append(standing(status))
        if after is not None:
            at, id = after
            parts.append({"$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$gt": id}}]})
        found = self._rows.find({"$and": parts}).sort([("at", DESCENDING), ("_id", ASCENDING)]).limit(size)
        return await self._read(await found.to_list())

    async def one(self, institution: str, id: str) -> Filed | None:
        """Return a row that an institution has on file, None if it has none of this id."""
        found = await self._rows.find_one({"_id": id, "org": institution})
        return (await self._read([found]))[0] if found else None

    async def review(self, filed: Filed, institution: str, review: Review, unit: Unit) -> None:
        """Add to a unit what a reviewer says of a row as they have read it.

        The unit is a Conflict if there was another access, or another review, since.
        """
        read = {"_id": filed.id, "org": institution, "times": filed.times, "reviews": len(filed.reviews)}
        row = await self._rows.find_one(read)
        (key,) = (await self._keys.for_writing([OWNER])).values()
        said = [_written(each) for each in (*filed.reviews, review)]
        changed = {
            **(row or read),
            "status": str(review.status),
            "seen": filed.times,
            "reviews": len(said),
            "said": seal(key, dump(said), _place(filed.id, "reviews")),
        }
        unit.replace(EMERGENCIES, read, changed)

    async def expire(self, before: int) -> int:
        """Remove what was reviewed and not gone on with since an instant (µs since 1970 UTC); return how many rows.

        What waits for a review stays, however old it is.
        """
        reviewed = {"last": {"$lt": before}, "$nor": [standing(Status.OPEN)]}
        return (await self._rows.delete_many(reviewed)).deleted_count

    def _key(self, requester: Requester, person: Hashable) -> str:
        """Return the name of a user's reason for a person."""
        stated = "\x1f".join((requester.user, requester.organization, str(person), same(requester.reason or "")))
        return self._name("reason", stated)

    def _name(self, kind: str, text: str) -> str:
        return f"{self._tokens(f'{kind}|{text}') % 2**64:016x}"

    async def _episode(self, key: str, requester: Requester) -> Episode:
        shown = {"number": 1, "at": 1, MARK: 1}
        row = await self._rows.find_one({"key": key}, shown, sort=[("number", DESCENDING)])
        if row and row.get(MARK) != self._mark(key, row["number"], row["at"]):
            LOG.error("when an emergency began was changed behind the server's back: its reason opens nothing more")
            return Episode(row["number"], EPOCH)
        latest = Latest(row["number"], moment(row["at"])) if row else None
        return episode_of(latest, datetime.fromtimestamp(requester.stated, UTC))

    async def adopt(self) -> None:
        """Mark what an earlier version stored without marks, as it stands."""
        async for row in self._rows.find({"key": {"$exists": True}, MARK: None}):
            mark = self._mark(row["key"], row["number"], row["at"])
            await self._rows.update_one({"_id": row["_id"], MARK: None}, {"$set": {MARK: mark}})

    def _mark(self, key: str, number: int, at: int) -> int:
        """Return what shows that the server noted when an episode began: HMAC-SM3, cut to 64 bits."""
        return self._tokens(f"mark|{key}|{number}|{at}")

    async def _read(self, rows: Sequence[Mapping[str, Any]]) -> list[Filed]:
        keys = await self._keys.for_reading(row["k"] for row in rows)
        return [_filed(row, keys[row["k"]]) for row in rows]


def _shares(requester: Requester, happening: Happening) -> list[_Share]:
    """Return what each institution keeps of an access that broke the glass; the first is the user's own."""
    own, whose = requester.organization, [each for each in happening.touched if each.patients]
    shares = [_Share(own, str(requester.patient), len({each.reference for each in whose}))]
    for patient, custodian in sorted(happening.notified):
        theirs = {each.reference for each in whose if each.custodian == custodian and patient in each.patients}
        if custodian != own:
            shares.append(_Share(custodian, f"Patient/{patient}" if theirs else None, len(theirs)))
    return shares


def _new(requester: Requester, share: _Share, id: str, sealing: tuple[int, bytes]) -> Document:
    """Return a row as it begins."""
    said = {
        "user": requester.user,
        "organization": requester.organization,
        "patient": share.patient,
        "purpose": requester.purpose,
        "reason": requester.reason,
    }
    name, key = sealing
    body = seal(key, dump(said), _place(id, "access"))
    return {"org": share.institution, "status": str(Status.OPEN), "seen": 0, "reviews": 0, "k": name, "body": body}


def _filed(row: Mapping[str, Any], key: bytes) -> Filed:
    said = parse(unseal(key, row["body"], _place(row["_id"], "access")))
    reviews = parse(unseal(key, row["said"], _place(row["_id"], "reviews"))) if "said" in row else []
    return reading(row, said, reviews)


def _written(review: Review) -> Document:
    return {"by": review.by, "at": review.at, "status": str(review.status), "note": review.note}


def _place(id: str, part: str) -> bytes:
    return f"{EMERGENCIES}/{id}/{part}".encode()
