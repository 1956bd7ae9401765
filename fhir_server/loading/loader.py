"""Loading resources from files for an institution: checked, compared with what is stored, written in batches.

Loading the same again changes nothing: what is stored already, as the same content, is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.audit.event import Happening
from fhir_server.auth.requester import Requester, Role
from fhir_server.auth.scopes import Scopes
from fhir_server.errors import Conflict, Problem
from fhir_server.interactions.call import Services, touched
from fhir_server.interactions.changes import OURS
from fhir_server.loading.files import Item
from fhir_server.resident_id import is_resident_id
from fhir_server.store.numbers import Outdated
from fhir_server.store.resources import Document, Ungated
from fhir_server.store.writing import Draft, reborn
from fhir_server.validation.structure import check

BATCH = 250


@dataclass(slots=True)
class Tally:
    """How many resources were stored, were there already, and were rejected."""

    stored: int = 0
    unchanged: int = 0
    rejected: int = 0

    @property
    def seen(self) -> int:
        return self.stored + self.unchanged + self.rejected


class Loader:
    """Loads items as the records of one institution.

    reject: told of each item that is not loaded, and why. progress: told after each batch.
    """

    def __init__(
        self,
        use: Services,
        organization: str,
        *,
        reject: Callable[[Item, str], None],
        progress: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self._use = use
        self._organization = organization
        self._reject = reject
        self._progress = progress
        self._everything = Ungated(f"load for {organization}")
        self._operator = Requester(
            Role.SYSTEM, "Device/fhir-facade-load", organization, "HSYSADMIN", Scopes(frozenset())
        )
        self.tally = Tally()

    async def load(self, items: Iterable[Item]) -> Tally:
        """Load all items; return the tally when the last batch is durable."""
        batch: dict[tuple[str, str], Item] = {}
        for item in items:
            if (resource := self._accepted(item)) is None:
                continue
            place = (resource["resourceType"], resource["id"])
            if place in batch:  # the same resource again: the order of its versions is kept
                await self._store(batch)
                batch = {}
            batch[place] = item
            if len(batch) >= BATCH:
                await self._store(batch)
                batch = {}
        await self._store(batch)
        return self.tally

    def _accepted(self, item: Item) -> dict[str, Any] | None:
        if item.resource is None:
            self._rejected(item, item.problem or "cannot be read")
            return None
        try:
            check(item.resource, served=self._use.registry.types)
        except Problem as problem:
            where = f"{problem.expression}: " if problem.expression else ""
            self._rejected(item, where + problem.diagnostics)
            return None
        if item.resource["resourceType"] in OURS:
            self._rejected(item, "is written by the server alone")
            return None
        if is_resident_id(item.resource["id"]):
            self._rejected(item, "has a resident id number as its logical id")
            return None
        return item.resource

    def _rejected(self, item: Item, reason: str) -> None:
        self._reject(item, reason)
        self.tally.rejected += 1

    async def _store(self, batch: dict[tuple[str, str], Item]) -> None:
        drafts = await self._drafts(batch)
        if drafts:
            await self._written(drafts, batch)
        self._progress(self.tally)

    async def _drafts(self, batch: dict[tuple[str, str], Item]) -> list[Draft]:
        ids: dict[str, list[str]] = {}
        for type, id in batch:
            ids.setdefault(type, []).append(id)
        drafts = []
        for type, wanted in ids.items():
            stored = await self._use.resources.many(type, wanted, self._everything)
            missing = [id for id in wanted if id not in stored]
            buried = await self._use.resources.tombstones(type, missing) if missing else {}
            for id in wanted:
                if draft := self._draft(batch[type, id], stored.get(id), buried.get(id)):
                    drafts.append(draft)
        return drafts

    def _draft(self, item: Item, old: Document | None, tombstone: Document | None) -> Draft | None:
        resource = item.resource or {}
        if (old or tombstone or {}).get("org", self._organization) != self._organization:
            self._rejected(item, "has the id of a record of another institution")
            return None
        if old is None:
            if tombstone:
                return reborn(resource, resource["id"], self._organization, tombstone)
            return Draft(resource, resource["id"], self._organization)
        if old["h"] == self._use.writer.digest(resource):
            self.tally.unchanged += 1
            return None
        return Draft(resource, resource["id"], self._organization, old["v"] + 1, old)

    async def _written(self, drafts: Sequence[Draft], batch: dict[tuple[str, str], Item]) -> None:
        try:
            await self._commit(drafts)
        except Conflict as conflict:
            if len(drafts) == 1:
                self._rejected(batch[drafts[0].type, drafts[0].id], conflict.diagnostics)
                return
            for draft in drafts:
                await self._written([draft], batch)
        else:
            self.tally.stored += len(drafts)

    async def _commit(self, drafts: Sequence[Draft]) -> None:
        try:
            await self._commit_under(self._use.definitions.services, drafts)
        except Outdated:
            await self._use.definitions.renew(entering=True)
            await self._commit_under(self._use.definitions.services, drafts)

    async def _commit_under(self, use: Services, drafts: Sequence[Draft]) -> None:
        at = use.now()
        unit, written, _ = await use.writer.store(drafts, at=at)
        happening = Happening("batch", touched=tuple(touched(each.type, each.document) for each in written))
        await self._use.audit.add(happening, self._operator, unit, at=at)
        await self._use.committer.commit(unit)
