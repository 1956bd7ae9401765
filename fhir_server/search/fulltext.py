"""_text and _content (FHIR R4 Search, "Text Search Parameters"): words in the narrative, and anywhere in a resource.

R4 leaves the language to the server. Here words beside each other have all to be there, `OR` between them asks for one
side, parentheses group, a comma parts alternatives, and what stands in double quotes has to stand together. Chinese needs
no gaps: what is written in a row stands in a row. The index answers single words and up to two Chinese characters;
longer rows and phrases are checked on the opened resource.

At most MOST_WORDS words of a resource are filed, those of its narrative first. AuditEvents are not filed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from fhir_server.errors import InvalidSearchValue, TooCostly, UnsupportedParameter
from fhir_server.search.ast import Clause, Filed, Text, both, either
from fhir_server.search.readable import Readable
from fhir_server.search.types.words import exact, filed, flat, looked_up, runs, says
from fhir_server.search.values import split, unescaped

NARRATIVE, EVERYTHING = "_text", "_content"
UNFILED = frozenset({"AuditEvent"})
MOST_WORDS = 1_000
MOST_ASKED = 50
LONGEST_ASKED = 500  # characters of a value
DEEPEST = 10

_TOKEN = re.compile(r'"([^"]*)"|([()])|([^\s()"]+)')


@dataclass(frozen=True, slots=True)
class Said:
    """A phrase, flat, that a text has to have in it. code: _text or _content."""

    code: str
    phrase: str


# --- filed -----------------------------------------------------------------------------------------------------------


def filed_under(readable: Readable, resource: dict[str, Any]) -> Iterator[str]:
    """Yield the index terms of a resource's words. Those of the narrative are filed once, for both parameters."""
    narrative = filed(readable.narrative(resource))[:MOST_WORDS]
    everything = dict.fromkeys(chain(narrative, *map(filed, readable.strings(resource))))
    for place, word in enumerate(islice(everything, MOST_WORDS)):
        yield f"{NARRATIVE if place < len(narrative) else EVERYTHING}|{word}"


def answers(asked: Said, readable: Readable, resource: dict[str, Any]) -> bool:
    """Return whether a resource has a phrase in its text: the plain reading, without terms."""
    if says(flat(readable.narrative(resource)), asked.phrase):
        return True
    return asked.code == EVERYTHING and any(says(flat(each), asked.phrase) for each in readable.strings(resource))


# --- looked up -------------------------------------------------------------------------------------------------------


def clause(code: str, type: str, text: str) -> Clause:
    """Return the clause of a value of _text or _content on a type.

    Raises InvalidSearchValue, TooCostly; UnsupportedParameter on a type whose words are not filed.
    """
    if type in UNFILED:
        raise UnsupportedParameter(f"{type} is not searched by {code}.")
    return either(_Reader(code, unescaped(each)).read() for each in split(text, ","))


class _Reader:
    """Reads one alternative: any of what is between OR, all of what stands beside each other."""

    def __init__(self, code: str, text: str) -> None:
        self._code = code
        # Signs alone say nothing.
        self._tokens = [found.groups() for found in _TOKEN.finditer(text) if found[2] or runs(found[0])]
        self._at = 0
        self._depth = 0
        if len(self._tokens) > MOST_ASKED or len(text) > LONGEST_ASKED:
            raise TooCostly(f"{code} takes at most {MOST_ASKED} words and {LONGEST_ASKED} characters at once.")
        if text.count('"') % 2:
            raise self._wrong()

    def read(self) -> Clause:
        found = self._any()
        if self._at < len(self._tokens):
            raise self._wrong()
        return found

    def _any(self) -> Clause:
        found = [self._all()]
        while self._takes("OR"):
            found.append(self._all())
        return either(found)

    def _all(self) -> Clause:
        found = [self._one()]
        while self._takes("AND") or self._more():
            found.append(self._one())
        return both(found)

    def _one(self) -> Clause:
        if not self._more():
            raise self._wrong()
        phrase, bracket, word = self._tokens[self._at]
        self._at += 1
        if bracket:
            return self._group()
        return _phrase(self._code, phrase) if word is None else _words(self._code, word)

    def _group(self) -> Clause:
        self._depth += 1
        if self._depth > DEEPEST:
            raise TooCostly(f"The parentheses of {self._code} are too deep.")
        found = self._any()
        if self._at == len(self._tokens) or self._tokens[self._at][1] != ")":
            raise self._wrong()
        self._at += 1
        self._depth -= 1
        return found

    def _takes(self, word: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at][2] == word
        self._at += found
        return found

    def _more(self) -> bool:
        """Return whether a word, a phrase or a group begins here."""
        if self._at == len(self._tokens):
            return False
        _, bracket, word = self._tokens[self._at]
        return bracket != ")" and word not in ("OR", "AND")

    def _wrong(self) -> InvalidSearchValue:
        return InvalidSearchValue(f'The value of {self._code} is words, with OR, parentheses or "…" where needed.')


def _words(code: str, text: str) -> Clause:
    """Return the clause of what stands between two gaps; signs within it part words."""
    return both(_run(code, run) for run in runs(text))


def _run(code: str, run: str) -> Clause:
    terms = [_filed(code, word) for word in looked_up(run)]
    return both(terms) if exact(run) else both([*terms, _checked(terms, code, run)])


def _phrase(code: str, text: str) -> Clause:
    found = runs(text)
    if len(found) == 1:
        return _run(code, found[0])
    terms = [_filed(code, word) for run in found for word in looked_up(run)]
    return both([*terms, _checked(terms, code, flat(text))])


def _filed(code: str, word: str) -> Filed:
    """Return the look-up of one word; words of the narrative are part of the content."""
    codes = (NARRATIVE,) if code == NARRATIVE else (EVERYTHING, NARRATIVE)
    return Filed(code, tuple(f"{each}|{word}" for each in codes), (Said(code, word),))


def _checked(terms: list[Filed], code: str, phrase: str) -> Text:
    return Text(code, terms[0].terms, Said(code, phrase))
