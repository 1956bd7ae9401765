"""The syntax of _filter: from its text to a tree (FHIR R4, "_filter parameter", grammar).

    filter := term (("and" | "or") term)*      from left to right; neither binds closer than the other
    term   := "(" filter ")" | "not" "(" filter ")" | test
    test   := path operator value
    path   := name | name "." path | name "[" filter "]" "." path
    name   := the name of a search parameter, and before "." or "[", if wanted, ":" and the type that is meant
    value  := a JSON string, or characters other than white space, ")" and "]"

Messages say the position, never what stands there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from fhir_server.errors import InvalidSearchValue, TooCostly
from fhir_server.search.effort import MOST_STEPS

OPERATORS = frozenset("eq ne co sw ew gt lt ge le ap sa eb pr po ss sb in ni re".split())
MOST_NESTED = 20
MOST_TESTS = 100

_WORD = re.compile(r"[A-Za-z]+\b", re.ASCII)
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_-]{0,99})(?::([A-Za-z]{1,64}))?", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TOKEN = re.compile(r'[^\s)\]"][^\s)\]]*')


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path. type: the target of a reference that is meant, or "". within: what holds at this step."""

    name: str
    type: str = ""
    within: Filter | None = None


@dataclass(frozen=True, slots=True)
class ParamExp:
    """An operator between what a path leads to and a value."""

    path: tuple[Step, ...]
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """The part does not hold."""

    part: Filter


Filter = ParamExp | AllOf | AnyOf | Negated


def read(text: str) -> Filter:
    """Return what a filter says.

    Raises InvalidSearchValue with the position at fault, TooCostly if it is too large.

    >>> read('given eq "peter"')
    ParamExp(path=(Step(name='given', type='', within=None),), operator='eq', value='peter')
    """
    reader = _Reader(text)
    found = reader.filter()
    reader.end()
    return found


class _Reader:
    """Reads from left to right; every method takes what it reads, and fails where it stands if it is something else."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nested = 0
        self._tests = 0

    def filter(self) -> Filter:
        self._nested += 1
        if self._nested > MOST_NESTED:
            raise TooCostly(f"A _filter may be nested at most {MOST_NESTED} deep.")
        found = self._term()
        while (word := self._word()) in ("and", "or"):
            self._at += len(word)
            found = _joined(found, self._term(), AllOf if word == "and" else AnyOf)
        self._nested -= 1
        return found

    def end(self) -> None:
        self._skip()
        if self._at < len(self._text):
            raise self._wrong('"and", "or" or the end')

    def _term(self) -> Filter:
        negated = self._word() == "not"
        if negated:
            self._at += len("not")
        if not self._takes("("):
            if negated:
                raise self._wrong('"("')
            return self._test()
        found = self.filter()
        self._expect(")")
        return Negated(found) if negated else found

    def _test(self) -> ParamExp:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise TooCostly(f"A _filter may make at most {MOST_TESTS} tests.")
        path = self._path()
        operator = self._word()
        if operator not in OPERATORS:
            raise self._wrong("an operator")
        self._at += len(operator)
        return ParamExp(path, operator, self._value())

    def _path(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        self._skip()
        while True:
            named = _NAME.match(self._text, self._at)
            if named is None:
                raise self._wrong("the name of a search parameter")
            self._at = named.end()
            within = None
            if self._follows("["):
                within = self.filter()
                self._expect("]")
            steps.append(Step(named[1], named[2] or "", within))
            if not self._follows("."):
                break
            if len(steps) > MOST_STEPS:
                raise TooCostly(
                    f"A path in _filter may lead over at most {MOST_STEPS} steps from resource to resource."
                )
        if steps[-1].type or steps[-1].within:
            raise self._wrong('"." and a further name')
        return tuple(steps)

    def _value(self) -> str:
        self._skip()
        quoted = _STRING.match(self._text, self._at)
        found = quoted or _TOKEN.match(self._text, self._at)
        if found is None:
            raise self._wrong("a value")
        value = found[0]
        if quoted:
            try:
                value = json.loads(value)
                value.encode()  # half of a surrogate pair is no text
            except ValueError:
                raise self._wrong("a JSON string") from None
        self._at = found.end()
        return value

    def _skip(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _word(self) -> str:
        """Return the word that comes next, which is not taken yet; "" if none does."""
        self._skip()
        found = _WORD.match(self._text, self._at)
        return found[0] if found else ""

    def _follows(self, character: str) -> bool:
        """Take a character if it stands right here."""
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _takes(self, character: str) -> bool:
        """Take a character if it comes next."""
        self._skip()
        return self._follows(character)

    def _expect(self, character: str) -> None:
        if not self._takes(character):
            raise self._wrong(f'"{character}"')

    def _wrong(self, expected: str) -> InvalidSearchValue:
        return InvalidSearchValue(f"_filter cannot be read at character {self._at + 1}: {expected} is expected.")


def _joined(left: Filter, right: Filter, kind: type[AllOf] | type[AnyOf]) -> Filter:
    """Return both sides of "and" or "or"; a row of the same word is one."""
    return kind((*left.parts, right)) if isinstance(left, kind) else kind((left, right))
