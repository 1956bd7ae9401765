"""Rows on which writes depend that are made because nothing was found: of two with one condition, one begins again.

Whoever creates what a condition did not find reads the condition's row before searching, and changes it, as it was
read, in the unit that creates. So whatever was created for the same condition in between, in any worker process, makes
the unit fail; the search is then repeated, and finds it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.crypto.tokens import Tokens
from fhir_server.store.commit import Unit

CONDITIONS = "conditions"
# Far longer than any interaction lasts; MongoDB then deletes the row.
KEPT_SECONDS = 3_600


class Guard(NamedTuple):
    """A condition's row: its keyed id, and what it held when it was read (None: there was no row)."""

    key: int
    read_as: int | None

    def hold(self, unit: Unit) -> None:
        """Let a unit fail with Conflict if another one was stored for this condition since the row was read."""
        row = {"_id": self.key, "n": secrets.randbits(62), "at": datetime.now(UTC)}
        if self.read_as is None:
            unit.insert(CONDITIONS, row)
        else:
            unit.replace(CONDITIONS, {"_id": self.key, "n": self.read_as}, row)


class Conditions:
    """The rows of conditions. What a condition says is in none of them: they are found by keyed tokens."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], tokens: Tokens) -> None:
        self._collection = database[CONDITIONS]
        self._tokens = tokens
        self._ready = False

    async def guards(self, texts: Iterable[str]) -> dict[str, Guard]:
        """Return, by its text, the guard of each condition as it stands now."""
        keys = {text: self._tokens(text) for text in texts}
        if not keys:
            return {}
        if not self._ready:
            await self._collection.create_index("at", name="kept", expireAfterSeconds=KEPT_SECONDS)
            self._ready = True
        rows = await self._collection.find({"_id": {"$in": list(keys.values())}}).to_list()
        read = {row["_id"]: row["n"] for row in rows}
        return {text: Guard(key, read.get(key)) for text, key in keys.items()}
