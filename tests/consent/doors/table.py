"""Every door. A new one is a function and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.consent.doors import bundles, instances, searches
from tests.consent.doors.visit import Seen, Visit

Door = Callable[[Visit], Iterator[Seen]]

DOORS: Mapping[str, Door] = {
    "read": instances.read,
    "HEAD": instances.head,
    "vread": instances.vread,
    "history": instances.history,
    "$meta": instances.meta,
    "$document": instances.document,
    "batch": instances.batch,
    "search": searches.by_id,
    "POST search": searches.posted,
    "search by patient": searches.by_patient,
    "compartment": searches.compartment,
    "system search": searches.system,
    "pages": searches.pages,
    "count": searches.count,
    "_filter": searches.filter,
    "include": searches.include,
    "revinclude": searches.revinclude,
    "chain": searches.chain,
    "_has": searches.has,
    "type history": bundles.type_history,
    "system history": bundles.system_history,
    "$everything": bundles.everything,
    "$lastn": bundles.lastn,
    "batch search": bundles.batch_search,
    "transaction search": bundles.transaction_search,
}
