"""Which resource each entry of a transaction is about, once its conditions are resolved. Nothing is written here.

R4, "Transaction Processing Rules": deletes come first, then creates, then updates and patches, whatever the order of
the entries. So a condition does not find what the transaction deletes, a conditional create finds what the other
entries create, and a conditional update or patch finds that as well; then two entries are about one resource, and the
transaction fails. "The outcome … SHALL NOT depend on the order of the resources in the transaction": several
conditional creates of one condition make one resource if they say the same, and are refused if they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir_server.errors import Absent, InvalidRequest, Problem
from fhir_server.interactions import changes, conditional
from fhir_server.interactions.call import Call, Services, within_scopes
from fhir_server.interactions.conditional import Condition, Found
from fhir_server.interactions.transactions.entries import Entry, located
from fhir_server.interactions.transactions.view import View, search
from fhir_server.store.conditions import Guard
from fhir_server.store.ids import new_id
from fhir_server.store.resources import Document

LETTERS = {"create": "c", "update": "u", "patch": "u", "delete": "d"}


@dataclass
class Plan:
    """What each writing entry, by its number, is about.

    ids: of the resource that is created, updated or patched. deletes: of those that are deleted. matched: entries
    whose condition found their resource in the store. kept: what a conditional create found there instead of
    creating. shared: conditional creates that found what another entry creates, with its number. guards: of the
    conditions that found nothing, so that something is created, by their keys. queries: the conditions, as URLs.
    """

    ids: dict[int, str] = field(default_factory=dict)
    deletes: dict[int, list[str]] = field(default_factory=dict)
    matched: set[int] = field(default_factory=set)
    kept: dict[int, Document] = field(default_factory=dict)
    shared: dict[int, int] = field(default_factory=dict)
    guards: dict[int, Guard] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)

    def place(self, entry: Entry) -> str | None:
        """Return the Type/id that an entry stands for, None for what is deleted."""
        if entry.number in self.shared:
            return f"{entry.type}/{self.ids[self.shared[entry.number]]}"
        kept = self.kept.get(entry.number)
        id = str(kept["_id"]) if kept else self.ids.get(entry.number)
        return None if id is None else f"{entry.type}/{id}"


async def planned(use: Services, call: Call, entries: Sequence[Entry]) -> Plan:
    """Return the plan of a transaction's writing entries.

    Raises InvalidRequest if two of them are about one resource, and the problem of a condition, saying whose it is.
    """
    plan = Plan()
    conditional_ones = [each for each in entries if each.conditional]
    if not conditional_ones:
        for entry in entries:
            _plain(plan, entry)
    else:
        conditions = {each.number: _condition(use, each) for each in conditional_ones}
        guards = await use.conditions.guards(
            conditions[each.number].text(call.requester.organization)
            for each in conditional_ones
            if each.request.interaction in ("create", "update")
        )
        asked = {conditions[each.number]: each for each in reversed(conditional_ones)}
        found = await search(use, call, asked, entries)
        _Resolving(use, plan, entries, conditions, found, guards).resolve()
        plan.queries = [each.query for each in asked]
    _refuse_overlap(plan, entries)
    return plan


class _Resolving:
    """Resolves the conditions of a transaction into its plan, in the order of R4."""

    def __init__(
        self,
        use: Services,
        plan: Plan,
        entries: Sequence[Entry],
        conditions: Mapping[int, Condition],
        found: Mapping[Condition, Found],
        guards: Mapping[str, Guard],
    ) -> None:
        self._use = use
        self._plan = plan
        self._entries = entries
        self._conditions = conditions
        self._guards = guards
        self._view = View(use, found)
        self._creator: dict[str, Entry] = {}

    def resolve(self) -> None:
        deletes, creates, updates = (
            [each for each in self._entries if each.request.interaction in codes]
            for codes in (("delete",), ("create",), ("update", "patch"))
        )
        for entry in deletes:
            self._at(entry, self._delete)
        for entry in (*(each for each in creates if not each.conditional), *filter(lambda e: e.conditional, creates)):
            self._at(entry, self._create)
        for entry in (*(each for each in updates if not each.conditional), *filter(lambda e: e.conditional, updates)):
            self._at(entry, self._update)

    def _at(self, entry: Entry, step: Callable[[Entry], None]) -> None:
        try:
            step(entry)
        except Problem as problem:
            raise located(problem, entry) from problem

    def _delete(self, entry: Entry) -> None:
        _plain(self._plan, entry)
        if entry.conditional:
            rows = self._view.found[self._conditions[entry.number]].rows
            if len(rows) > self._use.settings.most_conditional_deletes:
                raise conditional.several()
            self._plan.deletes[entry.number] = [str(row["_id"]) for row in rows]
        self._view.gone.update(f"{entry.type}/{id}" for id in self._plan.deletes[entry.number])

    def _create(self, entry: Entry) -> None:
        changes.checked(self._use, entry.type, entry.resource)
        place = self._match(entry) if entry.conditional else None
        if place is None:
            _plain(self._plan, entry)
            self._creator[f"{entry.type}/{self._plan.ids[entry.number]}"] = entry
            self._view.make(f"{entry.type}/{self._plan.ids[entry.number]}", entry.resource)
        elif place in self._creator:
            self._share(entry, self._creator[place])
        else:
            self._plan.kept[entry.number] = self._row(entry, place)

    def _share(self, entry: Entry, creator: Entry) -> None:
        same = self._use.writer.digest(entry.resource) == self._use.writer.digest(creator.resource)
        if creator.conditional and not same:
            raise InvalidRequest("Two entries create the same resource on conditions, and with different contents.")
        self._plan.shared[entry.number] = creator.number

    def _update(self, entry: Entry) -> None:
        place = self._match(entry) if entry.conditional else None
        if place is not None:
            self._plan.ids[entry.number] = place.partition("/")[2]
            self._plan.matched.add(entry.number)
        elif entry.conditional and entry.request.interaction == "patch":
            raise Absent
        else:
            _plain(self._plan, entry)
            if entry.conditional:
                changes.checked(self._use, entry.type, entry.resource)
                self._view.make(f"{entry.type}/{self._plan.ids[entry.number]}", entry.resource)

    def _match(self, entry: Entry) -> str | None:
        """Return the Type/id that an entry's condition finds; if it finds nothing, the condition is guarded."""
        condition = self._conditions[entry.number]
        found = self._view.matches(condition)
        if len(found) > 1:
            raise conditional.several()
        if found:
            return found[0]
        guard = self._guards.get(condition.text(entry.call.requester.organization))
        if guard:
            self._plan.guards[guard.key] = guard
        return None

    def _row(self, entry: Entry, place: str) -> Document:
        rows = self._view.found[self._conditions[entry.number]].rows
        return next(row for row in rows if f"{entry.type}/{row['_id']}" == place)


