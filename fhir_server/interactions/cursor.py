"""Page links: sealed, bound to the requester, holding where the next page begins and the query it belongs to.

A cursor of somebody else is the same as garbage (consent-scenarios G2). It holds no decision: every page is searched anew
under what the requester may see then (consent.md, D13).
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from fhir_server.auth.requester import Requester
from fhir_server.crypto.sealing import Unsealable, seal, unseal
from fhir_server.errors import InvalidSearchValue

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Position:
    """After which row a page begins: its sort value (None if it has none, or nothing is sorted by) and its id."""

    value: float | None
    id: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """A search and where in it to go on; after is None for its first page."""

    type: str
    query: Pairs
    after: Position | None


def sealed_cursor(key: bytes, requester: Requester, cursor: Cursor) -> str:
    """Return the text of a cursor that only this requester, with these rights and this purpose, can use."""
    after = cursor.after
    held: dict[str, Any] = {"t": cursor.type, "q": cursor.query}
    if after:
        # JSON has no infinity; an open beginning of time is told apart from no value by its name.
        value = str(after.value) if after.value is not None and math.isinf(after.value) else after.value
        held["a"] = [value, after.id]
    return base64.urlsafe_b64encode(seal(key, orjson.dumps(held), _bound_to(requester))).decode().rstrip("=")


def opened_cursor(key: bytes, requester: Requester, type: str, text: str) -> Cursor:
    """Return the cursor of a page link.

    Raises InvalidSearchValue, the same for a damaged, a foreign and an invented one.
    """
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        held = orjson.loads(unseal(key, sealed, _bound_to(requester)))
    except (Unsealable, binascii.Error, ValueError):
        held = {}
    if held.get("t") != type:
        raise InvalidSearchValue("The page link is not valid here: search again from the first page.")
    after = held.get("a")
    value = float(after[0]) if after and isinstance(after[0], str) else after[0] if after else None
    return Cursor(type, tuple((name, text) for name, text in held["q"]), Position(value, after[1]) if after else None)


def _bound_to(requester: Requester) -> bytes:
    return b"cursor/" + sha256(requester.identity.encode()).digest()
