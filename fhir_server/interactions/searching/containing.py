"""_contained: resources that stand within others, found by what they say themselves (FHIR R4 Search, "Contained Resources").

What contains a resource of a type is filed under that type; such containers, as far as the requester may find them, are
opened, and the clause is decided on what they contain. That is bounded, and in the order of type and id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly, UnsupportedParameter
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.call import Services
from fhir_server.interactions.cursor import Position
from fhir_server.interactions.searching.costs import affordable
from fhir_server.interactions.searching.opening import Opened, opened_of
from fhir_server.interactions.searching.ordering import BY_ID, order
from fhir_server.interactions.searching.wanted import MOST_OPENED, SHOWN, Wanted, rows_of
from fhir_server.interactions.together import all_of
from fhir_server.search.asked import Asked
from fhir_server.search.ast import Clause, Obliged, Or, SelfIn, transform
from fhir_server.store.terms import contained_term

Resource = dict[str, Any]


async def page_of_contained(
    use: Services, asked: Asked, wanted: Wanted, gate: RequestGate, *, after: Position | None, size: int | None = None
) -> tuple[list[Opened], int, Position | None]:
    """Return the page behind a position, the total, and where the next page begins (None: no more).

    size: of the page; None: all there is.
    Raises TooCostly if too much would have to be opened, UnsupportedParameter for an order other than by id.
    """
    if asked.sort or (asked.includes and not asked.containers):
        raise UnsupportedParameter(
            "_contained does not go together with _sort, nor _containedType=contained with includes."
        )
    found = {_place(each): each for each in await _contained(use, asked, wanted, gate)}
    if asked.contained == "both":
        found |= {_place(each): each for each in await _themselves(use, wanted, gate)}
    rows = [found[place] for place in sorted(found) if after is None or place > (after.type, after.id)]
    page = rows[:size]
    return page, len(found), Position((), *_place(page[-1])) if len(page) < len(rows) else None


def _place(row: Opened) -> tuple[str, str]:
    return row.type, f"{row.document['_id']}#{row.fragment}" if row.fragment else row.document["_id"]


async def _themselves(use: Services, wanted: Wanted, gate: RequestGate) -> list[Opened]:
    """Return the resources that are not contained in any other."""
    await affordable(use, wanted, gate)
    rows = await rows_of(use, wanted, gate, limit=MOST_OPENED + 1)
    if len(rows) > MOST_OPENED:
        raise _too_many()
    return await opened_of(use, gate, wanted.type, rows)


async def _contained(use: Services, asked: Asked, wanted: Wanted, gate: RequestGate) -> list[Opened]:
    types = sorted(use.registry.types & await use.resources.stored())
    found = await all_of(_containers(use, type, wanted.type, gate) for type in types)
    containers = [each for rows in found for each in rows]
    if len(containers) > MOST_OPENED:
        raise _too_many()
    clause = _on_contained(wanted.clause)
    return [row for each in containers for row in _matching(use, clause, wanted.type, each, whole=asked.containers)]


async def _containers(use: Services, type: str, held: str, gate: RequestGate) -> list[Opened]:
    """Return the resources of a type that contain one of another."""
    filter = {"ix": use.term(contained_term(held))}
    rows = await use.resources.find(type, filter, gate, sort=order(BY_ID), limit=MOST_OPENED + 1, shown=SHOWN)
    if len(rows) > MOST_OPENED:
        raise _too_many()
    return await opened_of(use, gate, type, rows)


def _matching(use: Services, clause: Clause, type: str, container: Opened, *, whole: bool) -> Iterator[Opened]:
    """Yield a container, or each resource in it, on which a clause holds. whole: the container, once."""
    resource = parse(container.body)
    updated = {"lastUpdated": resource["meta"]["lastUpdated"]}
    for each in resource.get("contained", ()):
        if each.get("resourceType") != type:
            continue
        # It is stored, and so updated, with its container.
        if use.matches(clause, {"id": "", **each, "meta": {**each.get("meta", {}), **updated}}):
            if whole:
                yield container
                return
            yield Opened(container.type, container.document, dump(each), each.get("id", ""))


def _on_contained(clause: Clause) -> Clause:
    """Return a clause as it is for a contained resource: nothing outside of its container can refer to it.

    What is withheld of it is out of its container, as that is shown.
    """
    return transform(clause, lambda each: Or(()) if isinstance(each, SelfIn | Obliged) else each)


def _too_many() -> TooCostly:
    return TooCostly(
        f"More than {MOST_OPENED} resources would have to be opened for _contained: narrow the search, or leave it out."
    )
