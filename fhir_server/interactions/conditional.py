"""Conditions of writes: a search in place of an id, or one that must find nothing.

A condition is searched under the requester's own gate, so a hidden resource matches as little as one that does not exist;
what is then written passes the gate of the write as well. What was found is recorded as any search is.

Source: FHIR R4 RESTful API, "Conditional create", "Conditional update", "Conditional patch", "Conditional delete".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from fhir_server.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    Problem,
    SeveralMatches,
    UnsupportedParameter,
)
from fhir_server.interactions.call import Call, Services, disclosed, gate_for, serves
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.costs import affordable
from fhir_server.interactions.searching.resolving import resolved
from fhir_server.interactions.searching.wanted import Wanted, rows_of
from fhir_server.search.ast import Clause, Obliged, Or, SelfIn, transform
from fhir_server.search.parse import parse as parse_query
from fhir_server.search.results import UNSEEN, about_results
from fhir_server.search.values import shown
from fhir_server.store.conditions import Guard
from fhir_server.store.resources import Document

MOST_PAIRS = 500


@dataclass(frozen=True, slots=True)
class Condition:
    """A search of one type that decides what a write is about. pairs: at least one, none of them about results."""

    type: str
    pairs: Pairs

    @property
    def query(self) -> str:
        """The search as a URL below the base writes it."""
        return f"{self.type}?{urlencode(self.pairs)}"

    def text(self, organization: str) -> str:
        """Return what two conditions of one institution have in common if they ask the same, in whatever order."""
        return f"{organization}|{self.type}?{urlencode(sorted(self.pairs))}"


class Found(NamedTuple):
    """What a condition asks for, and the first resources of the store on which it holds."""

    wanted: Wanted
    rows: list[Document]


def condition(type: str, pairs: Pairs) -> Condition:
    """Return the condition of a conditional interaction.

    Raises InvalidRequest if nothing is asked, UnsupportedParameter if something is that only shapes results.
    """
    asked = tuple((name, text) for name, text in pairs if name not in UNSEEN)
    if not asked:
        raise InvalidRequest("A conditional interaction needs search parameters: what would it be about?")
    for name, _ in asked:
        if about_results(name):
            raise UnsupportedParameter(f"{shown(name)} is about the results of a search: a condition has none.")
    return Condition(type, asked)


def condition_in(type: str, text: str) -> Condition:
    """Return the condition that If-None-Exist or ifNoneExist writes: a query, behind the URL of the type or alone."""
    before, mark, query = text.partition("?")
    if not mark or "=" in before:
        query = text
    elif before.rstrip("/").rpartition("/")[2] not in ("", type):
        raise InvalidRequest(f"If-None-Exist is a search of {type}, the type that is created.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PAIRS)
    except ValueError as error:
        raise InvalidRequest("If-None-Exist cannot be read: percent-encode it as UTF-8.") from error
    return condition(type, tuple(pairs))


async def find(use: Services, call: Call, asked: Condition, *, most: int = 1) -> Found:
    """Return what a condition finds of what the requester may see: `most` resources, and one more if there are more.

    Raises InvalidSearchValue, UnsupportedParameter, TooCostly as a search does, Forbidden if there may be none.
    """
    serves(use, asked.type)
    gate = gate_for(use, call, asked.type, "s")
    query = parse_query(
        use.registry, asked.type, asked.pairs, lenient=False, zone=use.zone, now=gate.now, base_url=call.base
    )
    wanted = await resolved(use, asked.type, query.clause, gate)
    await affordable(use, wanted, gate)
    rows = await rows_of(use, wanted, gate, limit=most + 1)
    if rows:
        told = f"{asked.type}?{urlencode(query.used)}"
        await record(use, call, disclosed("search-type", asked.type, rows, gate, query=told))
    return Found(wanted, rows)


async def only(use: Services, call: Call, asked: Condition) -> Document | None:
    """Return the one resource that a condition finds, None if it finds none. Raises SeveralMatches."""
    rows = (await find(use, call, asked)).rows
    if len(rows) > 1:
        raise several()
    return rows[0] if rows else None


async def guard(use: Services, call: Call, asked: Condition) -> Guard:
    """Return what lets a write fail if another one was stored for an equal condition; read before the search."""
    text = asked.text(call.requester.organization)
    return (await use.conditions.guards([text]))[text]


def several() -> Problem:
    """Return the problem of a condition that finds more than the interaction may be about."""
    return SeveralMatches("The condition matches several resources: make it more selective.")


async def lost(use: Services, call: Call, type: str, id: str) -> Problem:
    """Return why what a search has just found cannot be written: it has changed since, or the token does not reach it."""
    if await use.resources.read(type, id, gate_for(use, call, type, "s")) is None:
        return Conflict("Another write to the same resource came first: read it again.")
    return Forbidden("The token's scopes do not allow changing what the condition matches.")


def holds_on(use: Services, wanted: Wanted, resource: dict[str, Any]) -> bool:
    """Return whether a condition holds on a resource that is about to be stored (with id and meta).

    Nothing that is stored refers to it yet, so no _has holds on it; and nothing of it is withheld from who brings it.
    """

    def unstored(clause: Clause) -> Clause:
        return Or(()) if isinstance(clause, SelfIn | Obliged) else clause

    return wanted.type == resource["resourceType"] and use.matches(transform(wanted.clause, unstored), resource)
