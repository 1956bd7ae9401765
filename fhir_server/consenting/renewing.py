"""Holding the rows of when authorizations end (ends.py) to the Consents themselves, which are sealed and marked.

So authorizations that an earlier version of this program stored get their rows, and a row that was moved or removed in the
store keeps no end from coming to light: once a day all are looked at. Nobody is told by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from fhir_server.consenting.ends import End
from fhir_server.consenting.following import Version, end_of, version_of
from fhir_server.crypto.sealing import Unsealable
from fhir_server.errors import Conflict
from fhir_server.interactions.call import Services
from fhir_server.store.commit import Unit
from fhir_server.store.resources import Document, Ungated

BATCH = 100
WHY = Ungated("when authorizations end by themselves")


async def renewed(use: Services) -> AsyncIterator[int]:
    """Mend the rows of all Consents; yield after each batch how many rows were mended in it."""
    after = ""
    while found := await use.resources.find("Consent", {"_id": {"$gt": after}}, WHY, sort=[("_id", 1)], limit=BATCH):
        after = found[-1]["_id"]
        yield await _mended(use, found)


async def mend(use: Services, version: Version, old: End | None) -> bool:
    """Let the row of a Consent say what its version says; return whether it did not. old: the row as it is."""
    at, unit = use.now(), Unit()
    new = end_of(use, version, at=at)
    if new is None or (old and (old.version, old.until) == (new.version, new.until)):
        return False
    reminded = old is not None and old.reminded and old.version == new.version
    use.consenting.ends.mend(old, replace(new, reminded=reminded), unit)
    try:
        await use.committer.commit(unit)
    except Conflict:  # another version came meanwhile, and its row with it
        return False
    return True


async def _mended(use: Services, documents: list[Document]) -> int:
    rows = await use.consenting.ends.of(each["_id"] for each in documents)
    count = 0
    for each in documents:
        await asyncio.sleep(0)  # requests come in between
        version = await _opened(use, each)
        count += version is not None and await mend(use, version, rows.get(version.id))
    return count


async def _opened(use: Services, document: Document) -> Version | None:
    """Return a version, None if it was purged, or is not as it was stored: nothing follows from what it says."""
    try:
        return await version_of(use, document)
    except Unsealable:
        return None
