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
    """After which row a page begins: its values for the sort keys (None where it has none), its type and its id."""

    values: tuple[float | str | None, ...]
    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """A search and where in it to go on; after is None for its first page.

    place: the path that is searched, below the base: "Observation", "" (the whole system), "Patient/1/Observation".
    """

    place: str
    query: Pairs
    after: Position | None


def sealed_cursor(key: bytes, requester: Requester, cursor: Cursor) -> str:
    """Return the text of a cursor that only this requester, with these rights and this purpose, can use."""
    held: dict[str, Any] = {"t": cursor.place, "q": cursor.query}
    if after := cursor.after:
        held["a"] = [list(map(_written, after.values)), after.type, after.id]
    return _sealed(key, requester, held)


def opened_cursor(key: bytes, requester: Requester, place: str, text: str) -> Cursor:
    """Return the cursor of a page link.

    Raises InvalidSearchValue, the same for a damaged, a foreign and an invented one.
    """
    held = _opened(key, requester, place, text)
    after = None
    if "a" in held:
        values, type, id = held["a"]
        after = Position(tuple(map(_read, values)), type, id)
    return Cursor(place, tuple((name, text) for name, text in held["q"]), after)


def _written(value: float | str | None) -> Any:
    """Return a sort value as JSON has it. It has no infinity, which stands for a time without a beginning."""
    return [str(value)] if isinstance(value, float) and math.isinf(value) else value


def _read(value: Any) -> float | str | None:
    found: float | str | None = float(value[0]) if isinstance(value, list) else value
    return found


def _sealed(key: bytes, requester: Requester, held: dict[str, Any]) -> str:
    """Return a page link's text that only this requester can use. held: JSON; its "t" says where the link belongs."""
    return base64.urlsafe_b64encode(seal(key, orjson.dumps(held), _bound_to(requester))).decode().rstrip("=")


def _opened(key: bytes, requester: Requester, place: str, text: str) -> dict[str, Any]:
    """Return what a page link that belongs to a place holds.

    Raises InvalidSearchValue, the same for a damaged, a foreign and an invented one.
    """
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        held: dict[str, Any] = orjson.loads(unseal(key, sealed, _bound_to(requester)))
    except (Unsealable, binascii.Error, ValueError):
        held = {}
    if held.get("t") != place:
        raise InvalidSearchValue("The page link is not valid here: search again from the first page.")
    return held


def _bound_to(requester: Requester) -> bytes:
    return b"cursor/" + sha256(requester.identity.encode()).digest()
