"""Verifying the audit log: the anchors, then each writer's chain, then the events that have none.

Everything is read in streams; what is held in memory is the anchors of one writer. It may run while the server does: what is
stored meanwhile is not yet anchored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from fhir_server.audit.anchor_chain import Checked, anchors_checked, anchors_of
from fhir_server.audit.anchors import ANCHORS, Anchor, Kind, exported, signer
from fhir_server.audit.findings import Finding, Report, Tampering, Target
from fhir_server.audit.following import Follower, start_of
from fhir_server.audit.links import COVERED, FIELD, FILED, LOG, Links, Position, whole
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, Wrapping
from fhir_server.crypto.tokens import Tokens
from fhir_server.fhir_json import parse
from fhir_server.store import bodies
from fhir_server.store.instants import instant, microseconds
from fhir_server.store.keys import DataKeys
from fhir_server.store.marks import FIELD as MARK
from fhir_server.store.resources import WITHOUT_RANGES

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Refile = Callable[[Document], Mapping[str, Any]]

BATCH = 100
COMPARED_AT_ONCE = 10
CHAIN_INDEX = "chain"  # store/collections.py
# A list of chains would be found by each; it is looked at with what has none.
NO_LIST = {"$not": {"$type": "array"}}
# Where a document is compared with what it is filed under, these fields are.
COMPARED = FILED - {"d", MARK}


async def verified(
    database: Database,
    keyring: Keyring,
    *,
    since: datetime | None = None,
    known: Iterable[Anchor] = (),
    refile: Refile | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Report:
    """Return what a verification finds.

    since: events that were anchored before this instant are left out. known: anchors that were kept elsewhere. refile: makes
    of an event what it is filed under; then that is compared too. progress: told how many events more were looked at.
    """
    checked = await anchors_checked(database, signer(keyring).public_key, known)
    verification = Verification(database, keyring, checked, refile, progress)
    return await verification.run(None if since is None else microseconds(since))


class Verification:
    """One verification."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        checked: Checked,
        refile: Refile | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._database = database
        # What only some of the machines have may be lost again.
        self._events = database.get_collection(LOG, read_concern=ReadConcern("majority"))
        self._keyring = keyring
        self._bodies = Bodies(database, keyring)
        self._checked = checked
        self._refile = refile
        self._progress = progress
        self._shown = WITHOUT_RANGES if refile is None else None
        self.report = Report()

    async def run(self, since: int | None) -> Report:
        """Return what is found. since: in microseconds since 1970 UTC."""
        report, checked = self.report, self._checked
        report.anchors = checked.count
        report.found(*checked.findings)
        if checked.newest:
            report.newest = exported(checked.newest, signer(self._keyring).public_key)
        async for writer in self._writers():
            await self._writer(writer, since)
        if since is None:
            await self._unchained()
        return report

    async def follow(self, writer: str, anchors: list[Anchor], start: Position) -> Follower:
        """Return what has followed a writer's chain from a position to its end."""
        follower = Follower(Links(self._keyring, writer), anchors, start, self._bodies.opens)
        filter: Document = {f"{FIELD}.by": writer, FIELD: NO_LIST}
        if start.n:
            filter[f"{FIELD}.n"] = {"$not": {"$lte": start.n}}
        same: list[Document] = []
        async for batch in self._batches(filter, ((f"{FIELD}.by", ASCENDING), (f"{FIELD}.n", ASCENDING))):
            # Documents of one number are taken together: the last ones may have more in the next batch.
            whole, same = _split([*same, *batch])
            follower.take(whole)
        follower.take(same)
        return follower

    async def _writer(self, writer: str, since: int | None) -> None:
        report = self.report
        anchors = await anchors_of(self._database, writer, self._checked)
        follower = await self.follow(writer, anchors, start_of(anchors, since))
        report.found(*follower.finish())
        report.writers += 1
        report.events += follower.count
        report.expired += max((each.n for each in anchors if each.kind is Kind.EXPIRED), default=0)
        if follower.tail:
            report.unanchored.append(follower.tail)
        if not anchors:
            why = "a writer's first anchor is stored before its first event"
            report.found(Finding(Tampering.REMOVED, Target.ANCHOR, why, writer))

    async def _writers(self) -> AsyncIterator[str]:
        """Yield every writer of which there are anchors or events, sorted."""
        named = [each for each in await self._database[ANCHORS].distinct("by") if isinstance(each, str) and each]
        last = ""
        by, order = f"{FIELD}.by", [(f"{FIELD}.by", ASCENDING), (f"{FIELD}.n", ASCENDING)]
        while found := await self._events.find_one(
            {by: {"$gt": last}, FIELD: NO_LIST}, {by: 1}, sort=order, hint=CHAIN_INDEX
        ):
            last = found[FIELD]["by"]
            named.append(last)
        for each in sorted(set(named)):
            yield each

    async def _unchained(self) -> None:
        """Look at the events that belong to no chain: only those may, that were there before there was one."""
        report, first, expired = self.report, self._checked.first, self._checked.expired
        until, begun = expired.until if expired else 0, first.at if first else 0
        noted = expired or first
        expected, counted = noted.count if noted else 0, 0
        odd = {"$or": [{f"{FIELD}.by": {"$not": {"$type": "string"}}}, {FIELD: {"$type": "array"}}]}
        async for batch in self._batches(odd, None):
            for each in batch:
                finding = self._before(each, begun)
                report.found(*([finding] if finding else []))
                report.before += not finding
                counted += not finding and each["at"] >= until
        if counted != expected:
            kind = Tampering.REMOVED if counted < expected else Tampering.INSERTED
            why = f"anchored are {expected} events from before the chain, {counted} are there"
            report.found(Finding(kind, Target.EVENT, why))

    def _before(self, document: Document, begun: int) -> Finding | None:
        """Return what is wrong with an event that has no chain."""
        body = self._bodies.opened(document)
        ids = (str(document["_id"]),)
        if body is None:
            return Finding(Tampering.INSERTED, Target.EVENT, "it has no chain, and it does not open", ids=ids)
        said = (body.get("id"), body.get("recorded"))
        if not document.keys() <= COVERED | FILED or said != (document["_id"], _instant(document.get("at"))):
            return Finding(Tampering.CHANGED, Target.EVENT, "it is not what its body says", ids=ids)
        if FIELD in document or document["at"] > begun:
            return Finding(Tampering.CHANGED, Target.EVENT, "what chains it was taken away", ids=ids)
        return None

    async def _batches(
        self, filter: Document, order: tuple[tuple[str, int], ...] | None
    ) -> AsyncIterator[list[Document]]:
        """Yield what a filter finds in batches, with the keys by which their bodies open."""
        cursor = self._events.find(filter, self._shown, batch_size=1_000)
        if order:
            cursor = cursor.sort(list(order)).hint(CHAIN_INDEX)
        while batch := await cursor.to_list(BATCH):
            await self._bodies.prepare(batch)
            if self._refile:
                await self._compare(batch, self._refile)
            yield batch
            self._progress(len(batch))
            await asyncio.sleep(0)  # requests come in between

    async def _compare(self, batch: list[Document], refile: Refile) -> None:
        """Name the events that are not found by what they say."""
        for number, each in enumerate(batch, 1):
            if number % COMPARED_AT_ONCE == 0:
                await asyncio.sleep(0)  # requests come in between
            body = self._bodies.opened(each)
            if body is not None and {name: each[name] for name in COMPARED & each.keys()} != refile(body):
                why = "it is not filed under what it says; fhir-facade reindex files it anew"
                self.report.found(Finding(Tampering.MISFILED, Target.EVENT, why, ids=(str(each["_id"]),)))


