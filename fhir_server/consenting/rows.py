"""What the server keeps of each request beside its Consent: that it wrote the version itself, and until when it waits.

A step is taken only on the version that the row names. So what an institution's system writes into the Consent between
the question and the answer never becomes the patient's word (ADR 31). Names in the store are keyed; nothing here says who.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.asked import Request, State
from fhir_server.consenting.steps import PENDING
from fhir_server.crypto.tokens import Tokens
from fhir_server.store.commit import Unit
from fhir_server.store.instants import moment
from fhir_server.store.marks import FIELD as MARK
from fhir_server.store.marks import LOG, ChangedInStore

ROWS = "authorizations"
LOCKS = "authorization_locks"
KEPT_DAYS = 2  # how long it is remembered how often a patient was asked on a day

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one request.

    consent: id of the Consent. version: the one that the server wrote last. until: until when it waits for the patient, or
    waited (µs since 1970 UTC); until when the authorization holds is in ends.py.
    """

    consent: str
    version: int
    state: State
    until: int

    @property
    def pending(self) -> bool:
        return self.state in PENDING


@dataclass(frozen=True, slots=True)
class Lock:
    """The request that holds a question (patient, institution, scope). consent: its Consent; None: there never was one."""

    name: int
    consent: str | None


class Rows:
    """The rows of all requests."""

    def __init__(self, database: AsyncDatabase[Document], tokens: Tokens) -> None:
        self._rows = database[ROWS]
        self._locks = database[LOCKS]
        self._name = tokens.of("authorization")
        self._marks = tokens.of("authorization row")

    async def ensure(self) -> None:
        """Make the indexes: by when something is due, and by which MongoDB drops the counts of days gone by."""
        await self._rows.create_index([("state", ASCENDING), ("until", ASCENDING)], name="due")
        await self._locks.create_index([("drop", ASCENDING)], name="drop", expireAfterSeconds=0)

    async def row(self, consent: str) -> Row | None:
        found = await self._rows.find_one({"_id": consent})
        return self._row(found) if found else None

    async def rows(self, consents: Iterable[str]) -> dict[str, Row]:
        """Return the rows of these Consents, by id. Raises ChangedInStore, as all that reads a row here."""
        found = await self._rows.find({"_id": {"$in": list(consents)}}).to_list()
        return {each["_id"]: self._row(each) for each in found}

    async def lock(self, person: int, request: Request) -> Lock:
        """Return which request holds the question that another one asks. person: key of whom it is about."""
        parts = (request.purpose, ",".join(sorted(request.types)), request.since or "", request.until or "")
        name = self._name("\x1f".join(map(str, (person, request.organization, *parts))))
        found = await self._locks.find_one({"_id": name})
        return Lock(name, found["consent"] if found else None)

    async def place(self, person: int, organization: str, day: date, most: int) -> str | None:
        """Return the name of a place among those that an institution has on a day to ask a person; None if all are taken."""
        name = self._name(f"day\x1f{person}\x1f{organization}\x1f{day}")
        places = [f"{name}/{number}" for number in range(most)]
        taken = {each["_id"] for each in await self._locks.find({"_id": {"$in": places}}, {"_id": 1}).to_list()}
        return next((each for each in places if each not in taken), None)

    def take(self, place: str, unit: Unit, *, at: int) -> None:
        """Add to a unit that a place is taken. Two that take the same one conflict."""
        unit.insert(LOCKS, {"_id": place, "drop": moment(at) + timedelta(days=KEPT_DAYS)})

    def hold(self, lock: Lock, consent: str, unit: Unit) -> None:
        """Add to a unit that a request holds its question from now on."""
        document = {"_id": lock.name, "consent": consent}
        if lock.consent is None:
            unit.insert(LOCKS, document)
        else:
            unit.replace(LOCKS, {"_id": lock.name, "consent": lock.consent}, document)

    def put(self, old: Row | None, new: Row, unit: Unit) -> None:
        """Add to a unit that a row follows another, or is the first of its Consent."""
        if old is None:
            unit.insert(ROWS, self._document(new))
        else:
            found_by = {"_id": old.consent, "version": old.version, "state": old.state.value}
            unit.replace(ROWS, found_by, self._document(new))

    async def overdue(self, at: int) -> AsyncIterator[Row]:
        """Yield the requests that nobody has answered by an instant."""
        pending = [each.value for each in PENDING]
        async for each in self._rows.find({"state": {"$in": pending}, "until": {"$lte": at}}).sort("until", 1):
            try:
                row = self._row(each)
            except ChangedInStore:
                continue
            yield row

    async def adopt(self) -> None:
        """Mark what an earlier version stored without marks, as it stands."""
        async for each in self._rows.find({MARK: None}):
            await self._rows.update_one({**each, MARK: None}, {"$set": {MARK: self._mark(each)}})

    def _document(self, row: Row) -> Document:
        kept = {**asdict(row), "state": row.state.value}
        document = {"_id": kept.pop("consent"), **kept}
        return {**document, MARK: self._mark(document)}

    def _row(self, document: Document) -> Row:
        if document.get(MARK) != self._mark(document):
            LOG.error("an authorization's row was changed behind the server's back")
            raise ChangedInStore("How far this authorization is was changed in the store.")
        return Row(document["_id"], document["version"], State(document["state"]), document["until"])

    def _mark(self, document: Document) -> int:
        """Return what shows that the server stored what a row says: HMAC-SM3, cut to 64 bits."""
        return self._marks("\x1f".join(str(document[name]) for name in ("_id", "version", "state", "until")))
