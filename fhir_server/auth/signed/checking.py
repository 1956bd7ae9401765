"""Looking through all access-control data; signing it as it stands: after an upgrade, or once it was looked into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.auth.signed.register import Register
from fhir_server.auth.signed.rows import (
    BUCKETS,
    EMPTY,
    HEAD,
    SIGNATURE,
    TABLES,
    Document,
    Entries,
    Found,
    Head,
    bucket_digest,
    bucket_of,
    bucket_row,
    digest_of,
    named,
)

AT_ONCE = 500
Readable = Callable[[str, Document], bool]


class ChangedMeanwhile(RuntimeError):
    """Access-control data was changed while it was being signed."""

    def __init__(self) -> None:
        super().__init__("Clients or accounts were changed meanwhile, and nothing was signed. Run the command again.")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look through everything found. rows: by table. faults: of rows that do not verify, or are missing."""

    rows: dict[str, list[Document]]
    faults: list[Found]

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))


async def check(register: Register) -> Checked:
    """Return all rows, and what is wrong with them."""
    rows: dict[str, list[Document]] = {}
    faults: list[Found] = []
    for table in TABLES:
        rows[table], wrong = await register.checked(table)
        faults.extend(wrong)
    return Checked(rows, faults)


async def sign(register: Register, readable: Readable, *, without: Collection[str] = ()) -> Checked:
    """Sign every row as it stands, and begin a new register of them; return them, with those left out as faults.

    readable: whether what a row seals opens; what does not is left as it is, and refused. without: names of rows
    ("auth_clients/app") that are deleted. Raises ChangedMeanwhile.
    """
    before = await register.own.find_one({"_id": HEAD})
    found = await check(register)
    kept: dict[str, list[Document]] = {table: [] for table in TABLES}
    for table, rows in found.rows.items():
        for row in rows:
            if named(table, str(row["_id"])) in without:
                await register.tables[table].delete_one({"_id": row["_id"]})
            elif readable(table, row):
                kept[table].append(row)
        await _sign(register, table, kept[table])
    await _begin(register, kept, before)
    return await check(register)


async def _sign(register: Register, table: str, rows: list[Document]) -> None:
    """Store signatures of these rows; one that was changed since it was read is refused afterwards."""
    unsigned = [row for row in rows if not register.verified(digest_of(table, row), row.get(SIGNATURE))]
    for at in range(0, len(unsigned), AT_ONCE):
        signed = [await register.signed(table, row) for row in unsigned[at : at + AT_ONCE]]
        stored = [UpdateOne({"_id": each["_id"]}, {"$set": {SIGNATURE: each[SIGNATURE]}}) for each in signed]
        await register.tables[table].bulk_write(stored, ordered=False)


async def _begin(register: Register, rows: dict[str, list[Document]], before: Document | None) -> None:
    """Store a register of these rows in the place of the one that was read before. Raises ChangedMeanwhile."""
    entries = _entries(rows)
    digests = b"".join(bucket_digest(entries[each]) if each in entries else EMPTY for each in range(BUCKETS))
    head = Head(_count(before) + 1, digests)

    async def within(session: AsyncClientSession) -> None:
        if await register.own.find_one({"_id": HEAD}, session=session) != before:
            raise ChangedMeanwhile
        await register.own.delete_many({}, session=session)
        listed = [bucket_row(each, entries[each]) for each in sorted(entries)]
        await register.own.insert_many([await register.signed_head(head), *listed], session=session)

    await register.transaction(within)


def _entries(rows: dict[str, list[Document]]) -> dict[int, Entries]:
    found: dict[int, dict[str, bytes]] = {}
    for table, each in rows.items():
        for row in each:
            id = str(row["_id"])
            found.setdefault(bucket_of(table, id), {})[named(table, id)] = digest_of(table, row)
    return dict(found)


def _count(before: Document | None) -> int:
    """Return how far the register had counted, if it says."""
    n = before.get("n") if before else 0
    return n if isinstance(n, int) and 0 <= n < 1 << 62 else 0


def lines(faults: Iterable[Found]) -> list[str]:
    """Return what is wrong, a line each."""
    return [f"{named(table, id)} {fault}" for table, id, fault in faults]
