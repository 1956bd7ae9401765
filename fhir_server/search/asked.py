"""What a search request asks for, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir_server.search.ast import And, Clause
from fhir_server.search.subset import Shape


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of _sort. stored: the store keeps the values (dates, numbers, quantities), so it can sort by them."""

    param: str
    descending: bool
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Include:
    """One _include: the resources that a reference parameter of `type` leads to; or one _revinclude: those of `type`
    that lead here by it.

    param: None for every reference parameter; type: None (with param None) for those of every type.
    target: only references to this type. iterate: from what was included already as well.
    """

    type: str | None
    param: str | None
    target: str | None = None
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A search request, read.

    count: the page size asked for. total: none, estimate or accurate. summary: "count" or None. shape: what is kept
    of each resource (None: all). contained: "true" or "both", where contained resources are searched;
    containers: those that contain them are returned instead.
    used: the parameters in effect, for the self link. ignored: the names of those left out (lenient handling only).
    """

    type: str
    clause: Clause = field(default=And(()))
    sort: tuple[SortKey, ...] = ()
    count: int | None = None
    includes: tuple[Include, ...] = ()
    total: str | None = None
    summary: str | None = None
    shape: Shape | None = None
    contained: str | None = None
    containers: bool = True
    used: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