class Bodies:
    """Opens the bodies of events, as far as they are as they were sealed."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._keys = DataKeys(database, Wrapping(keyring), Tokens(keyring.index_key).of("data-key"))
        self._known: dict[int, bytes] = {}

    async def prepare(self, documents: Iterable[Document]) -> None:
        """Have the keys at hand by which documents open."""
        names = {each.get("k") for each in documents}
        wanted = {each for each in names if whole(each)} - self._known.keys()
        with suppress(Unsealable):  # a wrapped key that was changed opens nothing
            self._known |= await self._keys.for_reading(wanted)

    def opens(self, document: Document) -> bool:
        """Return whether the body is as it was sealed, for this document."""
        return self._plain(document) is not None

    def opened(self, document: Document) -> Document | None:
        """Return the event; None if the body is not as it was sealed."""
        plain = self._plain(document)
        return None if plain is None else parse(plain)

    def _plain(self, document: Document) -> bytes | None:
        try:
            key = self._known[document["k"]]
            return bodies.opened(key, LOG, document["_id"], document["v"], document["body"])
        except (KeyError, TypeError, Unsealable):
            return None


def _split(documents: list[Document]) -> tuple[list[Document], list[Document]]:
    """Return documents without those of the last number, and those."""
    last = _claimed(documents[-1])
    at = next((at for at in range(len(documents), 0, -1) if _claimed(documents[at - 1]) != last), 0)
    return documents[:at], documents[at:]


def _claimed(document: Document) -> Any:
    chain = document[FIELD]
    return chain.get("n") if isinstance(chain, dict) else None


def _instant(at: Any) -> str | None:
    return instant(at) if whole(at) else None
