"""Names (string parameters called name, family, given): found by their characters, and Chinese ones by pinyin as well.

Beside its beginnings as it is written, a Chinese name is filed under the beginnings of how it is read, without gaps, and
of the initials of its syllables: zhang, zhangsan, "zhang san" and zs all find 张三. Readings are those of pinyin.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.search.ast import Clause, Filed, Text
from fhir_server.search.types import string
from fhir_server.search.types.pinyin import Syllables, chinese, initials, spelled, syllables, wholes
from fhir_server.search.types.span import Here
from fhir_server.search.types.string import LONGEST, beginnings, strings_of
from fhir_server.search.values import terms, unescaped

CODES = frozenset({"name", "family", "given"})


@dataclass(frozen=True, slots=True)
class Called:
    """A folded text that a name begins with, as it is written or as it is read."""

    text: str


def named(parameter: SearchParameter) -> bool:
    """Return whether a parameter is one of names."""
    return parameter.type == "string" and parameter.code in CODES


def texts(type: str, value: Any) -> Iterator[str]:
    """Yield the texts of a name; a Chinese one also as a whole, when it is given only in parts.

    >>> list(texts("HumanName", {"family": "张", "given": ["三", "丰"]}))
    ['张', '三', '丰', '张三丰']
    """
    yield from strings_of(type, value)
    if type == "HumanName" and chinese(family := str(value.get("family") or "")):
        yield family + "".join(each for each in value.get("given", ()) if isinstance(each, str))


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield every form under which a name is filed."""
    for text in strings_of(type, value):
        yield f":exact|{text}"
    for text in texts(type, value):
        yield from beginnings(text)
        if not text.isascii():
            yield from _forms(syllables(text))


@lru_cache(20_000)
def _forms(ways: Syllables) -> tuple[str, ...]:
    """Return the forms of the beginnings of syllables, and of their initials."""
    found = [whole[:end] for whole in wholes(ways) for end in range(1, min(len(whole), LONGEST) + 1)]
    found += [first[:end] for first in initials(ways) for end in range(2, min(len(first), LONGEST) + 1)]
    return tuple(f"|{each}" for each in dict.fromkeys(found))


def looked_up(asked: Called) -> list[str]:
    """Return the forms of which every matching name is filed under one (for a longer text: others as well)."""
    ways = dict.fromkeys([asked.text, spelled(asked.text) or asked.text])
    return [f"|{each[:LONGEST]}" for each in ways]


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value; with a modifier, names are texts like others."""
    if modifier:
        return string.clause(parameter, modifier, text, here)
    code = parameter.code
    asked = Called(string.wanted(code, unescaped(text)))
    found = terms(code, looked_up(asked))
    return Filed(code, found, (asked,)) if len(asked.text) <= LONGEST else Text(code, found, asked)
