"""From a clause as asked to one that the store can answer: chains, lists and persons replaced by what they lead to.

Every sub-query carries the predicate too: a chain, a _has and a list stop at what the requester may not see, and what
is too costly is decided on what the requester may see.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import TooCostly
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services
from fhir_server.interactions.searching.coded import coded
from fhir_server.interactions.searching.costs import affordable
from fhir_server.interactions.searching.narrowing import Candidate, candidate, narrowed, parted
from fhir_server.interactions.searching.opening import opened_of
from fhir_server.interactions.searching.persons import Persons
from fhir_server.interactions.searching.wanted import BY_ID, Wanted, filter_of, opened, rows_of
from fhir_server.interactions.together import all_of
from fhir_server.redaction.asking import guarded, pointing
from fhir_server.redaction.sections import TYPE as COMPOSITION
from fhir_server.redaction.showing import due_overall
from fhir_server.search.ast import (
    And,
    Chain,
    Clause,
    Filed,
    Has,
    IdIn,
    InValueSet,
    Listed,
    Not,
    Or,
    PersonReference,
    SelfIn,
    Shown,
    Subsumed,
    both,
    leads_elsewhere,
    needs_body,
)
from fhir_server.search.indexed import by_id
from fhir_server.search.lists import listed
from fhir_server.search.types import reference
from fhir_server.search.types.span import Here
from fhir_server.store.terms import self_term

MOST_CHAINED = 5_000
# Resources that a _has looks through for what they refer to.
MOST_REFERRING = 50_000


async def resolved(use: Services, type: str, clause: Clause, gate: RequestGate) -> Wanted:
    """Return a clause with everything that is looked up elsewhere replaced by what was found there.

    Raises TooCostly if a step leads to more than one query can look up.
    """
    if not leads_elsewhere(clause):
        return Wanted(type, await _guarded(use, type, clause, gate))
    return await _Plan(use, gate).wanted(type, clause)


async def _guarded(use: Services, type: str, clause: Clause, gate: RequestGate) -> Clause:
    """Return a clause that does not tell what is withheld of the records of a type."""
    due = await due_overall(use, gate, type)
    return guarded(use.registry, type, clause, due) if due or type == COMPOSITION else clause


class _Plan:
    """What the sub-queries of one search share: the gate, the persons, and what was looked up already."""

    def __init__(self, use: Services, gate: RequestGate) -> None:
        self._use = use
        self._gate = gate
        self._persons = Persons(use, gate)
        self._led: dict[tuple[str, Clause], asyncio.Future[list[str]]] = {}

    async def wanted(self, type: str, clause: Clause) -> Wanted:
        """Return what is to be found of a type."""
        clause = await _guarded(self._use, type, clause, self._gate)
        of_few = await self._is_of_few(type, clause)
        relations, others = parted(clause)
        if not relations or not others:
            return Wanted(type, await self._straight(type, clause), of_few)
        rest = Wanted(type, both(await all_of(self._straight(type, part) for part in others)), of_few)
        few = await self._candidates(rest) if of_few or by_id(rest.clause) else None
        related = await all_of(self._related(each, rest, few) for each in relations)
        return replace(rest, clause=both([rest.clause, *related]))

    async def _related(self, relation: Chain | Has, rest: Wanted, few: list[Candidate] | None) -> Clause:
        """Return a relation resolved, for at least those resources on which the rest of the search holds.

        few: these resources, where it is better to begin with them.
        """
        if few is None:
            try:
                return await self._straight(rest.type, relation)
            except TooCostly:
                if (few := await self._candidates(rest)) is None:
                    raise
        return await self._straight(rest.type, narrowed(relation, few))

    async def _candidates(self, rest: Wanted) -> list[Candidate] | None:
        """Return what the rest of a search can find; None if it is too much to narrow by."""
        await affordable(self._use, rest, self._gate)
        rows = await self._use.resources.find(
            rest.type,
            filter_of(self._use, rest),
            self._gate,
            sort=BY_ID,
            limit=MOST_CHAINED + 1,
            shown={"to": 1},
            few=rest.of_few,
        )
        return [candidate(rest.type, row) for row in rows] if len(rows) <= MOST_CHAINED else None

    async def _straight(self, type: str, clause: Clause) -> Clause:
        match clause:
            case And(parts) | Or(parts):
                led = iter(await all_of(self._straight(type, part) for part in parts if leads_elsewhere(part)))
                return clause.__class__(tuple(next(led) if leads_elsewhere(part) else part for part in parts))
            case Not(part):
                return Not(await self._straight(type, part))
            case Chain(param, _, by_target):
                ends = await all_of(self._led_to(param, target, inner) for target, inner in by_target)
                return Filed(param, tuple(reference.term(param, each) for found in ends for each in found))
            case PersonReference(_, references):
                return reference.widened(clause, await self._persons.others(references))
            case Shown(part, among):
                return Shown(await self._straight(type, part), among)
            case Has():
                due = await due_overall(self._use, self._gate, clause.type)
                return SelfIn(tuple(await self._pointed_to(pointing(self._use.registry, clause, due))))
            case Listed(id):
                return IdIn(await self._listed(type, id))
            case InValueSet() | Subsumed():
                return await coded(self._use, clause, self._gate)
        return clause

    async def _is_of_few(self, type: str, clause: Clause) -> bool:
        """Return whether a search asks for records of persons that the requester sees, and for no others."""
        for part in clause.parts if isinstance(clause, And) else (clause,):
            if isinstance(part, PersonReference) and self._use.projector.places(type, part.param):
                if set(part.terms) != {reference.term(part.param, each) for each in part.references}:
                    continue  # something else than Patients is asked for as well
                seen = await self._persons.seen(part.references)
                if len(seen) == len(set(part.references)):
                    return True
        return False

    async def _led_to(self, param: str, target: str, clause: Clause) -> list[str]:
        """Return the references to the resources of one target type on which a chain's clause holds."""
        key = (target, clause)
        if key not in self._led:  # chains over several types often meet at one end
            self._led[key] = asyncio.ensure_future(self._found(target, clause))
        found = await self._led[key]
        if len(found) > MOST_CHAINED:
            raise TooCostly(
                f"The chain over {param} leads to more than {MOST_CHAINED} resources of type {target}: "
                f"ask more of {target} at its end, or more of what is searched for."
            )
        return found

    async def _found(self, type: str, clause: Clause) -> list[str]:
        """Return the references to the resources on which a clause holds, one more than MOST_CHAINED at most."""
        use, wanted = self._use, await self.wanted(type, clause)
        await affordable(use, wanted, self._gate)
        rows = await rows_of(use, wanted, self._gate, limit=MOST_CHAINED + 1, shown={"_id": 1})
        return [f"{type}/{row['_id']}" for row in rows]

    async def _pointed_to(self, has: Has) -> list[int]:
        """Return the keyed self terms of the resources that those refer to on which the clause of a _has holds."""
        use, wanted = self._use, await self.wanted(has.type, has.clause)
        await affordable(use, wanted, self._gate)
        if needs_body(wanted.clause):
            of = use.projector.references
            resources = [resource for _, resource in await opened(use, wanted, self._gate, BY_ID)]
            links = {each for resource in resources for each in of(has.type, has.param, resource)}
            found = [use.term(self_term(each)) for each in links]
        else:
            await self._few_enough(has, wanted)
            found = await use.resources.pointed_to(
                has.type, has.param, filter_of(use, wanted), self._gate, limit=MOST_CHAINED + 1
            )
        if len(found) > MOST_CHAINED:
            raise TooCostly(
                f"_has:{has.type}:{has.param} leads to more than {MOST_CHAINED} resources: "
                f"ask more of {has.type}, or more of what is searched for."
            )
        return sorted(found)

    async def _few_enough(self, has: Has, wanted: Wanted) -> None:
        """Return if what refers can be looked through. Raises TooCostly by what the requester may see of it."""
        resources, most = self._use.resources, MOST_REFERRING
        if await resources.size(has.type) <= most:
            return
        if await resources.count(has.type, filter_of(self._use, wanted), self._gate, limit=most + 1) > most:
            raise TooCostly(
                f"_has:{has.type}:{has.param} would look through more than {most} resources: "
                f"ask more of {has.type}, or more of what is searched for."
            )

    async def _listed(self, type: str, id: str) -> tuple[str, ...]:
        """Return the ids of what stands in a List that the requester may read; one that is hidden is empty."""
        use = self._use
        gate = self._gate.lettered("r")
        document = await use.resources.read("List", id, gate)
        if document is None:
            return ()
        [row] = await opened_of(use, gate, "List", [document])
        found = listed(parse(row.body), type, Here(use.zone, use.settings.public_base))
        if len(found) > MOST_CHAINED:
            raise TooCostly(f"The List holds more than {MOST_CHAINED} resources of type {type}.")
        return found
