"""The words of a text, for _text and _content: Latin ones folded, Chinese as single characters and pairs of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from fhir_server.search.types.string import folded

LONGEST_WORD = 64  # characters of a word that count
_CACHED_LENGTH = 200

_HAN = "〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_RUN = re.compile(f"[{_HAN}]+|[^\\W_{_HAN}]+")
_IS_HAN = re.compile(f"[{_HAN}]")


def is_han(character: str) -> bool:
    """Return whether a character is a Chinese one."""
    return _IS_HAN.match(character) is not None


def runs(text: str) -> list[str]:
    """Return the words of a text in order; of Chinese, what stands in a row.

    >>> runs("胸部CT检查：No X-ray")
    ['胸部', 'ct', '检查', 'no', 'x', 'ray']
    """
    return _RUN.findall(folded(text))


def flat(text: str) -> str:
    """Return a text with nothing but its words, so that phrases can be looked for.

    >>> flat("胸部CT检查：No X-ray")
    '胸部ct检查 no x ray'
    """
    found, end = "", 0
    for run in _RUN.finditer(folded(text)):
        found += run[0] if run.start() == end or not found else f" {run[0]}"
        end = run.end()
    return found


def filed(text: str) -> tuple[str, ...]:
    """Return every word under which a text is filed."""
    return _known(text) if len(text) <= _CACHED_LENGTH else tuple(dict.fromkeys(_each(text)))


@lru_cache(50_000)
def _known(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_each(text)))


def _each(text: str) -> Iterator[str]:
    for run in runs(text):
        if is_han(run[0]):
            yield from run
            yield from pairs(run)
        else:
            yield run[:LONGEST_WORD]


def pairs(run: str) -> list[str]:
    """Return each two characters of a row of them that stand together.

    >>> pairs("糖尿病")
    ['糖尿', '尿病']
    """
    return [run[at : at + 2] for at in range(len(run) - 1)]


def looked_up(run: str) -> list[str]:
    """Return the words under which all texts are filed that have a word, or a row of Chinese characters, in them."""
    if not is_han(run[0]):
        return [run[:LONGEST_WORD]]
    return pairs(run) or [run]


def exact(run: str) -> bool:
    """Return whether the index alone tells the texts that have it in them."""
    return len(run) <= (2 if is_han(run[0]) else LONGEST_WORD)


def says(text: str, phrase: str) -> bool:
    """Return whether a phrase stands in a text, both flat. Latin words are found as a whole, Chinese anywhere.

    >>> says("no x ray", "x ray"), says("no x rays", "x ray"), says("胸部ct检查", "部ct")
    (True, False, True)
    """
    at = text.find(phrase)
    while at >= 0:
        if _parted(text[at - 1 : at], phrase[0]) and _parted(phrase[-1], text[at + len(phrase) : at + len(phrase) + 1]):
            return True
        at = text.find(phrase, at + 1)
    return False


def _parted(left: str, right: str) -> bool:
    """Return whether a word ends between two characters that stand together; there may be none on one side."""
    return not left or not right or left == " " or right == " " or is_han(left) or is_han(right)
