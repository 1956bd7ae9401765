"""What conditions match in the course of a transaction: what is stored, less what it deletes, plus what it makes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.errors import Problem
from fhir_server.interactions import conditional
from fhir_server.interactions.call import Call, Services
from fhir_server.interactions.conditional import Condition, Found
from fhir_server.interactions.transactions.entries import Entry, located
from fhir_server.search.ast import And, Clause, Filed, Or, PersonReference
from fhir_server.store.drafts import Draft
from fhir_server.store.shadow import stamped


async def search(
    use: Services, call: Call, asked: Mapping[Condition, Entry], entries: Iterable[Entry]
) -> dict[Condition, Found]:
    """Return what each condition finds in the store: so much that enough is left without what the entries change.

    asked: the conditions, each with an entry that has it. The first problem in the order of the entries is raised.
    """
    changed = [each.type for each in entries if each.request.interaction != "create"]
    beyond = use.settings.most_conditional_deletes
    works = (conditional.find(use, call, each, most=beyond + changed.count(each.type)) for each in asked)
    results = await asyncio.gather(*works, return_exceptions=True)
    found = dict(zip(asked, results, strict=True))
    for condition, entry in sorted(asked.items(), key=lambda each: each[1].number):
        result = found[condition]
        if isinstance(result, Problem):
            raise located(result, entry) from result
        if isinstance(result, BaseException):
            raise result
    return {condition: result for condition, result in found.items() if isinstance(result, Found)}


class View:
    """The state that the conditions of a transaction are held against.

    found: what each condition finds in the store. gone: the Type/id of what the transaction deletes. What it makes is
    filed under its index terms as the store files it, so that a thousand conditions on a thousand new resources are a
    thousand look-ups.
    """

    def __init__(self, use: Services, found: Mapping[Condition, Found]) -> None:
        self._use = use
        self.found = found
        self.gone: set[str] = set()
        self._made: dict[str, dict[str, Any]] = {}
        self._of_type: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._filed: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    def make(self, place: str, resource: Mapping[str, Any]) -> None:
        """Add a resource as the transaction will store it at a Type/id."""
        type, _, id = place.partition("/")
        draft = self._use.writer.labelled(Draft(resource, id, custodian=""))
        made = self._made[place] = stamped(draft.resource, id=id, version=1, at=self._use.now())
        self._of_type[type][place] = None
        for term in self._use.projector(made).terms:
            self._filed[type, term][place] = None

    def matches(self, condition: Condition) -> list[str]:
        """Return the Type/id of all on which a condition holds."""
        wanted, rows = self.found[condition]
        stored = (f"{condition.type}/{row['_id']}" for row in rows)
        held = [each for each in stored if each not in self.gone and each not in self._made]
        candidates = self._candidates(condition.type, wanted.clause)
        return held + [each for each in candidates if conditional.holds_on(self._use, wanted, self._made[each])]

    def _candidates(self, type: str, clause: Clause) -> Mapping[str, None]:
        """Return what is made of a type and can match a clause: found by terms where the clause has any, else all of it."""
        match clause:
            case Filed(_, terms) | PersonReference(terms=terms):
                return {place: None for term in terms for place in self._filed.get((type, term), ())}
            case And(parts) if parts:
                return min((self._candidates(type, part) for part in parts), key=len)
            case Or(parts):
                return {place: None for part in parts for place in self._candidates(type, part)}
        return self._of_type[type]
