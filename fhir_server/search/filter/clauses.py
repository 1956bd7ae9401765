"""What a _filter asks for, in the clauses of ordinary parameters: its words, its paths, and its brackets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from fhir_server.definitions.registry import Component, Registry, SearchParameter
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Clause, Not, both, either
from fhir_server.search.effort import Effort
from fhir_server.search.filter import syntax as filter_syntax
from fhir_server.search.filter.operators import Asked, operations
from fhir_server.search.filter.syntax import AllOf, AnyOf, Filter, Negated, ParamExp, Step
from fhir_server.search.types import composite
from fhir_server.search.types.span import Here
from fhir_server.search.values import PREFIXES, split


class Reads(Protocol):
    """What a filter needs of the question that it is part of (question.py)."""

    @property
    def registry(self) -> Registry: ...
    @property
    def here(self) -> Here: ...
    @property
    def now(self) -> datetime: ...
    @property
    def effort(self) -> Effort: ...
    def parameter(self, type: str, code: str) -> SearchParameter: ...
    def chain(self, parameter: SearchParameter, type: str, rest: str, on: Callable[[str], Clause]) -> Clause: ...


def filtered(reads: Reads, type: str, text: str) -> Clause:
    """Return the clause of a _filter. Raises InvalidSearchValue, UnsupportedParameter, TooCostly, and what `reads` does."""
    return _clause(reads, type, filter_syntax.read(text))


def _clause(reads: Reads, type: str, filter: Filter) -> Clause:
    match filter:
        case AllOf(parts):
            return both(_clause(reads, type, part) for part in parts)
        case AnyOf(parts):
            return either(_clause(reads, type, part) for part in parts)
        case Negated(part):
            return Not(_clause(reads, type, part))
        case ParamExp(path, "pr", value):
            if value not in ("true", "false"):
                raise InvalidSearchValue('In _filter, the value of "pr" is either true or false.')
            there = _along(reads, type, path, replace(filter, value="true"))
            return there if value == "true" else Not(there)
        case ParamExp(path, "ni", _):
            return Not(_along(reads, type, path, replace(filter, operator="in")))
    return _along(reads, type, filter.path, filter)


def _along(reads: Reads, type: str, path: tuple[Step, ...], test: ParamExp) -> Clause:
    """Return the clause of a test at the end of a path that begins at a type."""
    step, *rest = path
    reads.effort.take(values=1)
    parameter = reads.parameter(type, step.name)
    if not rest:
        return _at_end(reads, parameter, test)
    if parameter.type == "composite":
        return _of_element(reads, parameter, step, tuple(rest), test)

    def on(target: str) -> Clause:
        inner = [_clause(reads, target, step.within)] if step.within else []
        return both([*inner, _along(reads, target, tuple(rest), test)])

    return reads.chain(parameter, step.type, rest[0].name, on)


def _at_end(reads: Reads, parameter: SearchParameter, test: ParamExp) -> Clause:
    known = operations(parameter)
    if test.operator not in known:
        raise UnsupportedParameter(
            f"_filter: {parameter.code} does not take this operator, but these: {', '.join(sorted(known))}."
        )
    return known[test.operator](Asked(parameter, test.value, reads.registry, reads.here, reads.now))


def _of_element(reads: Reads, parameter: SearchParameter, step: Step, rest: tuple[Step, ...], test: ParamExp) -> Clause:
    """Return the clause of a composite whose parts are tested in brackets and behind them: all on the same element."""
    tests = [*_conjuncts(step.within), replace(test, path=rest)]
    by_path = {each.path: each for each in tests}
    wanted = [(Step(part.code),) for part in parameter.components]
    if step.type or len(tests) != len(wanted) or by_path.keys() != set(wanted):
        raise UnsupportedParameter(
            f"_filter: each part of {parameter.code} is to be tested once, in brackets or behind them: "
            f"{', '.join(part.code for part in parameter.components)}."
        )
    found = [_of_part(part, by_path[path]) for part, path in zip(parameter.components, wanted, strict=True)]
    return composite.clause(parameter, "", "$".join(found), reads.here, reads.now)


def _of_part(part: Component, test: ParamExp) -> str:
    """Return what a test of a part is in the value of the whole composite."""
    value = test.value.replace("\\", "\\\\") if part.type == "string" else test.value
    value = "\\$".join(split(value, "$"))
    if part.type in composite.RANGED and test.operator in PREFIXES:
        return test.operator + value
    if test.operator == {"reference": "re", "string": "sw"}.get(part.type, "eq"):
        return value
    raise UnsupportedParameter(f"_filter: {part.code} does not take this operator as a part of a composite.")


def _conjuncts(filter: Filter | None) -> list[ParamExp]:
    """Return the tests that a filter joins by "and"; none if it joins anything else."""
    parts = filter.parts if isinstance(filter, AllOf) else (filter,)
    tests = [part for part in parts if isinstance(part, ParamExp)]
    return tests if len(tests) == len(parts) else []
