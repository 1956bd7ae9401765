"""The operators of _filter on each type of parameter (FHIR R4, "_filter parameter", operations).

A row of OPERATORS says how a type of parameter answers an operator; what has no row is refused. Values are never case
sensitive there, so that texts are compared folded. "ni" is "in", denied: filter_clauses.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.search.ast import And, Clause, Filed, IdIn, InSpan, Not, PersonReference, Text, Updated, either
from fhir_server.search.cardinality import single_valued
from fhir_server.search.filter.questions import Ends, Same, Unlike
from fhir_server.search.plain import missing, single
from fhir_server.search.types import date, phonetic
from fhir_server.search.types.span import Here
from fhir_server.search.types.string import Contains, Starts, looked_up, wanted
from fhir_server.search.values import PREFIXES, presence, terms


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands on both sides of an operator, with what it is read by."""

    parameter: SearchParameter
    value: str
    registry: Registry
    here: Here
    now: datetime

    def plainly(self, modifier: str = "", prefix: str = "") -> Clause:
        """Return the clause of an ordinary parameter with this modifier and prefix."""
        # The values of strings are not escaped here; in the others "|" separates, so "\\|" is needed as everywhere.
        value = self.value.replace("\\", "\\\\") if self.parameter.type == "string" else self.value
        return single(self.parameter, modifier, prefix + value, self.here, self.now)

    def text(self) -> str:
        """Return the value as a text, folded. Raises InvalidSearchValue if nothing of it is left to compare."""
        return wanted(self.parameter.code, self.value)


Operation = Callable[[Asked], Clause]


def operations(parameter: SearchParameter) -> Mapping[str, Operation]:
    """Return how a parameter answers the operators that it takes."""
    return OPERATORS_OF.get(parameter.code) or OPERATORS[parameter.type]


def _prefixed(prefix: str) -> Operation:
    return lambda asked: asked.plainly(prefix=prefix)


def _modified(modifier: str) -> Operation:
    return lambda asked: asked.plainly(modifier)


def _present(asked: Asked) -> Clause:
    return missing(asked.parameter, "false")


def _overlaps(asked: Asked) -> Clause:
    """Return the clause of "po": the time that is filed and the time asked for have an instant in common."""
    code = asked.parameter.code
    about = replace(date.asked(code, asked.value, asked.here, asked.now), prefix="ap")
    if code == "_lastUpdated":
        return either(map(Updated, date.span_tests(about)))
    return InSpan(code, date.span_tests(about), (about,))


def _same_text(asked: Asked) -> Clause:
    text = asked.text()
    return Text(asked.parameter.code, terms(asked.parameter.code, [looked_up(Starts(text))]), Same(text))


def _text(question: Callable[[str], Hashable]) -> Operation:
    """Return the operation that decides on opened bodies by a question about the folded text."""
    return lambda asked: Text(asked.parameter.code, (presence(asked.parameter.code),), question(asked.text()))


def _other(asked: Asked) -> Clause:
    """Return the clause of "ne": a value in the set is another one, which other servers take for: none is this one."""
    code, equal = asked.parameter.code, operations(asked.parameter)["eq"](asked)
    if isinstance(equal, IdIn):
        return Not(equal)
    if single_valued(asked.registry, asked.parameter):
        return And((missing(asked.parameter, "false"), Not(equal)))
    return either(Text(code, (presence(code),), Unlike(each)) for each in _questions(equal))


def _questions(clause: Clause) -> tuple[Hashable, ...]:
    """Return the questions of the clause of one value."""
    match clause:
        case Text(_, _, question):
            return (question,)
        case Filed(_, _, questions) | PersonReference(_, _, _, questions):
            return questions
    raise TypeError(f"{type(clause).__name__} is no clause of one value")


_PREFIXED: Mapping[str, Operation] = {prefix: _prefixed(prefix) for prefix in PREFIXES}
_COMMON: Mapping[str, Operation] = {"pr": _present, "ne": _other}
OPERATORS: Mapping[str, Mapping[str, Operation]] = {
    "string": {
        **_COMMON,
        "eq": _same_text,
        "sw": _modified(""),
        "co": _modified("contains"),
        "ew": _text(Ends),
    },
    "token": {
        **_COMMON,
        "eq": _modified(""),
        "in": _modified("in"),
        "ss": _modified("below"),
        "sb": _modified("above"),
    },
    "reference": {**_COMMON, "eq": _modified(""), "re": _modified("")},
    "uri": {
        **_COMMON,
        "eq": _modified(""),
        "sw": _text(Starts),
        "co": _text(Contains),
        "ew": _text(Ends),
        "ss": _modified("below"),
        "sb": _modified("above"),
    },
    "date": {**_PREFIXED, "pr": _present, "po": _overlaps},
    "number": {**_PREFIXED, "pr": _present},
    "quantity": {**_PREFIXED, "pr": _present},
    "composite": {"pr": _present},
    "special": {"eq": _modified(""), "pr": _present},
}
# Parameters that are not filed as others of their type are.
OPERATORS_OF: Mapping[str, Mapping[str, Operation]] = {
    "_id": {"eq": lambda asked: IdIn((asked.value,)), "ne": _other, "pr": _present},
    phonetic.CODE: {"eq": _modified(""), "pr": _present},
}
