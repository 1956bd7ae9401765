"""From the name and the text of one parameter to its clause: plain ones, chains, _has and _list (FHIR R4 Search)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from fhir_server.definitions.registry import ANY_TYPE, Registry, SearchParameter
from fhir_server.errors import InvalidSearchValue, TooCostly, UnsupportedParameter
from fhir_server.search import fulltext
from fhir_server.search.ast import Chain, Clause, Has, Listed, either
from fhir_server.search.effort import MOST_STEPS, Effort
from fhir_server.search.filter.clauses import filtered
from fhir_server.search.plain import plain
from fhir_server.search.support import unsupported
from fhir_server.search.types.span import Here
from fhir_server.search.values import shown, split

# Types whose resources are not filed under their own ids (store/terms.py), so that nothing leads back to them.
UNLINKED = frozenset({"AuditEvent"})
_LIST_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


class Ignorable(Exception):
    """Lenient handling leaves this parameter out. Carries the problem that strict handling reports."""

    def __init__(self, problem: InvalidSearchValue | UnsupportedParameter) -> None:
        super().__init__(problem.diagnostics)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Question:
    """What every parameter of a request is read against."""

    registry: Registry
    here: Here
    now: datetime
    effort: Effort = field(default_factory=Effort)

    def clause(self, type: str, name: str, text: str, steps: int = 0) -> Clause:
        """Return the clause of one parameter of a type.

        steps: how many lead from the type that is searched to this one.
        Raises Ignorable, InvalidSearchValue, UnsupportedParameter, TooCostly.
        """
        if name == "_has" or name.startswith("_has:"):
            return self._has(type, name, text, steps)
        first, dot, rest = name.partition(".")
        code, colon, modifier = first.partition(":")
        if code in SPECIAL:
            return self._special(type, code, text, plainly_named=name == code)
        parameter = self.parameter(type, code)
        if colon and not modifier:
            raise UnsupportedParameter(f"{code} has an empty modifier.")
        _with_value(name, text)
        if not dot:
            if steps:
                self.effort.take(values=1 + text.count(","))
            return plain(parameter, modifier, text, self.here, self.now)
        further = _further(steps)
        return self.chain(parameter, modifier, rest, lambda target: self.clause(target, rest, text, further))

    def parameter(self, type: str, code: str) -> SearchParameter:
        """Return a search parameter that is answered. Raises Ignorable."""
        parameter = self.registry.parameters(type).get(code)
        if parameter is None:
            raise Ignorable(UnsupportedParameter(f"{type} has no search parameter {shown(code)}."))
        if reason := unsupported(parameter):
            raise Ignorable(UnsupportedParameter(f"{type} does not support the search parameter {code}: {reason}."))
        return parameter

    def chain(self, parameter: SearchParameter, type: str, rest: str, on: Callable[[str], Clause]) -> Clause:
        """Return the chain over a reference to each target that has a clause.

        type: the target that the step names, or "". rest: the parameter that is chained. on: the clause on a target.
        """
        code = parameter.code
        if parameter.type != "reference":
            raise UnsupportedParameter(f"{code} is not a reference, so nothing can be chained to it.")
        if type and type not in parameter.targets:
            raise UnsupportedParameter(f"{code} does not refer to the type that the chain names.")
        wanted = rest.partition(".")[0].partition(":")[0]
        targets = [each for each in ((type,) if type else parameter.targets) if self._knows(each, wanted)]
        self.effort.take(branches=len(targets))
        found = tuple(_on_targets(targets, on))
        if not found:
            raise Ignorable(UnsupportedParameter(f"What {code} refers to has no search parameter {shown(wanted)}."))
        return Chain(code, tuple(target for target, _ in found), found)

    def _knows(self, type: str, code: str) -> bool:
        return code in SPECIAL or code == "_has" or code in self.registry.parameters(type)

    def _has(self, type: str, name: str, text: str, steps: int) -> Clause:
        _, *named = name.split(":", 3)
        if len(named) != 3 or not all(named):
            raise UnsupportedParameter("_has is written _has:Type:reference:parameter.")
        of, code, rest = named
        if of not in self.registry.types:
            raise UnsupportedParameter("_has names a type that is not served here.")
        parameter = self.parameter(of, code)
        if parameter.type != "reference" or (type != ANY_TYPE and type not in parameter.targets):
            raise UnsupportedParameter(f"_has: {of} does not refer to {type} by its parameter {shown(code)}.")
        if type in UNLINKED:
            raise UnsupportedParameter(f"_has does not find resources of type {type}.")
        self.effort.take(branches=1)
        return Has(of, code, self.clause(of, rest, text, _further(steps)))

    def _special(self, type: str, code: str, text: str, *, plainly_named: bool) -> Clause:
        if not plainly_named:
            raise UnsupportedParameter(f"{code} takes no modifier, and nothing can be chained to it.")
        _with_value(code, text)
        return SPECIAL[code](self, type, text)


def _filtered(question: Question, type: str, text: str) -> Clause:
    """Return the clause of _filter; what it names and this server does not know is refused, lenient or not."""
    try:
        return filtered(question, type, text)
    except Ignorable as unknown:
        raise unknown.problem from None


def _listed(question: Question, type: str, text: str) -> Clause:
    """Return the clause of _list. Source: FHIR R4 Search, "Searching by List"."""
    ids = split(text, ",")
    if any(id.startswith("$") for id in ids):
        raise UnsupportedParameter("The functional lists of _list ($current-...) are not supported.")
    if not all(map(_LIST_ID.fullmatch, ids)):
        raise InvalidSearchValue("The value of _list is not the id of a List.")
    return either(map(Listed, ids))


# Parameters without a definition of their own that every type takes.
SPECIAL: dict[str, Callable[[Question, str, str], Clause]] = {
    "_list": _listed,
    "_filter": _filtered,
    fulltext.NARRATIVE: lambda _, type, text: fulltext.clause(fulltext.NARRATIVE, type, text),
    fulltext.EVERYTHING: lambda _, type, text: fulltext.clause(fulltext.EVERYTHING, type, text),
}


def _further(steps: int) -> int:
    if steps == MOST_STEPS:
        raise TooCostly(f"A parameter may lead over at most {MOST_STEPS} steps from resource to resource.")
    return steps + 1


def _with_value(name: str, text: str) -> None:
    if not text:
        raise Ignorable(InvalidSearchValue(f"{shown(name)} has no value."))


def _on_targets(targets: Iterable[str], on: Callable[[str], Clause]) -> Iterable[tuple[str, Clause]]:
    """Yield each target that takes the parameter, with its clause.

    The same parameter may be unknown there, or of another type and not take the value. If none takes it, a value or
    modifier that is refused somewhere is reported rather than what is unknown everywhere.
    """
    refused: Exception | None = None
    taken = False
    for target in targets:
        try:
            clause = on(target)
        except (InvalidSearchValue, UnsupportedParameter) as problem:
            refused = problem
        except Ignorable:
            continue
        else:
            taken = True
            yield target, clause
    if refused and not taken:
        raise refused
