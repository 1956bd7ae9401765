"""Filing everything anew, after a new version of this program has changed what resources are filed under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.renewing import renewed
from fhir_server.labelling.relabelling import relabel_earlier
from fhir_server.reindexing.adopting import Refused, adopt
from fhir_server.reindexing.definitions import Definitions
from fhir_server.reindexing.refiling import refile
from fhir_server.store.collections import Collections
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.installation import laid_out, rebuilding, unmarked
from fhir_server.store.numbers import EPOCHS, changed

Document = dict[str, Any]


async def total(database: AsyncDatabase[Document], definitions: Definitions) -> int:
    """Return about how many resources there are."""
    return sum([await database[type].estimated_document_count() for type in definitions.standard.types])


async def reindex(
    database: AsyncDatabase[Document],
    definitions: Definitions,
    collections: Collections,
    committer: Committer,
    *,
    progress: Callable[[int], None],
    refused: Refused = lambda name: None,
) -> int:
    """File all current resources anew; return how many there were. Broken off, it goes on where it stopped.

    Earlier versions are not found by search: of them the security labels alone are filed anew.

    progress: told after each batch how many were filed. refused: told of each document that is not as it was stored, which
    is left as it is.
    """
    filing = await rebuilding(database)
    if filing is None:
        unit = Unit()
        unit.touches[EPOCHS].append(changed(filing=True))
        await committer.commit(unit)
    await definitions.renew()
    filing = definitions.numbers.filing if filing is None else filing
    await rebuilding(database, filing)
    await committer.fence.raise_to(filing)
    there = definitions.standard.types & set(await database.list_collection_names())
    seen = 0
    if await unmarked(database):
        await adopt(database, definitions.services, refused)
    for type in sorted(there):
        await collections.ensure(type)
        if type != "AuditEvent":
            await relabel_earlier(database, definitions.services, type, refused)
        async for position in refile(database, definitions.services, type, filing, refused=refused):
            seen += position.seen
            progress(position.seen)
    async for _ in renewed(definitions.services):  # of authorizations from before their ends were noted
        pass
    await laid_out(database)
    return seen
