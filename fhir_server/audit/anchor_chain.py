"""Checking the chain of anchors, from the newest to the first.

The newest is proved by its signature, each other by the digest that the one after it names: so one signature proves all,
and each break is found where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pymongo import DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.audit.anchors import ANCHORS, Anchor, Kind
from fhir_server.audit.findings import Finding, Tampering, Target
from fhir_server.audit.links import whole

Database = AsyncDatabase[dict[str, Any]]
SHOWN_DIGITS = 16


@dataclass(slots=True)
class Checked:
    """What the anchors say. newest: the authentic one with the highest number. first: the one that the log begins with.

    distrusted: numbers of rows that are no anchors of ours. expired: the newest that tells that events from before the chain
    are gone.
    """

    public_key: bytes
    count: int = 0
    newest: Anchor | None = None
    first: Anchor | None = None
    expired: Anchor | None = None
    distrusted: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def found(self, kind: Tampering, why: str, first: int, last: int | None = None) -> None:
        """Take note of a finding."""
        self.findings.append(Finding(kind, Target.ANCHOR, why, "", first, first if last is None else last))


class Descent:
    """Goes from the newest anchor to the first. known: anchors that were kept elsewhere."""

    def __init__(self, public_key: bytes, known: Iterable[Anchor] = ()) -> None:
        self._known = {each.seq: each for each in known}
        self._above: Anchor | None = None
        self.checked = Checked(public_key)

    def take(self, row: dict[str, Any]) -> None:
        """Take the next row, in falling order of `_id`."""
        anchor = Anchor.read(row)
        if anchor is None or not self._is_authentic(anchor):
            self._strange(row["_id"])
            return
        checked, above = self.checked, self._above
        if above and anchor.seq < above.seq - 1:
            self._gap(anchor.seq + 1, above.seq - 1)
        elif above and above.previous != anchor.digest:
            checked.found(Tampering.CHANGED, "the next anchor names another one", anchor.seq)
        checked.count += 1
        checked.newest = checked.newest or anchor
        checked.first = anchor if anchor.kind is Kind.BEGUN else checked.first
        if anchor.kind is Kind.EXPIRED and not anchor.by:
            checked.expired = checked.expired or anchor
        self._hold(anchor)
        self._above = anchor

    def finish(self) -> Checked:
        """Return what was found, once all rows were taken."""
        lowest = self._above.seq if self._above else max(self._known, default=-1) + 1
        if lowest > 0:
            self._gap(0, lowest - 1)
        newest = self.checked.newest.seq if self.checked.newest else -1
        if self.checked.newest and (later := [seq for seq in self._known if seq > newest]):
            self.checked.found(Tampering.TRUNCATED, "an anchor kept elsewhere is newer", newest + 1, max(later))
        return self.checked

    def _is_authentic(self, anchor: Anchor) -> bool:
        above = self._above
        named = above is not None and (above.seq - 1, above.previous) == (anchor.seq, anchor.digest)
        return named or anchor.authentic(self.checked.public_key)

    def _strange(self, id: Any) -> None:
        """Name a row that is no anchor: in the place of one, or put in beside them."""
        if whole(id):
            self.checked.distrusted.add(id)
        if whole(id) and id >= 0:
            self.checked.found(Tampering.CHANGED, "its signature does not fit", id)
        else:
            self.checked.found(Tampering.INSERTED, f"no anchor has the number {str(id)[:SHOWN_DIGITS]}", 0)

    def _gap(self, first: int, last: int) -> None:
        """Name anchors that are gone; those that were found changed are named as such."""
        gone = [n for n in range(first, last + 1) if n not in self.checked.distrusted]
        if gone:
            self.checked.found(Tampering.REMOVED, "the next anchor names it", gone[0], gone[-1])

    def _hold(self, anchor: Anchor) -> None:
        """Hold an anchor against the one of its number that was kept elsewhere."""
        known = self._known.get(anchor.seq)
        if known and known.digest != anchor.digest:
            self.checked.found(Tampering.CHANGED, "it is not the one that was kept elsewhere", anchor.seq)


async def anchors_checked(database: Database, public_key: bytes, known: Iterable[Anchor] = ()) -> Checked:
    """Return what the anchors of a database say, and what was done to them."""
    descent = Descent(public_key, known)
    async for row in database[ANCHORS].find({}, batch_size=1_000).sort("_id", DESCENDING):
        descent.take(row)
    return descent.finish()


async def anchors_of(database: Database, writer: str, checked: Checked) -> list[Anchor]:
    """Return the authentic anchors of one writer, by rising number of event. Those made since the check prove themselves."""
    newest = checked.newest.seq if checked.newest else -1
    rows = await database[ANCHORS].find({"by": writer}).to_list()
    read = [each for row in rows if (each := Anchor.read(row)) and each.seq not in checked.distrusted]
    proved = [each for each in read if each.seq <= newest or each.authentic(checked.public_key)]
    return sorted(proved, key=lambda each: (each.n, each.seq))
