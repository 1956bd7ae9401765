"""Anchors: signed statements of how far the chains of the audit log reach, themselves one chain.

Rows of the collection `audit_anchors`, numbered without gaps in `_id`:

    kind       see Kind
    at         when, microseconds since 1970 UTC
    previous   the digest of the anchor before, so that none can be taken away or put in between
    by, n, m   the writer, and how far its chain reaches: number and code of its last event (hexadecimal)
    count      how many events of it there are; of BEGUN and EXPIRED without a writer: events from before the chain
    ranges     numbers (from, to) that stand for no event: what was to be stored under them may never have been
    until      events stored before this instant may be gone (EXPIRED)
    signature  SM2 over all of it

Whoever can write to the database but has no key can make none. The newest one proves all before it by their digests; kept
elsewhere as well (`fhir-facade audit anchor --print`) it convicts even somebody who has the keys.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from fhir_server.audit.links import FIELD, LOG, whole
from fhir_server.crypto.keyring import Keyring, KeyringError
from fhir_server.crypto.sm2 import Signer, sm3, verify
from fhir_server.store.commit import DURABLE
from fhir_server.store.instants import microseconds

ANCHORS = "audit_anchors"
KEPT_FILE = "audit-anchor.json"
PURPOSE = "audit"
TRIES = 50
DOMAIN = b"fhir-facade audit anchor\0"

Database = AsyncDatabase[dict[str, Any]]
log = logging.getLogger(__name__)


class Unanchored(PyMongoError):
    """Nothing can be said of the log, so nothing can be stored in it: to clients the same as a store that fails."""


class Kind(StrEnum):
    """What an anchor says."""

    BEGUN = "begun"  # the first one: from now on all events are chained; count: those that were there before
    OPENS = "opens"  # a writer is about to store its first event
    STANDS = "stands"  # a writer's chain reaches so far
    VOID = "void"  # likewise; of the numbers in ranges nobody knows that they were stored, and nothing rested on them
    CLOSED = "closed"  # a writer's chain ends
    LEFT = "left"  # a writer's chain reaches so far, as another process found it
    EXPIRED = "expired"  # a writer's events up to this number may be gone, since they were older than they must be kept


@dataclass(frozen=True, slots=True)
class Anchor:
    """One anchor, as the module says."""

    seq: int
    kind: Kind
    at: int
    previous: str
    by: str = ""
    n: int = 0
    m: str = ""
    count: int = 0
    ranges: tuple[tuple[int, int], ...] = ()
    until: int = 0
    signature: str = ""

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        said = {name: value for name, value in self.content().items() if name != "signature"}
        return DOMAIN + json.dumps(said, sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """SM3 of what is signed and of the signature, hexadecimal: by this the next anchor names it."""
        return sm3(self.signed, self.signature.encode()).hex()

    def authentic(self, public_key: bytes) -> bool:
        """Return whether this installation has signed it. public_key: 65 bytes."""
        try:
            return verify(public_key, self.signed, bytes.fromhex(self.signature))
        except ValueError:
            return False

    def content(self) -> dict[str, Any]:
        """Return its fields as JSON has them."""
        return {**asdict(self), "kind": str(self.kind), "ranges": [list(each) for each in self.ranges]}

    def document(self) -> dict[str, Any]:
        """Return the row of the collection."""
        content = self.content()
        return {"_id": content.pop("seq"), **content}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Anchor | None:
        """Return the anchor that a row or an exported file holds; None if it is none."""
        found = {**content, "seq": content.get("seq", content.get("_id"))}
        found.pop("_id", None)
        try:
            made = cls(**{**found, "kind": Kind(found["kind"]), "ranges": _ranges(found["ranges"])})
        except (TypeError, KeyError, ValueError):
            return None
        return made if _typed(made) else None


def _ranges(found: Any) -> tuple[tuple[int, int], ...]:
    return tuple((first, last) for first, last in found)


def _typed(anchor: Anchor) -> bool:
    """Return whether every field is of its type: the database takes any."""
    numbers = (
        anchor.seq,
        anchor.at,
        anchor.n,
        anchor.count,
        anchor.until,
        *(n for each in anchor.ranges for n in each),
    )
    texts = (anchor.previous, anchor.by, anchor.m, anchor.signature)
    return all(map(whole, numbers)) and all(type(each) is str for each in texts)


NAMES = frozenset(each.name for each in fields(Anchor))


class Anchors:
    """Adds anchors. kept: a file beside the database that holds the newest one that a process of this machine made."""

    def __init__(self, database: Database, keyring: Keyring, kept: Path | None = None) -> None:
        self._rows = database.get_collection(ANCHORS, write_concern=DURABLE)
        self._events = database[LOG]
        self._keyring = keyring
        self._kept = kept
        self._made: Anchor | None = None
        self._alone = asyncio.Lock()

    async def add(self, kind: Kind, **said: Any) -> Anchor:
        """Store an anchor durably behind all others, and return it. Raises PyMongoError."""
        async with self._alone:
            for _ in range(TRIES):
                last = await self._last() or await self._begun()
                made = await self._signed(Anchor(last.seq + 1, kind, _now(), last.digest, **said))
                if await self._stored(made):
                    return made
        raise Unanchored("Too many processes anchor the audit log at once.")

    async def newest(self) -> Anchor | None:
        """Return the anchor with the highest number; one that cannot be read as a blank one, behind which others go on."""
        row = await self._rows.find_one({"_id": {"$type": ["int", "long"]}}, sort=[("_id", DESCENDING)])
        return None if row is None else Anchor.read(row) or Anchor(row["_id"], Kind.STANDS, 0, "")

    async def _last(self) -> Anchor | None:
        """Return the anchor that the next one goes behind: what this process has made is not forgotten, wherever it went."""
        newest, made = await self.newest(), self._made
        if made and (newest is None or newest.seq < made.seq or (newest.seq == made.seq and newest != made)):
            log.error("anchors of the audit log were changed or removed: run fhir-facade audit verify")
            return made
        return newest

    async def _begun(self) -> Anchor:
        """Return the first anchor, made now unless another process does: it fixes how many events have no chain."""
        await self._rows.create_index([("by", ASCENDING), ("_id", ASCENDING)], name="writer")
        before = await self._events.count_documents({FIELD: {"$exists": False}})
        made = await self._signed(Anchor(0, Kind.BEGUN, _now(), "", count=before))
        if await self._stored(made):
            return made
        return await self._last() or made

    async def _signed(self, anchor: Anchor) -> Anchor:
        """Return an anchor with its signature; where the key is kept elsewhere, that takes a while."""
        try:
            signature = await asyncio.to_thread(_signature, self._keyring, anchor.signed)
        except (KeyringError, OSError) as error:
            raise Unanchored("The key that signs anchors of the audit log cannot be used.") from error
        return Anchor(**{**_fields(anchor), "signature": signature})

    async def _stored(self, anchor: Anchor) -> bool:
        try:
            await self._rows.insert_one(anchor.document())
        except DuplicateKeyError:  # another process was first
            return False
        self._made = anchor
        if self._kept:
            await asyncio.to_thread(keep, self._kept, anchor, signer(self._keyring).public_key)
        return True


def signer(keyring: Keyring) -> Signer:
    """Return what signs anchors."""
    return keyring.signer(PURPOSE)


def exported(anchor: Anchor, public_key: bytes) -> dict[str, Any]:
    """Return an anchor as it is printed and kept outside, with the key by which anybody can check it."""
    return {**anchor.content(), "digest": anchor.digest, "publicKey": public_key.hex()}


def imported(content: Mapping[str, Any]) -> Anchor | None:
    """Return the anchor that was exported; None if it is none."""
    return Anchor.read({name: value for name, value in content.items() if name in NAMES})


def keep(path: Path, anchor: Anchor, public_key: bytes) -> None:
    """Put an anchor into the file unless a newer one is there. What goes wrong is logged: the database has it anyway."""
    try:
        held = kept_in(path)
        if held and held.seq > anchor.seq:
            return
        handle, name = tempfile.mkstemp(prefix=".audit-anchor-", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(exported(anchor, public_key), file)
        os.replace(name, path)
    except OSError as error:
        log.warning("the anchor of the audit log could not be kept in the data folder: %s", error.strerror)


def kept_in(path: Path) -> Anchor | None:
    """Return the anchor in a file; None if there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return imported(content) if isinstance(content, dict) else None


def _signature(keyring: Keyring, message: bytes) -> str:
    return signer(keyring).sign(message).hex()


def _fields(anchor: Anchor) -> dict[str, Any]:
    return {name: getattr(anchor, name) for name in NAMES}


def _now() -> int:
    return microseconds(datetime.now(UTC))
