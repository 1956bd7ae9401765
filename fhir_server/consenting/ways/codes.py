"""Codes that patients give back: six digits, five minutes, five tries, for one request alone.

A code is bound to the patient, to who asks (person, or client of a system, and institution) and to all that is asked for; a
new one for the same voids the one before. Of a code the store holds HMAC-SM3 with a salt, under a key of the keyring. A try
is counted before it is compared, in the place of the count that was read, so that many at once in many processes are not
more than five. Rows carry a mark over all that they say (store/marks.py): what was changed behind the server's back is
no code, and a patient whose count was changed is sent no more. An earlier row that is put back whole, mark included, is
known to the processes that have seen a later one.
Source: OWASP ASVS 4.0.3, V2.7 (out-of-band verifiers); NIST SP 800-63B, 5.1.3.2.
"""

from __future__ import annotations

import os
import secrets
import unicodedata
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.consenting.asked import NotVerified, Request
from fhir_server.consenting.ways.box import Box
from fhir_server.errors import Problem
from fhir_server.store.commit import DURABLE, Unit
from fhir_server.store.instants import microseconds, moment
from fhir_server.store.marks import FIELD as MARK
from fhir_server.store.marks import LOG

CODES = "consent_codes"
ISSUED = "consent_codes_issued"
DIGITS = 6
LASTING = timedelta(minutes=5)
TRIES = 5
SALT_SIZE = 16
# To one patient for one institution. Each is five chances in a million.
MOST_AN_HOUR = 10
# For so long MongoDB keeps what has ended at the latest after it was stored.
KEPT_SECONDS = 2 * 3_600
# Of so many codes a process remembers how often they were tried.
MOST_SEEN = 20_000
BEGINNING = (0, 0)

Row = dict[str, Any]

WRONG = "验证码不正确。"
LAPSED = "验证码已失效：超过五分钟、已使用、尝试次数已满，或请求由他人发起。请重新发送。"
TOO_MANY = "向该患者发送验证码过于频繁，请一小时后再试，或改用其他方式。"


class TooManyCodes(Problem):
    """No more codes are sent to this patient for this institution at present."""

    status, issue = 429, "throttled"


class Holder(NamedTuple):
    """Whose a code is.

    by: "Patient/…" or "RelatedPerson/…". own: where it was sent to is out of the hands of who asks (asked.py, Proof).
    """

    by: str
    own: bool


