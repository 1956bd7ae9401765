"""Following one writer's chain from its first event to its last, against what anchors say of it. Pure.

The documents come in the order of their numbers. One is genuine if its code fits and its body opens; that is seen on each
alone, whatever was done to its neighbours. Genuine ones must follow on each other without a gap, and reach as far as the
anchors say. Those that are not genuine stand for the number that they claim, unless a genuine one has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from fhir_server.audit.anchors import Anchor, Kind
from fhir_server.audit.findings import Finding, Tail, Tampering, Target
from fhir_server.audit.links import COVERED, FIELD, FILED, Links, Position, whole

Document = dict[str, Any]

# Documents that are not genuine and compared with each other, and missing numbers that they are tried under: beyond it an
# event that was moved is named as changed, and as removed where it was.
MOST_COMPARED = 200
# Such documents that are kept until the end; what was done to further ones is said at once.
MOST_KEPT = 1_000


class Follower:
    """Follows one chain. anchors: this writer's, authentic ones, by rising number of event.

    start: from where on. opens: says of a document whether its body opens.
    """

    def __init__(
        self, links: Links, anchors: Sequence[Anchor], start: Position, opens: Callable[[Document], bool]
    ) -> None:
        self._links = links
        self._opens = opens
        expired = (_position(each) for each in anchors if each.kind is Kind.EXPIRED)
        self._position = max((start, *expired), key=lambda position: position.n)
        self._anchors = [each for each in anchors if each.n >= self._position.n]
        self._last = max((each.n for each in anchors), default=0)
        self._next = 0
        self._void = [each for anchor in anchors for each in anchor.ranges]
        self._sure = True  # whether the code of what comes before the next number is known
        self._doubtful: list[Document] = []
        self._claimed: list[int] = []  # numbers behind the position that doubtful ones claim
        self._missing: list[tuple[int, int]] = []
        self._findings: list[Finding] = []
        self.count = 0

    def take(self, documents: Iterable[Document]) -> None:
        """Take the next documents, sorted by number; all with one number in one call."""
        for n, same in groupby(documents, key=_number):
            self._number(n, list(same))

    def finish(self) -> list[Finding]:
        """Return what was found, once all documents were taken."""
        self._reach(self._last + 1)
        end = max([self._position.n, *self._claimed])
        for missing in self._placed(self._missing + self._unaccounted(self._position.n + 1, self._last)):
            if missing[0] > end:
                self._found(Tampering.TRUNCATED, "an anchor says that the chain reaches further", numbers=missing)
            else:
                self._found(Tampering.REMOVED, "later events of the chain are there", numbers=missing)
        for each in self._doubtful:
            self._found(*self._doubt(each), document=each)
        return self._findings

    @property
    def reached(self) -> Position:
        """How far the chain goes."""
        return self._position._replace(size=self.count)

    @property
    def tail(self) -> Tail | None:
        """What lies behind the last anchor."""
        if self._position.n <= self._last:
            return None
        return Tail(self._links.writer, self._last + 1, self._position.n)

    def genuine(self, document: Document) -> bool:
        """Return whether a document is as it was stored."""
        return document.keys() <= COVERED | FILED and self._links.fits(document) and self._opens(document)

    def _number(self, n: int, documents: list[Document]) -> None:
        genuine: list[Document] = []
        strange: list[Document] = []
        for each in documents:
            (genuine if self.genuine(each) else strange).append(each)
        for each in genuine[1:]:
            self._found(Tampering.INSERTED, "its number is taken by another event", document=each)
        claiming = 0 if genuine else len(strange) if n < 1 else 1
        for each in strange[:claiming]:
            self._claim(n, each)
        for each in strange[claiming:]:
            self._found(Tampering.INSERTED, "its code does not fit, and its number is taken", document=each)
        if genuine:
            self.count += 1
            self._follow(n, genuine[0])

    def _claim(self, n: int, document: Document) -> None:
        """Take note of a document that is not genuine and has its number for itself."""
        if n > self._position.n:
            self._claimed.append(n)
        if len(self._doubtful) < MOST_KEPT:
            self._doubtful.append(document)
        else:
            self._found(*self._doubt(document), document=document)

    def _follow(self, n: int, document: Document) -> None:
        """Go on to a genuine event. One under a number that may be void stands for itself alone."""
        if n <= self._position.n or any(first <= n <= last for first, last in self._void):
            return
        self._reach(n)
        self._missing += self._unaccounted(self._position.n + 1, n - 1)
        chain = document[FIELD]
        if self._sure and n == self._position.n + 1 and chain["p"] != self._position.m:
            self._found(Tampering.CHANGED, "it does not follow on the event before it", document=document)
        self._position, self._sure = Position(n, chain["m"]), True
        self._claimed = []

    def _reach(self, n: int) -> None:
        """Hold the chain so far against the anchors below a number."""
        while self._next < len(self._anchors) and self._anchors[self._next].n < n:
            anchor = self._anchors[self._next]
            self._next += 1
            claimed = any(each <= anchor.n for each in self._claimed)
            known = self._sure and not claimed and not self._unaccounted(self._position.n + 1, anchor.n)
            if known and _position(anchor).m != self._position.m:
                why = f"the chain up to here is not the one that anchor {anchor.seq} has signed"
                self._found(Tampering.CHANGED, why, numbers=(anchor.n, anchor.n))
                self._sure = False

    def _unaccounted(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return which of these numbers stand for events that are gone: they are neither void nor claimed."""
        return without((first, last), [*self._void, *((n, n) for n in self._claimed)]) if first <= last else []

    def _placed(self, missing: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Name the events that were moved; return the missing numbers under which none of them belongs."""
        compared = self._doubtful[:MOST_COMPARED]
        if not compared:
            return missing
        numbers = [n for first, last in missing for n in range(first, min(last, first + MOST_COMPARED) + 1)]
        found = set[int]()
        for each in compared:
            place = self._place(each, compared, numbers[:MOST_COMPARED])
            if place is not None:
                found.add(place)
                self._doubtful.remove(each)
                self._found(Tampering.REORDERED, f"it belongs under number {place}", document=each)
        return [part for each in missing for part in without(each, [(n, n) for n in found])]

    def _place(self, document: Document, others: Sequence[Document], missing: Sequence[int]) -> int | None:
        """Return the number that a document was stored under, if it can be told."""
        if not self._opens(document):
            return None
        fits = self._links.fits
        for other in others:
            n = _number(other)
            if other is not document and (fits(document, n=n, of=other) or fits(document, n=n)):
                return n
        return next((n for n in missing if fits(document, n=n)), None)

    def _doubt(self, document: Document) -> tuple[Tampering, str]:
        """Return what was done to a document that is not genuine and has its number for itself."""
        opens = self._opens(document)
        if not opens and _number(document) > max(self._last, self._position.n):
            return Tampering.INSERTED, "its code does not fit, and nothing says that there was an event"
        if not document.keys() <= COVERED | FILED:
            return Tampering.CHANGED, "it has fields that no event has"
        return Tampering.CHANGED, "its code does not fit what it says" if opens else "it does not open"

    def _found(
        self, kind: Tampering, why: str, *, document: Document | None = None, numbers: tuple[int, int] = (0, 0)
    ) -> None:
        if document is not None:
            n = max(_number(document), 0)
            numbers = n, n
        ids = () if document is None else (str(document["_id"]),)
        self._findings.append(Finding(kind, Target.EVENT, why, self._links.writer, *numbers, ids))


def start_of(anchors: Sequence[Anchor], since: int | None) -> Position:
    """Return from where on a chain is followed. since: what was anchored before this instant is taken as the anchor says."""
    before = [each for each in anchors if since is not None and each.at < since]
    last = max(before, key=lambda each: each.n, default=None)
    return _position(last) if last else Position()


def _position(anchor: Anchor) -> Position:
    return Position(anchor.n, bytes.fromhex(anchor.m))


def without(all: tuple[int, int], parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a range (from, to) without others.

    >>> without((1, 10), [(3, 4), (9, 20)])
    [(1, 2), (5, 8)]
    """
    return list(_left(all, sorted(parts)))


def _left(all: tuple[int, int], parts: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first, last = all
    for start, end in parts:
        if end < first or start > last:
            continue
        if start > first:
            yield first, start - 1
        first = max(first, end + 1)
    if first <= last:
        yield first, last


def _number(document: Document) -> int:
    """Return the number that a document claims; -1 if it claims none that can be one."""
    chain = document.get(FIELD)
    n = chain.get("n") if isinstance(chain, dict) else None
    return int(n) if whole(n) else -1
