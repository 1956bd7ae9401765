"""Looking through the rows that pass: whether each grant, code and session is as the server stored it (ADR 39).

They are marked, not signed, and in no register: one that was removed, or put back whole, is not found by this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.accounts.sessions import SESSIONS, session_said
from fhir_server.auth.server.grants import code_said, grant_said
from fhir_server.auth.server.revocation import revoke_grants
from fhir_server.auth.server.vault import CODES, GRANTS, MARK, Vault
from fhir_server.auth.signed.rows import Document, Fault, Found
from fhir_server.crypto.sealing import Unsealable
from fhir_server.store.commit import DURABLE, Committer, Unit

# The tables, with what the mark of a row is made of.
SAID: Mapping[str, Callable[[Document], tuple[Any, ...]]] = {
    GRANTS: grant_said,
    CODES: code_said,
    SESSIONS: session_said,
}


@dataclass(frozen=True, slots=True)
class Passing:
    """What a look through all rows found. count: of rows. faults: of those that are not as they were stored."""

    count: int
    faults: list[Found]


async def check(database: AsyncDatabase[Document], vault: Vault) -> Passing:
    """Return how many rows there are, and which are not as the server stored them."""
    count, faults = 0, list[Found]()
    for table in SAID:
        async for row in database[table].find().sort("_id", 1):
            count += 1
            if not as_stored(vault, table, row):
                faults.append((table, str(row["_id"]), Fault.CHANGED))
    return Passing(count, faults)


def as_stored(vault: Vault, table: str, row: Document) -> bool:
    """Return whether a row carries the mark of what it says, and what it seals opens. A revoked grant admits nobody."""
    if table == GRANTS and row.get("revoked") is True:
        return True
    try:
        if table != SESSIONS:
            vault.opened(f"{table}/{row['_id']}", row["body"])
        return vault.fits(row.get(MARK), *SAID[table](row))
    except (Unsealable, KeyError, TypeError, ValueError, AttributeError):
        return False


async def there(database: AsyncDatabase[Document], table: str, id: str) -> bool:
    """Return whether there is such a row."""
    return table in SAID and await database[table].find_one({"_id": id}, {"_id": 1}) is not None


async def end(database: AsyncDatabase[Document], committer: Committer, table: str, id: str) -> None:
    """End what a row stands for: of a grant every token that stands on it, in every worker."""
    if table != GRANTS:
        await database.get_collection(table, write_concern=DURABLE).delete_one({"_id": id})
        return
    unit = Unit()
    revoke_grants([id], unit)
    await committer.commit(unit)
