"""From the parameters of a request to what they ask for (FHIR R4 Search). Messages name parameters, never values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.errors import InvalidSearchValue, TooCostly, UnsupportedParameter
from fhir_server.search import composite, date, number, quantity, reference, results, string, token, uri
from fhir_server.search.asked import Asked, Include, SortKey
from fhir_server.search.ast import Chain, Clause, IdIn, Missing, Not, Or, Updated, both, either
from fhir_server.search.span import Here
from fhir_server.search.support import ranged, unsupported
from fhir_server.search.values import shown, split, unescaped

__all__ = ["Asked", "Include", "SortKey", "parse"]

# Alternatives in one request, all parameters together: what one query can reasonably look up.
MOST_ALTERNATIVES = 1000


class _Ignorable(Exception):
    """Lenient handling leaves this parameter out. Carries the problem that strict handling reports."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What every part of the request is read against."""

    registry: Registry
    here: Here
    now: datetime

    def clause(self, type: str, name: str, text: str) -> Clause:
        """Return the clause of one parameter of a type. Raises _Ignorable, InvalidSearchValue, UnsupportedParameter."""
        if name.startswith("_has:") or name == "_has":
            raise UnsupportedParameter("_has is not supported.")
        first, dot, rest = name.partition(".")
        code, colon, modifier = first.partition(":")
        parameter = self.registry.parameters(type).get(code)
        if parameter is None:
            raise _Ignorable(UnsupportedParameter(f"{type} has no search parameter {shown(code)}."))
        if reason := unsupported(parameter):
            raise _Ignorable(UnsupportedParameter(f"{type} does not support the search parameter {code}: {reason}."))
        if colon and not modifier:
            raise UnsupportedParameter(f"{code} has an empty modifier.")
        if not text:
            raise _Ignorable(InvalidSearchValue(f"{shown(name)} has no value."))
        if dot:
            return self._chain(parameter, modifier, rest, text)
        return self._plain(parameter, modifier, text)

    def _chain(self, parameter: SearchParameter, type: str, rest: str, text: str) -> Clause:
        code = parameter.code
        if parameter.type != "reference":
            raise UnsupportedParameter(f"{code} is not a reference, so nothing can be chained to it.")
        if "." in rest or rest.startswith("_has"):
            raise UnsupportedParameter(f"Only one step can be chained to {code}.")
        if type and type not in parameter.targets:
            raise UnsupportedParameter(f"{code} does not refer to the type that the chain names.")
        wanted = rest.partition(":")[0]
        targets = tuple(
            target
            for target in ((type,) if type else parameter.targets)
            if wanted in self.registry.parameters(target) and not unsupported(self.registry.parameters(target)[wanted])
        )
        if not targets:
            raise _Ignorable(UnsupportedParameter(f"What {code} refers to has no search parameter {shown(wanted)}."))
        return Chain(code, targets, tuple(self._on_targets(targets, rest, text)))

    def _on_targets(self, targets: tuple[str, ...], rest: str, text: str) -> Iterable[tuple[str, Clause]]:
        """Yield the clause on each target. The same parameter may be of another type there and not take the value."""
        refused: Exception | None = None
        taken = 0
        for target in targets:
            try:
                clause = self.clause(target, rest, text)
            except (InvalidSearchValue, UnsupportedParameter) as problem:
                refused = problem
                yield target, Or(())
            else:
                taken += 1
                yield target, clause
        if refused and not taken:
            raise refused

    def _plain(self, parameter: SearchParameter, modifier: str, text: str) -> Clause:
        code = parameter.code
        if modifier == "missing":
            return _missing(parameter, text)
        texts = split(text, ",")
        if not all(texts):
            raise InvalidSearchValue(f"{code} has an empty alternative.")
        if code == "_id":
            if modifier:
                raise UnsupportedParameter("The modifier of _id is not supported.")
            return IdIn(tuple(unescaped(each) for each in texts))
        if code == "_lastUpdated":
            return either(self._updated(modifier, each) for each in texts)
        found = either(self._one(parameter, modifier, each) for each in texts)
        return Not(found) if modifier == "not" else found

    def _one(self, parameter: SearchParameter, modifier: str, text: str) -> Clause:
        match parameter.type:
            case "token":
                return token.clause(parameter, modifier, text, self.here)
            case "string":
                return string.clause(parameter, modifier, text, self.here)
            case "reference":
                return reference.clause(parameter, modifier, text, self.here)
            case "uri":
                return uri.clause(parameter, modifier, text, self.here)
            case "date":
                return date.clause(parameter, modifier, text, self.here, self.now)
            case "number":
                return number.clause(parameter, modifier, text, self.here)
            case "quantity":
                return quantity.clause(parameter, modifier, text, self.here)
        return composite.clause(parameter, modifier, text, self.here, self.now)

    def _updated(self, modifier: str, text: str) -> Clause:
        if modifier:
            raise UnsupportedParameter("The modifier of _lastUpdated is not supported.")
        return either(Updated(test) for test in date.span_tests(date.asked("_lastUpdated", text, self.here, self.now)))


def _missing(parameter: SearchParameter, text: str) -> Clause:
    if text not in ("true", "false"):
        raise InvalidSearchValue(f"{parameter.code}:missing is either true or false.")
    if parameter.code in ("_id", "_lastUpdated"):  # every resource has them
        return Or(()) if text == "true" else Not(Or(()))
    missing = Missing(parameter.code, ranged(parameter))
    return missing if text == "true" else Not(missing)


def parse(
    registry: Registry,
    type: str,
    pairs: Iterable[tuple[str, str]],
    *,
    lenient: bool,
    zone: tzinfo,
    now: datetime,
    base_url: str | None,
) -> Asked:
    """Return what a search on a type asks for.

    pairs: the parameters, decoded, in order. lenient: leave out unknown parameters and those without a value
    (Prefer: handling=lenient) instead of refusing; an unknown modifier or a bad value is refused either way.
    zone: where dates without an offset are meant. base_url: of this server, without final slash.
    Raises InvalidSearchValue, UnsupportedParameter, TooCostly.
    """
    question = _Question(registry, Here(zone, base_url), now)
    clauses: list[Clause] = []
    shaping, used, ignored = [], [], []
    alternatives = 0
    for name, text in pairs:
        if name in results.UNSEEN:
            continue
        try:
            if results.about_results(name):
                if not text:
                    raise _Ignorable(InvalidSearchValue(f"{shown(name)} has no value."))
                shaping.append((name, text))
            else:
                alternatives += 1 + text.count(",")
                if alternatives > MOST_ALTERNATIVES:
                    raise TooCostly(f"A search may name at most {MOST_ALTERNATIVES} values.")
                clauses.append(question.clause(type, name, text))
        except _Ignorable as left_out:
            if not lenient:
                raise left_out.args[0] from None
            ignored.append(name)
        else:
            used.append((name, text))
    asked = Asked(type, both(clauses), used=tuple(used), ignored=tuple(ignored))
    return results.shaped(registry, asked, shaping)
