"""What a verification of the audit log finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# Findings that are named one by one; of more there is the number.
MOST_NAMED = 1_000


class Tampering(StrEnum):
    """What was done."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    MISFILED = "misfiled"


class Target(StrEnum):
    """To what it was done."""

    EVENT = "event"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was done to the log.

    writer: whose chain, "" if none. first, last: the numbers concerned, of events in that chain or of anchors. ids: those of
    the AuditEvents that are still there. why: by what it was found.
    """

    kind: Tampering
    target: Target
    why: str
    writer: str = ""
    first: int = 0
    last: int = 0
    ids: tuple[str, ...] = ()

    def content(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "kind": str(self.kind),
            "target": str(self.target),
            "writer": self.writer,
            "first": self.first,
            "last": self.last,
            "ids": list(self.ids),
            "why": self.why,
        }

    def __str__(self) -> str:
        numbers = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        where = f" of writer {self.writer}" if self.writer else ""
        ids = f" ({', '.join(self.ids)})" if self.ids else ""
        number = f" {numbers}" if self.first or self.last else ""
        return f"{self.kind}: {self.target}{number}{where}{ids}: {self.why}"


@dataclass(frozen=True, slots=True)
class Tail:
    """Events of a writer behind its last anchor: were the last of them taken away, nobody could tell."""

    writer: str
    first: int
    last: int


@dataclass(slots=True)
class Report:
    """What a verification has seen and found.

    events: that are chained. before: that were stored before there was a chain. expired: numbers whose events were older
    than they must be kept. anchors: how many. unanchored: what is only bounded. unnamed: findings beyond MOST_NAMED.
    """

    events: int = 0
    before: int = 0
    expired: int = 0
    writers: int = 0
    anchors: int = 0
    unanchored: list[Tail] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unnamed: int = 0
    newest: dict[str, Any] | None = None

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def found(self, *findings: Finding) -> None:
        """Take note of findings."""
        for each in findings:
            if len(self.findings) < MOST_NAMED:
                self.findings.append(each)
            else:
                self.unnamed += 1

    def content(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "intact": self.intact,
            "events": self.events,
            "before": self.before,
            "expired": self.expired,
            "writers": self.writers,
            "anchors": self.anchors,
            "newestAnchor": self.newest,
            "notYetAnchored": [
                {"writer": each.writer, "first": each.first, "last": each.last} for each in self.unanchored
            ],
            "findings": [each.content() for each in self.findings],
            "unnamed": self.unnamed,
        }
