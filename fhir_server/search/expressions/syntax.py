"""The syntax of FHIRPath as far as search parameters use it: text in, tree out, no meaning.

Source: FHIRPath 1.3 (the version that FHIR R4 cites), "Grammar".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class This:
    """What the expression is applied to."""


@dataclass(frozen=True, slots=True)
class Variable:
    """%name."""

    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, a boolean or a whole number."""

    value: str | bool | int


@dataclass(frozen=True, slots=True)
class Child:
    """of.name."""

    of: Tree
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """of.function(arguments)."""

    of: Tree
    function: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """of[at]."""

    of: Tree
    at: int


@dataclass(frozen=True, slots=True)
class OfType:
    """`of as type` and `of is type`; the namespace of the type is left out."""

    of: Tree
    operator: str
    type: str


@dataclass(frozen=True, slots=True)
class Binary:
    """left operator right; operator: | = != and."""

    operator: str
    left: Tree
    right: Tree


Tree: TypeAlias = This | Variable | Literal | Child | Call | Index | OfType | Binary


class NotSupported(ValueError):
    """The text is not in the subset; it may still be good FHIRPath."""


_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^'\\]*')|(?P<number>\d+)|(?P<name>[A-Za-z_]\w*|`[A-Za-z_]\w*`)|(?P<sign>!=|[()\[\].,|=%]))"
)
# Loosest first; each level is left-associative.
_LEVELS = (("and",), ("=", "!="), ("|",))


def parse(text: str) -> Tree:
    """Return the tree of an expression. Raises NotSupported.

    >>> parse("Patient.name[0]")
    Index(of=Child(of=Child(of=This(), name='Patient'), name='name'), at=0)
    """
    reader = _Reader(_tokens(text))
    tree = _binary(reader, 0)
    if reader.peek():
        raise NotSupported(f"unexpected {reader.peek()} in {text}")
    return tree


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotSupported(f"cannot read {text[at:]}")
        found.append(match[0].strip().strip("`"))
        at = match.end()
    return found


class _Reader:
    """The tokens still to be read."""

    def __init__(self, tokens: list[str]) -> None:
        self._left = tokens[::-1]

    def peek(self) -> str:
        return self._left[-1] if self._left else ""

    def take(self, *expected: str) -> str:
        """Return the next token, which must be one of those expected, if any are named."""
        token = self._left.pop() if self._left else ""
        if not token or (expected and token not in expected):
            raise NotSupported(f"found {token or 'the end'}, expected {' or '.join(expected) or 'more'}")
        return token

    def name(self) -> str:
        token = self.take()
        if not token.isidentifier():
            raise NotSupported(f"found {token}, expected a name")
        return token


def _binary(reader: _Reader, level: int) -> Tree:
    if level == len(_LEVELS):
        return _of_type(reader)
    tree = _binary(reader, level + 1)
    while reader.peek() in _LEVELS[level]:
        tree = Binary(reader.take(), tree, _binary(reader, level + 1))
    return tree


def _of_type(reader: _Reader) -> Tree:
    tree = _path(reader)
    while reader.peek() in ("as", "is"):
        tree = OfType(tree, reader.take(), _type(reader))
    return tree


def _type(reader: _Reader) -> str:
    name = reader.name()
    while reader.peek() == ".":
        reader.take()
        name = reader.name()
    return name


def _path(reader: _Reader) -> Tree:
    tree = _primary(reader)
    while reader.peek() in (".", "["):
        if reader.take() == ".":
            tree = _member(reader, tree)
        else:
            number = reader.take()
            if not number.isdigit():
                raise NotSupported(f"found [{number}], expected a number")
            tree = Index(tree, int(number))
            reader.take("]")
    return tree


def _primary(reader: _Reader) -> Tree:
    token = reader.peek()
    if token == "(":
        reader.take()
        tree = _binary(reader, 0)
        reader.take(")")
        return tree
    if token == "%":
        reader.take()
        return Variable(reader.name())
    if token.startswith("'"):
        return Literal(reader.take()[1:-1])
    if token.isdigit():
        return Literal(int(reader.take()))
    if token in ("true", "false"):
        return Literal(reader.take() == "true")
    return _member(reader, This())


def _member(reader: _Reader, of: Tree) -> Tree:
    name = reader.name()
    if reader.peek() != "(":
        return Child(of, name)
    reader.take()
    if name in ("as", "is", "ofType"):
        tree: Tree = OfType(of, "is" if name == "is" else "as", _type(reader))
        reader.take(")")
        return tree
    arguments: list[Tree] = []
    while reader.peek() != ")":
        if arguments:
            reader.take(",")
        arguments.append(_binary(reader, 0))
    reader.take()
    return Call(of, name, tuple(arguments))
