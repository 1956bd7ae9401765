"""What a search request asks for, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir_server.search.ast import And, Clause


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of _sort: a date parameter, _lastUpdated or _id."""

    param: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """One _include: the resources that a reference parameter of `type` leads to; target: only those of this type."""

    type: str
    param: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A search request, read.

    count: the page size asked for. total: none, estimate or accurate. summary: "count" or None.
    used: the parameters in effect, for the self link. ignored: the names of those left out (lenient handling only).
    """

    type: str
    clause: Clause = field(default=And(()))
    sort: tuple[SortKey, ...] = ()
    count: int | None = None
    includes: tuple[Include, ...] = ()
    total: str | None = None
    summary: str | None = None
    used: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
