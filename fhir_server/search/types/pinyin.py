"""How Chinese is read: pinyin without tones (GB/T 16159), with the readings that names have (GB/T 28039).

pypinyin is imported where it is needed: its tables take a quarter of a second, and most commands read no Chinese.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import groupby, product

from fhir_server.search.types.string import folded

# Of more characters in a row than names of persons have, one reading is taken: that of the words.
LONGEST_NAME = 4
LONGEST_READ = 64  # characters; no more of a text is read
# Readings of a whole text; of what goes beyond it only the usual ones count.
MOST_WHOLES = 32
# A character also has the reading of this share of the words that it stands in.
COMMON = 0.05

_HAN = re.compile("[〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_LATIN = re.compile("[a-z0-9]+")
_BETWEEN = re.compile(r"[\s'’·•.\-]+")

# Readings that characters have as surnames, where in words they are mostly read otherwise.
_SURNAMES = """
单 shan|單 shan|曾 zeng|解 xie|仇 qiu|区 ou|區 ou|朴 piao|盖 ge|蓋 ge|查 zha|翟 zhai|缪 miao|繆 miao|卜 bu|种 chong|员 yun
員 yun|繁 po|折 she|秘 bi|洗 xian|冼 xian|隗 kui|郇 huan|句 gou|祭 zhai|宓 fu|都 du|费 bi|費 bi|召 shao|莘 xin|覃 qin
谌 shen|諶 shen|黑 he|能 nai|炅 gui|逄 pang|薄 bo|柏 bo|牟 mu|郗 chi|角 jue|适 kuo|颉 xie|乐 yue|樂 yue
长孙 zhang sun|長孫 zhang sun|万俟 mo qi|尉迟 yu chi|尉遲 yu chi|澹台 tan tai|澹臺 tan tai|单于 chan yu|單于 chan yu
"""
SURNAMES = {name: tuple(readings) for name, *readings in map(str.split, re.split(r"[|\n]", _SURNAMES.strip()))}
# Surnames that have no reading but the usual one, though their characters do.
USUAL = frozenset("冯沈蔡贾姚陆郝汤盛裴冉瞿褚糜嵇晁和陳趙吳孫馮許盧賈葉鄒陸錢湯龐魯韋聶齊塗關鮑華車陰駱龍連")
# Other surnames of two characters.
COMPOUND = frozenset(
    "欧阳 歐陽 司马 司馬 上官 诸葛 諸葛 东方 東方 皇甫 公孙 公孫 令狐 慕容 宇文 司徒 司空 夏侯 轩辕 軒轅 端木".split()
    + "独孤 獨孤 南宫 南宮 西门 西門 闻人 聞人 太史 申屠 赫连 赫連 濮阳 濮陽 钟离 鍾離 呼延 百里".split()
)

Syllables = tuple[tuple[str, ...], ...]


def chinese(text: str) -> bool:
    """Return whether there is a Chinese character in a text.

    >>> chinese("Li 明"), chinese("Ming"), chinese("たろう")
    (True, False, False)
    """
    return not text.isascii() and _HAN.search(text) is not None


def prepare() -> None:
    """Read the dictionary now (a fifth of a second, once in a process), so that no request waits for it."""
    _words()


def syllables(text: str) -> Syllables:
    """Return, one after the other, the syllables of a text, each with all its readings; none if nothing is Chinese.

    Latin letters and digits stand as they are; what is neither is left out.

    >>> syllables("单田芳"), syllables("重庆市第一医院")[0], syllables("Li 明")
    ((('shan', 'dan'), ('tian',), ('fang',)), ('chong',), (('li',), ('ming',)))
    """
    return _syllables(text[:LONGEST_READ]) if chinese(text) else ()


@lru_cache(20_000)
def _syllables(text: str) -> Syllables:
    found: list[tuple[str, ...]] = []
    for is_han, run in groupby(text, key=lambda character: bool(_HAN.match(character))):
        characters = "".join(run)
        if is_han:
            found += _of_name(characters) if len(characters) <= LONGEST_NAME else _of_words(characters)
        else:
            found += [(word,) for word in _LATIN.findall(folded(characters))]
    return _bounded(found)


def _of_name(text: str) -> list[tuple[str, ...]]:
    """Return the syllables of what may be a name: its surname as such, and every other reading that is in use."""
    surname = text[: surname_length(text)]
    readings = [_common(each) for each in text]
    if surname in USUAL or surname in SURNAMES:
        said = SURNAMES.get(surname, ())
        readings[: len(surname)] = [[*said[at : at + 1], *readings[at][:1]] for at in range(len(surname))]
    return [_spellings(each) for each in readings if each]


def _of_words(text: str) -> list[tuple[str, ...]]:
    from pypinyin import lazy_pinyin

    return [_spellings([each]) for each in lazy_pinyin(text, errors="ignore")]


def _bounded(found: list[tuple[str, ...]]) -> Syllables:
    kept: list[tuple[str, ...]] = []
    count = 1
    for ways in found:
        kept.append(ways if count * len(ways) <= MOST_WHOLES else ways[:1])
        count *= len(kept[-1])
    return tuple(kept)


def surname_length(name: str) -> int:
    """Return of how many characters the surname is with which a Chinese name begins."""
    return 2 if name[:2] in COMPOUND or name[:2] in SURNAMES.keys() - {name[:1]} else 1


@lru_cache(20_000)
def _common(character: str) -> list[str]:
    """Return the readings of a character that are in use: the usual one, and those common among the words it is in."""
    from pypinyin import Style, pinyin

    known = pinyin(character, style=Style.NORMAL, heteronym=True, errors="ignore")
    readings = known[0] if known else []
    words = _words().get(character)
    if not words:
        return readings[:2]
    enough = COMMON * sum(words.values())
    return [each for place, each in enumerate(readings) if place == 0 or words[each] >= enough]


@cache
def _words() -> Mapping[str, Counter[str]]:
    """Return, by character, in how many words of the dictionary it has each reading."""
    from pypinyin.contrib.tone_convert import to_normal
    from pypinyin.phrases_dict import phrases_dict

    found: dict[str, Counter[str]] = {}
    plain = cache(to_normal)
    for word, readings in phrases_dict.items():
        if len(word) == len(readings):
            for character, (reading, *_) in zip(word, readings, strict=True):
                found.setdefault(character, Counter())[plain(reading)] += 1
    return found


def _spellings(readings: list[str]) -> tuple[str, ...]:
    """Return the ways to write readings in plain letters: ü is v on keyboards, yu in passports, u where dots are lost."""
    found = (each.replace("v", vowel) for each in readings for vowel in ("v", "u", "yu"))
    return tuple(dict.fromkeys(found))


def wholes(ways: Syllables) -> list[str]:
    """Return every reading of a whole text.

    >>> wholes((("zeng", "ceng"), ("ye",)))
    ['zengye', 'cengye']
    """
    return ["".join(chosen) for chosen in product(*ways)] if ways else []


def initials(ways: Syllables) -> list[str]:
    """Return the first letters of the syllables, in every reading; none of a single syllable.

    >>> initials((("zhang",), ("san",)))
    ['zs']
    """
    first = [tuple(dict.fromkeys(way[0] for way in each)) for each in ways]
    return wholes(tuple(first)) if len(first) > 1 else []


def spelled(text: str) -> str | None:
    """Return a folded text as pinyin is filed: letters without gaps; None if it cannot be pinyin.

    >>> spelled("zhang san"), spelled("xi'an"), spelled("张")
    ('zhangsan', 'xian', None)
    """
    letters = _BETWEEN.sub("", text)
    return letters if _LATIN.fullmatch(letters) else None