def _condition(use: Services, entry: Entry) -> Condition:
    """Return an entry's condition, once it is certain that the requester may write at all."""
    try:
        changes.may_write(use, entry.call, entry.type)
        within_scopes(entry.call, entry.type, LETTERS[entry.request.interaction])
        if entry.call.if_none_exist is not None:
            return conditional.condition_in(entry.type, entry.call.if_none_exist)
        return conditional.condition(entry.type, entry.request.pairs)
    except Problem as problem:
        raise located(problem, entry) from problem


def _plain(plan: Plan, entry: Entry) -> None:
    """Note what an entry without a condition, or with one that finds nothing, is about."""
    if entry.request.interaction == "delete":
        plan.deletes[entry.number] = [str(entry.request.id)] if entry.request.id else []
    else:
        named = entry.resource.get("id") if entry.request.interaction == "update" else None
        plan.ids[entry.number] = entry.request.id or (named if isinstance(named, str) else new_id())


def _refuse_overlap(plan: Plan, entries: Iterable[Entry]) -> None:
    """R4: no resource may be written by two entries, those that conditions found included."""
    seen: set[str] = set()
    for entry in entries:
        written = plan.deletes.get(entry.number, [plan.ids[entry.number]] if entry.number in plan.ids else [])
        for id in written:
            if (place := f"{entry.type}/{id}") in seen:
                raise InvalidRequest("Two entries of the transaction write the same resource.", expression=entry.where)
            seen.add(place)
