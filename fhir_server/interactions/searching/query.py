"""A search as it came: where, for which types, read into what it asks for; and the links that lead back to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from fhir_server.errors import InvalidSearchValue
from fhir_server.interactions.call import Call, Services
from fhir_server.interactions.cursor import Cursor, Pairs, Position, opened_cursor, sealed_cursor
from fhir_server.search.asked import Asked
from fhir_server.search.ast import Clause
from fhir_server.search.parse import parse

CURSOR = "_cursor"
TYPES = "_type"
EXPLAIN = ("_explain", "true")


@dataclass(frozen=True, slots=True)
class Query:
    """A search.

    interaction: its code in the log. path: what is searched, below the base. types: those whose resources are looked
    for. read_as: those whose parameters it takes; "Resource" for those that all types have. clauses: by type.
    used: the parameters in effect. told: the path with them, as the record says it. hidden: they came in a body, so links
    must not show them. explained: an operator asks what it costs.
    """

    interaction: str
    path: str
    types: tuple[str, ...]
    read_as: tuple[str, ...]
    hidden: bool
    asked: Asked = field(default=Asked(""))
    clauses: Mapping[str, Clause] = field(default_factory=dict)
    used: Pairs = ()
    told: str = ""
    explained: bool = False

    def self_link(self, use: Services, call: Call, after: Position | None) -> str:
        """Return the URL of the page that begins behind a position."""
        if self.hidden:
            return self.link(use, call, after)
        return _url(call, self.told if self.used else self.path)

    def link(self, use: Services, call: Call, after: Position | None) -> str:
        """Return a page link that tells nothing of the query."""
        cursor = sealed_cursor(use.cursor_key, call.requester, Cursor(self.path, self.used, after))
        return _url(call, f"{self.path}?{CURSOR}={cursor}")


def _url(call: Call, told: str) -> str:
    """Return the URL of what is told below the base; a search of the whole system begins with its query."""
    return f"{call.base}/{told}" if told and not told.startswith("?") else call.base + told


def begun(use: Services, call: Call, path: str, pairs: Pairs) -> tuple[Pairs, Position | None]:
    """Return the query and where to begin: as asked, or as the cursor of a page link says."""
    cursors = [value for name, value in pairs if name == CURSOR]
    if not cursors:
        return pairs, None
    if len(pairs) > 1:
        raise InvalidSearchValue("A page link stands alone: follow it as it is.")
    cursor = opened_cursor(use.cursor_key, call.requester, path, cursors[0])
    return cursor.query, cursor.after


def types_named(known: Iterable[str], pairs: Pairs) -> tuple[str, ...]:
    """Return the types that _type names, each once; none if it is not given. Raises InvalidSearchValue."""
    texts = [value for name, value in pairs if name == TYPES]
    if not texts:
        return ()
    types = tuple(dict.fromkeys(texts[0].split(",")))
    if len(texts) > 1 or not {*types} <= {*known}:
        raise InvalidSearchValue("_type is given once, and names resource types that can be found here.")
    return types


def read_query(use: Services, call: Call, query: Query, pairs: Pairs, now: datetime, *, typed: bool = False) -> Query:
    """Return a search with its parameters read. typed: _type is one of them, read already.

    A parameter that one of several types does not have is refused, or in lenient handling left out for all of them.
    Raises InvalidSearchValue, UnsupportedParameter, TooCostly.
    """
    # For everybody else the parameter is one that nobody knows.
    explained = EXPLAIN in pairs and call.requester.user in use.settings.operators
    apart = tuple(pair for pair in pairs if (typed and pair[0] == TYPES) or (explained and pair == EXPLAIN))
    own = tuple(pair for pair in pairs if pair not in apart) if apart else pairs

    def read(pairs: Pairs) -> dict[str, Asked]:
        return {
            type: parse(
                use.registry,
                type,
                pairs,
                lenient=call.lenient,
                zone=use.zone,
                now=now,
                base_url=call.base,
                searched=query.read_as,
            )
            for type in query.read_as
        }

    found = read(own)
    ignored = tuple(dict.fromkeys(name for asked in found.values() for name in asked.ignored))
    if len(found) > 1 and ignored:
        found = read(tuple(pair for pair in own if pair[0] not in ignored))
    first = next(iter(found.values()))
    used = (*apart, *first.used)
    return Query(
        query.interaction,
        query.path,
        query.types,
        query.read_as,
        query.hidden,
        asked=replace(first, ignored=ignored) if ignored else first,
        clauses={type: found.get(type, first).clause for type in query.types},
        used=used,
        told=f"{query.path}?{urlencode(used)}",
        explained=explained,
    )