class Codes:
    """The codes that wait to be given back; they end by themselves."""

    def __init__(self, database: AsyncDatabase[Row], box: Box) -> None:
        self._codes = database.get_collection(CODES, write_concern=DURABLE)
        self._issued = database.get_collection(ISSUED, write_concern=DURABLE)
        self._box = box
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    async def ensure(self) -> None:
        """Make the indexes by which MongoDB drops what has ended."""
        index = IndexModel([("kept", ASCENDING)], name="kept", expireAfterSeconds=KEPT_SECONDS)
        await self._codes.create_indexes([index])
        await self._issued.create_indexes([index])

    async def issue(self, request: Request, holder: Holder, unit: Unit, *, at: int) -> str:
        """Return a new code, to be sent to the holder; the unit stores what is kept of it. at: µs since 1970 UTC.

        Raises TooManyCodes.
        """
        await self._count(request, moment(at))
        name, code, salt = self._name(request), f"{secrets.randbelow(10**DIGITS):0{DIGITS}}", os.urandom(SALT_SIZE)
        row = {
            "_id": name,
            "salt": salt,
            "code": self._box.code(salt, _bound(request), code),
            "tries": 0,
            "until": moment(at) + LASTING,
            "holder": self._box.sealed(_place(name), holder._asdict()),
            "kept": datetime.now(UTC),
        }
        made = self._marked(CODES, row)
        unit.touch(CODES, {"_id": made.pop("_id")}, {"$set": made})
        return code

    async def take(self, request: Request, given: str, unit: Unit, *, at: int) -> Holder:
        """Return whose code was given back; the unit uses it up. Raises NotVerified."""
        row = await self._tried(self._name(request), moment(at))
        if row is None:
            raise NotVerified(LAPSED, 0)
        if not self._box.fits(row["code"], row["salt"], _bound(request), _digits(given)):
            raise NotVerified(WRONG, TRIES - row["tries"])
        # Of two that come with it at once, one finds it.
        unit.delete(CODES, {"_id": row["_id"], "salt": row["salt"]})
        return Holder(**self._box.opened(_place(row["_id"]), row["holder"]))

    async def _tried(self, name: str, now: datetime) -> Row | None:
        """Return the row of a code with one more try counted and stored; None if there is none to be tried.

        Each time that somebody else's try comes first there is one less, so this ends.
        """
        while (row := await self._codes.find_one({"_id": name})) is not None and self._stands(row, now):
            counted = self._marked(CODES, {**row, "tries": row["tries"] + 1})
            if (await self._codes.replace_one({"_id": name, MARK: row[MARK]}, counted)).modified_count:
                self._note(counted)
                return counted
        return None

    def _stands(self, row: Row, now: datetime) -> bool:
        """Return whether a row is as the server stored it last, as far as it knows, and may be tried now."""
        if not self._as_stored(CODES, row):
            return False
        return self._seen.get(row["_id"], BEGINNING) <= _turn(row) and row["tries"] < TRIES and row["until"] > now

    def _note(self, row: Row) -> None:
        """Remember how often a code was tried: an earlier row that somebody puts back is known by it."""
        self._seen[row["_id"]] = _turn(row)
        self._seen.move_to_end(row["_id"])
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)

    async def _count(self, request: Request, now: datetime) -> None:
        """Count a code before it is made. Raises TooManyCodes."""
        name = self._box.name("codes issued", f"{request.patient}|{request.organization}")
        while True:
            row = await self._issued.find_one({"_id": name})
            if row is not None and not self._as_stored(ISSUED, row):
                raise TooManyCodes(TOO_MANY)
            lately: Row = row if row and row["since"] > now - timedelta(hours=1) else {"n": 0, "since": now}
            if lately["n"] >= MOST_AN_HOUR:
                raise TooManyCodes(TOO_MANY)
            counted = {"_id": name, "n": lately["n"] + 1, "since": lately["since"], "kept": datetime.now(UTC)}
            if await self._counted(row, self._marked(ISSUED, counted)):
                return

    async def _counted(self, row: Row | None, counted: Row) -> bool:
        """Store a count in the place of the one that was read; return whether nobody else has counted meanwhile."""
        if row is not None:
            found = {"_id": row["_id"], MARK: row[MARK]}
            return bool((await self._issued.replace_one(found, counted)).modified_count)
        try:
            await self._issued.insert_one(counted)
        except DuplicateKeyError:
            return False
        return True

    def _marked(self, collection: str, row: Row) -> Row:
        return {**row, MARK: self._box.marks.of(collection, *_said(collection, row))}

    def _as_stored(self, collection: str, row: Row) -> bool:
        """Return whether a row carries the mark of what it says; that it does not is told on the log."""
        try:
            fits = self._box.marks.fits(row.get(MARK), collection, *_said(collection, row))
        except (KeyError, TypeError, AttributeError):
            fits = False
        if not fits:
            LOG.error("a row of %s was changed behind the server's back", collection)
        return fits

    def _name(self, request: Request) -> str:
        """Return under what a code is kept: one at a time for what somebody asks of a patient."""
        return self._box.name("code", f"{_asks(request)}\x1e{request.scope}")


def _said(collection: str, row: Row) -> tuple[Any, ...]:
    """Return what the mark of a row is made of: all of it but when MongoDB drops it. Raises what malformed rows raise."""
    if collection == ISSUED:
        return row["_id"], row["n"], microseconds(row["since"]) // 1_000
    return row["_id"], *_turn(row), *(row[name].hex() for name in ("salt", "code", "holder"))


def _turn(row: Row) -> tuple[int, int]:
    """Return until when a code is good (ms since 1970 UTC), and how often it was tried: what only grows under one name."""
    return microseconds(row["until"]) // 1_000, row["tries"]


def _asks(request: Request) -> str:
    return "\x1e".join((request.user, request.client or ""))


def _bound(request: Request) -> str:
    return "\x1e".join((request.consent, request.way, _asks(request), request.scope))


def _digits(given: str) -> str:
    """Return a code as it was meant: full-width digits and spaces count as typed.

    >>> _digits(" １２３ 456")
    '123456'
    """
    return "".join(unicodedata.normalize("NFKC", given).split())


def _place(name: str) -> str:
    return f"consent code|{name}"
