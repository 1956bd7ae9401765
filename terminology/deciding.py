"""Which codes a value set has, told from the code alone: for code systems whose codes are not known one by one.

An expansion needs the code system. A code's own text is enough where a value set lists its codes, takes a whole code
system, or filters by the code itself. Source: FHIR R4 ValueSet, "filter-operator".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from terminology.expansion import Part, ValueSet
from terminology.filters import SELF, Filter
from terminology.members import CannotExpand, Members

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Share:
    """One include or exclude: the codes of one code system that pass all tests."""

    system: str
    codes: frozenset[str] | None
    tests: tuple[Test, ...]

    def __contains__(self, coding: tuple[str, str]) -> bool:
        system, code = coding
        if system != self.system:
            return False
        return all(test(code) for test in self.tests) if self.codes is None else code in self.codes


@dataclass(frozen=True, slots=True)
class Decided:
    """A value set that can be asked for any coding, (system, code)."""

    includes: tuple[_Share, ...]
    excludes: tuple[_Share, ...]
    expansion: Members | None = None

    @property
    def systems(self) -> frozenset[str]:
        """The code systems that it has codes of."""
        listed = self.expansion or Members()
        return frozenset({each.system for each in self.includes} | {each for each, _ in listed.codes} | listed.systems)

    def __contains__(self, coding: tuple[str, str]) -> bool:
        if self.expansion is not None and coding in self.expansion:
            return True
        return any(coding in each for each in self.includes) and not any(coding in each for each in self.excludes)


def decided(value_set: ValueSet) -> Decided:
    """Return a value set that can be asked; its expansion, if it lists all its members, goes before its definition.

    Raises CannotExpand if a code alone does not tell whether it is a member.
    """
    if value_set.expansion is not None:
        return Decided((), (), value_set.expansion)
    if not value_set.includes:
        raise CannotExpand("it does not say what it is made of")
    return Decided(tuple(map(_share, value_set.includes)), tuple(map(_share, value_set.excludes)))


def _share(part: Part) -> _Share:
    if part.value_sets or part.system is None:
        raise CannotExpand("it is made of other value sets")
    return _Share(part.system.partition("|")[0], part.codes, tuple(map(_test, part.filters)))


def _test(filter: Filter) -> Test:
    if filter.property not in SELF:
        raise CannotExpand("it filters by a property that a code alone does not tell")
    match filter.op:
        case "regex":
            return _regex(filter.value)
        case "=":
            return lambda code: code == filter.value
        case "in":
            codes = frozenset(part.strip() for part in filter.value.split(","))
            return lambda code: code in codes
    raise CannotExpand("it has a filter that a code alone does not answer")


def _regex(text: str) -> Test:
    """Return the test for a whole code, in capitals or not: hospitals write ICD-10 both ways."""
    try:
        pattern = re.compile(text, re.IGNORECASE)
    except re.error:
        raise CannotExpand("it has a filter whose regular expression cannot be read") from None
    return lambda code: pattern.fullmatch(code) is not None
