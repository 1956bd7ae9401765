"""What is signed of access-control data, and what is wrong with a row that does not verify. Pure.

Each row carries an SM2 signature over its content. The digests of all rows stand in the buckets of a register, whose head
counts every change and signs the digests of the buckets: so a row that is missing, was put there, or is an earlier version
is found as well. Source: GB/T 39786-2021, 8.4 b (integrity of access-control information); RFC 6962, 2.1, has the
thought of signing a digest of digests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import bson

from fhir_server.auth.server.vault import ACCOUNTS, CLIENTS
from fhir_server.crypto.sm2 import sm3

REGISTER = "access_register"
HEAD = "head"
SIGNATURE = "sig"
# Which buckets of the register are a table's.
TABLES = {CLIENTS: range(16), ACCOUNTS: range(16, 256)}
BUCKETS = 256
DIGEST_SIZE = 32
EMPTY = bytes(DIGEST_SIZE)

Document = dict[str, Any]
Entries = Mapping[str, bytes]
Verified = Callable[[bytes, Any], bool]


class Fault(StrEnum):
    """What is wrong with a row; the value ends a sentence that begins with the row's name."""

    UNSIGNED = "is not signed: it is from an earlier version, or the register of signed rows was removed"
    INSERTED = "was put there behind the server's back"
    CHANGED = "was changed behind the server's back"
    OLD = "is an earlier version that was put back"
    MISSING = "was removed behind the server's back"
    REGISTER = "is listed in a register of signed rows that was changed behind the server's back"
    ROLLED_BACK = "is listed in a register of signed rows that is older than one seen before"


Found = tuple[str, str, Fault]  # table, id, what is wrong


@dataclass(frozen=True, slots=True)
class Head:
    """The head of the register. n: counts changes. digests: of the buckets, 32 bytes each, one after the other."""

    n: int
    digests: bytes

    def of(self, bucket: int) -> bytes:
        return self.digests[bucket * DIGEST_SIZE : (bucket + 1) * DIGEST_SIZE]

    def changed(self, bucket: int, digest: bytes) -> Head:
        """Return the head after one more change."""
        before, after = self.digests[: bucket * DIGEST_SIZE], self.digests[(bucket + 1) * DIGEST_SIZE :]
        return replace(self, n=self.n + 1, digests=before + digest + after)

    @property
    def digest(self) -> bytes:
        """What is signed of it."""
        return sm3(b"fhir-facade access head\0", self.n.to_bytes(8, "big"), self.digests)


BEGINNING = Head(0, EMPTY * BUCKETS)


@dataclass(frozen=True, slots=True)
class State:
    """As much of the register as was read, and verified. entries: name of a row → its digest, by bucket."""

    head: Head
    entries: Mapping[int, Entries]


def named(table: str, id: str) -> str:
    return f"{table}/{id}"


def bucket_of(table: str, id: str) -> int:
    """Return in which bucket a row is listed."""
    own = TABLES[table]
    return own[int.from_bytes(sm3(named(table, id).encode())[:4], "big") % len(own)]


def digest_of(table: str, row: Mapping[str, Any]) -> bytes:
    """Return the digest of a row's content: of its table and of all its fields in the order of their names, as BSON."""
    content = {name: row[name] for name in sorted(row) if name != SIGNATURE}
    return sm3(b"fhir-facade access row\0", table.encode(), b"\0", bson.encode(content))


def bucket_digest(entries: Entries) -> bytes:
    """Return the digest of a bucket."""
    return sm3(b"fhir-facade access bucket\0", bson.encode({"entries": _listed(entries)})) if entries else EMPTY


def bucket_row(bucket: int, entries: Entries) -> Document:
    return {"_id": bucket, "entries": _listed(entries)}


def head_row(head: Head, signature: bytes) -> Document:
    return {"_id": HEAD, "n": head.n, "digests": head.digests, SIGNATURE: signature}


def opened(rows: Iterable[Mapping[str, Any]], buckets: Iterable[int], verified: Verified) -> State | Fault:
    """Return what the rows of the register say of these buckets, or why they are not to be believed."""
    by_id = {row["_id"]: row for row in rows}
    if HEAD not in by_id:
        return Fault.UNSIGNED
    try:
        head = Head(int(by_id[HEAD]["n"]), bytes(by_id[HEAD]["digests"]))
        signed = len(head.digests) == len(BEGINNING.digests) and verified(head.digest, by_id[HEAD].get(SIGNATURE))
        entries = {each: _entries(by_id.get(each)) for each in buckets}
    except (KeyError, TypeError, ValueError, OverflowError):
        return Fault.REGISTER
    if not signed or any(bucket_digest(entries[each]) != head.of(each) for each in entries):
        return Fault.REGISTER
    return State(head, entries)


def judged(table: str, row: Mapping[str, Any], state: State, verified: Verified) -> Fault | None:
    """Return what is wrong with a row; None if it is as the server stored it last."""
    entries = state.entries[bucket_of(table, str(row["_id"]))]
    expected, digest = entries.get(named(table, str(row["_id"]))), digest_of(table, row)
    if expected is None:
        return Fault.INSERTED
    if not verified(digest, row.get(SIGNATURE)):
        return Fault.CHANGED
    return None if expected == digest else Fault.OLD


def missing(table: str, rows: Iterable[Mapping[str, Any]], state: State) -> list[str]:
    """Return the ids of the rows of a table that are listed, and are not there."""
    there = {named(table, str(row["_id"])) for row in rows}
    listed = {name for bucket in TABLES[table] for name in state.entries[bucket]}
    return sorted(name.removeprefix(f"{table}/") for name in listed - there)


def faults(table: str, rows: Iterable[Document], state: State, verified: Verified) -> list[Found]:
    """Return what is wrong with the rows of a table, and which are missing."""
    found = [(table, str(row["_id"]), judged(table, row, state, verified)) for row in rows]
    wrong = [(name, id, fault) for name, id, fault in found if fault is not None]
    return [*wrong, *((table, id, Fault.MISSING) for id in missing(table, rows, state))]


def _listed(entries: Entries) -> list[list[Any]]:
    return [[name, entries[name]] for name in sorted(entries)]


def _entries(row: Mapping[str, Any] | None) -> Entries:
    return {str(name): bytes(digest) for name, digest in row["entries"]} if row else {}
