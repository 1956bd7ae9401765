"""The parameter `phonetic` (Patient, Practitioner, Person, RelatedPerson, Organization): names that sound alike.

R4 leaves the algorithm to the server. Chinese is compared by pinyin without tones, with the sounds that dialects do not
tell apart made one; what is written in Latin letters by Metaphone. Each word of a name is filed, and a Chinese name as
a whole, its family name and its given name. Several words asked for have all to be in the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jellyfish import metaphone

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue, TooCostly
from fhir_server.search.ast import Clause, Filed, both
from fhir_server.search.modifiers import refused
from fhir_server.search.types.names import texts
from fhir_server.search.types.pinyin import LONGEST_READ, chinese, spelled, surname_length, syllables, wholes
from fhir_server.search.types.span import Here
from fhir_server.search.types.string import folded
from fhir_server.search.values import terms, unescaped

CODE = "phonetic"
MOST_WORDS = 20  # of a value

# Sounds of pinyin that are taken for one another, in this order: zh and z, ch and c, sh and s; ü and its spellings;
# hu before a vowel and f; n and l; -ng and -n.
CONFUSED = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        ("([zcs])h", r"\1"),
        ("(?<=[nl])(v|yu)", "u"),
        ("hui", "fei"),
        ("hu(?=[aeo])", "f"),
        ("hu", "fu"),
        ("l", "n"),
        ("n+g*", "n"),
    )
)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Sounds:
    """The codes of how a word sounds, of which a name has to have one: of its letters, and of pinyin."""

    codes: tuple[str, ...]


def blurred(pinyin: str) -> str:
    """Return pinyin with all sounds that are confused made one.

    >>> blurred("zhangsan"), blurred("zansang"), blurred("huang"), blurred("fan")
    ('zansan', 'zansan', 'fan', 'fan')
    """
    for sound, other in CONFUSED:
        pinyin = sound.sub(other, pinyin)
    return pinyin


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield the codes of every word of a name."""
    for text in texts(type, value):
        yield from codes(text)


def codes(text: str) -> Iterator[str]:
    """Yield the codes under which a text is filed: ":latin|…" and ":pinyin|…"."""
    for word in _WORD.findall(folded(text)):
        for portion in _portions(word[:LONGEST_READ]):
            yield from _of_word(portion)


def _portions(word: str) -> Iterator[str]:
    """Yield a word; of a Chinese name also its family name and its given name."""
    yield word
    if chinese(word) and len(word) > 1:
        cut = min(surname_length(word), len(word) - 1)
        yield from (word[:cut], word[cut:])


@lru_cache(20_000)
def _of_word(word: str) -> tuple[str, ...]:
    if chinese(word):
        return tuple(f":pinyin|{blurred(whole)}" for whole in wholes(syllables(word)))
    code = metaphone(word)
    return (f":latin|{code}",) if code else ()


def asked(code: str, text: str) -> list[Sounds]:
    """Return what each word of a value sounds like. Raises InvalidSearchValue, TooCostly."""
    words = _WORD.findall(folded(text))
    if len(words) > MOST_WORDS:
        raise TooCostly(f"{code} takes at most {MOST_WORDS} words at once.")
    found = [_sounds(word[:LONGEST_READ]) for word in words]
    if not found or not all(each.codes for each in found):
        raise InvalidSearchValue(f"The value of {code} has nothing that can be spoken.")
    return found


def _sounds(word: str) -> Sounds:
    """Return how a word sounds: Latin letters may be those of a name, or pinyin."""
    letters = None if chinese(word) else spelled(word)
    as_pinyin = [f":pinyin|{blurred(letters)}"] if letters else []
    return Sounds((*_of_word(word), *as_pinyin))


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value."""
    if modifier:
        raise refused(parameter)
    code = parameter.code
    return both(Filed(code, terms(code, each.codes), (each,)) for each in asked(code, unescaped(text)))
