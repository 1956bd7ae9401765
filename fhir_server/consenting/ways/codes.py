"""Codes that patients give back: six digits, five minutes, five tries, for one request alone.

A code is bound to the patient, to who asks and to all that is asked for; a new one for the same voids the one before. Of
a code the store holds HMAC-SM3 with a salt, under a key of the keyring. A try is counted before it is compared, in one
operation of the database, so that many at once in many processes are not more than five.
Source: OWASP ASVS 4.0.3, V2.7 (out-of-band verifiers); NIST SP 800-63B, 5.1.3.2.
"""

from __future__ import annotations

import os
import secrets
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.asked import NotVerified, Request
from fhir_server.consenting.ways.box import Box
from fhir_server.errors import Problem
from fhir_server.store.commit import DURABLE, Unit
from fhir_server.store.instants import moment

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

WRONG = "验证码不正确。"
LAPSED = "验证码已失效：超过五分钟、已使用，或尝试次数已满。请重新发送。"
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

    def __init__(self, database: AsyncDatabase[dict[str, Any]], box: Box) -> None:
        self._codes = database.get_collection(CODES, write_concern=DURABLE)
        self._issued = database.get_collection(ISSUED, write_concern=DURABLE)
        self._box = box

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
        kept = {
            "salt": salt,
            "code": self._box.code(salt, _bound(request), code),
            "tries": 0,
            "until": moment(at) + LASTING,
            "holder": self._box.sealed(_place(name), holder._asdict()),
            "kept": datetime.now(UTC),
        }
        unit.touch(CODES, {"_id": name}, {"$set": kept})
        return code

    async def take(self, request: Request, given: str, unit: Unit, *, at: int) -> Holder:
        """Return whose code was given back; the unit uses it up. Raises NotVerified."""
        name = self._name(request)
        row = await self._codes.find_one_and_update(
            {"_id": name, "tries": {"$lt": TRIES}, "until": {"$gt": moment(at)}},
            {"$inc": {"tries": 1}},
            return_document=ReturnDocument.AFTER,
        )
        if row is None:
            raise NotVerified(LAPSED, 0)
        if not self._box.fits(row["code"], row["salt"], _bound(request), _digits(given)):
            raise NotVerified(WRONG, TRIES - row["tries"])
        # Of two that come with it at once, one finds it.
        unit.delete(CODES, {"_id": name, "salt": row["salt"]})
        return Holder(**self._box.opened(_place(name), row["holder"]))

    async def _count(self, request: Request, now: datetime) -> None:
        """Count a code before it is made. Raises TooManyCodes."""
        fresh = {"$gt": ["$since", now - timedelta(hours=1)]}
        row = await self._issued.find_one_and_update(
            {"_id": self._box.name("codes issued", f"{request.patient}|{request.organization}")},
            [
                {
                    "$set": {
                        "n": {"$cond": [fresh, {"$add": ["$n", 1]}, 1]},
                        "since": {"$cond": [fresh, "$since", now]},
                        "kept": datetime.now(UTC),
                    }
                }
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if row is None or row["n"] > MOST_AN_HOUR:
            raise TooManyCodes(TOO_MANY)

    def _name(self, request: Request) -> str:
        """Return under what a code is kept: one at a time for what a user asks of a patient."""
        return self._box.name("code", f"{request.user}\x1e{request.scope}")


def _bound(request: Request) -> str:
    return "\x1e".join((request.consent, request.way, request.user, request.scope))


def _digits(given: str) -> str:
    """Return a code as it was meant: full-width digits and spaces count as typed.

    >>> _digits(" １２３ 456")
    '123456'
    """
    return "".join(unicodedata.normalize("NFKC", given).split())


def _place(name: str) -> str:
    return f"consent code|{name}"
