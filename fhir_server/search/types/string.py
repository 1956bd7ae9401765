"""String parameters (FHIR R4 Search, "string"): how texts are filed and looked up.

Every beginning of a folded text, up to LONGEST characters, is one term, so that a search by prefix is one look-up
although the store holds no text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Filed, Text
from fhir_server.search.modifiers import refused
from fhir_server.search.types.span import Here
from fhir_server.search.values import presence, terms, unescaped

LONGEST = 32

# R4: a search on a name or an address covers its elements of type string.
NAME = ("text", "family", "given", "prefix", "suffix")
ADDRESS = ("text", "line", "city", "district", "state", "postalCode", "country")
_PARTS = {"HumanName": NAME, "Address": ADDRESS}

# In kana the voicing marks make another letter (か, が), they are no accents.
_LETTERS = "\u3099\u309a"


@dataclass(frozen=True, slots=True)
class Starts:
    """A folded text that a value begins with."""

    text: str


@dataclass(frozen=True, slots=True)
class Exact:
    """The very text of a value."""

    text: str


@dataclass(frozen=True, slots=True)
class Contains:
    """A folded text that stands somewhere in a value."""

    text: str


def folded(text: str) -> str:
    """Return a text without case, accents, width and surplus white space; Chinese stays as it is.

    >>> folded("  José  MÜLLER"), folded("张三"), folded("Ａ１")
    ('jose muller', '张三', 'a1')
    """
    text = " ".join(text.split())
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in apart if not unicodedata.combining(c) or c in _LETTERS)
    return " ".join(unicodedata.normalize("NFKC", bare.casefold()).split())


def strings_of(type: str, value: Any) -> Iterator[str]:
    """Yield the texts of a value: its own, or those of the parts of a name or an address."""
    if isinstance(value, str):
        yield value
        return
    for part in _PARTS.get(type, ()):
        found = value.get(part)
        if isinstance(found, str):
            yield found
        elif found:
            yield from (each for each in found if isinstance(each, str))


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield every form under which a value is filed: each beginning of each of its texts, and the whole as it is."""
    for text in strings_of(type, value):
        yield f":exact|{text}"
        yield from beginnings(text)


def beginnings(text: str) -> list[str]:
    """Return the forms of a text's beginnings."""
    form = f"|{folded(text)[:LONGEST]}"
    return [form[:end] for end in range(2, len(form) + 1)]


def looked_up(asked: Starts | Exact) -> str:
    """Return the form that all matching values are filed under (for a longer text: others as well)."""
    return f":exact|{asked.text}" if isinstance(asked, Exact) else f"|{asked.text[:LONGEST]}"


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value. Raises InvalidSearchValue if nothing of it is left to compare."""
    code, text = parameter.code, unescaped(text)
    if modifier == "exact":
        return Filed(code, terms(code, [looked_up(Exact(text))]), (Exact(text),))
    if modifier not in ("", "contains"):
        raise refused(parameter)
    begins = wanted(code, text)
    if modifier == "contains":
        return Text(code, (presence(code),), Contains(begins))
    found = terms(code, [looked_up(Starts(begins))])
    return Filed(code, found, (Starts(begins),)) if len(begins) <= LONGEST else Text(code, found, Starts(begins))


def wanted(code: str, text: str) -> str:
    """Return what is left of a text to compare by. Raises InvalidSearchValue if it is nothing."""
    if found := folded(text):
        return found
    raise InvalidSearchValue(f"The value of {code} has no letter or digit.")
