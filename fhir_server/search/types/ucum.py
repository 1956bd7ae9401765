"""Units of the Unified Code for Units of Measure (UCUM) that clinical records use, and what they are in base units.

Quantities of one kind can be compared whatever unit they are in: 5.4 mg and 5400 ug, 120 mm[Hg] and 16 kPa. Left out, so
that they are compared as they are written, are degrees that do not begin at the same zero (Cel, [degF]), what needs to know
the substance (mol and g, eq and mol, international units), and annotations alone ({cells}).
Source: https://ucum.org/ucum, tables 1 to 4; letters in capitals and small ones differ ("case sensitive").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

SYSTEM = "http://unitsofmeasure.org"


class Unit(NamedTuple):
    """A unit: how many it is of the base units that `kind` is made of."""

    factor: Fraction
    kind: str


# Atoms that take prefixes, with what they are in base units.
_METRIC: Mapping[str, tuple[str, str]] = {
    "m": ("1", "m"),
    "g": ("1", "g"),
    "s": ("1", "s"),
    "K": ("1", "K"),
    "C": ("1", "C"),
    "mol": ("1", "mol"),
    "L": ("1/1000", "m3"),
    "l": ("1/1000", "m3"),
    "t": ("1000000", "g"),
    "Hz": ("1", "s-1"),
    "N": ("1000", "g m s-2"),
    "Pa": ("1000", "g m-1 s-2"),
    "J": ("1000", "g m2 s-2"),
    "W": ("1000", "g m2 s-3"),
    "V": ("1000", "g m2 s-2 C-1"),
    "A": ("1", "C s-1"),
    "Ohm": ("1000", "g m2 s-1 C-2"),
    "bar": ("100000000", "g m-1 s-2"),
    "cal": ("4184", "g m2 s-2"),
    "m[Hg]": ("133322387.415", "g m-1 s-2"),
    "m[H2O]": ("9806650", "g m-1 s-2"),
    "kat": ("1", "mol s-1"),
    "U": ("1/60000000", "mol s-1"),
    "Gy": ("1", "m2 s-2"),
    "Sv": ("1", "Sv"),
    "Bq": ("1", "Bq"),
    "eq": ("1", "eq"),
    "osm": ("1", "osm"),
    "[iU]": ("1", "[iU]"),
    "[IU]": ("1", "[iU]"),
    "Cel": ("1", "Cel"),
}
# Those that take none.
_PLAIN: Mapping[str, tuple[str, str]] = {
    "10*": ("10", ""),
    "10^": ("10", ""),
    "%": ("1/100", ""),
    "[ppth]": ("1/1000", ""),
    "[ppm]": ("1/1000000", ""),
    "min": ("60", "s"),
    "h": ("3600", "s"),
    "d": ("86400", "s"),
    "wk": ("604800", "s"),
    "mo": ("2629800", "s"),
    "a": ("31557600", "s"),
    "deg": ("1", "deg"),
    "[in_i]": ("0.0254", "m"),
    "[ft_i]": ("0.3048", "m"),
    "[lb_av]": ("453.59237", "g"),
    "[oz_av]": ("28.349523125", "g"),
    "[degF]": ("1", "[degF]"),
    "[pH]": ("1", "[pH]"),
}
_PREFIXES = dict(T=12, G=9, M=6, k=3, h=2, da=1, d=-1, c=-2, m=-3, u=-6, n=-9, p=-12, f=-15)

_ANNOTATION = re.compile(r"\{[^{}]*\}")
_POWER = re.compile(r"(.+?)([+-]?\d{1,2})?", re.ASCII | re.DOTALL)
_FACTOR = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_LONGEST = 40  # characters
_GREATEST = Fraction(10) ** 60  # beyond it, numbers would not be doubles


def read(code: str) -> Unit | None:
    """Return what a unit is in base units; None if it is none of those known here.

    >>> read("mg/dL") == read("10.ug/mL"), read("mm[Hg]").kind == read("kPa").kind, read("mol").kind == read("g").kind
    (True, True, False)
    """
    return _read(code) if len(code) <= _LONGEST else None


@lru_cache(5_000)
def _read(code: str) -> Unit | None:
    text = _ANNOTATION.sub("", code)
    if not text:
        return None
    factor, powers = Fraction(1), Counter[str]()
    for place, side in enumerate(text.split("/")):
        sign = -1 if place else 1
        for term in side.split(".") if side or place else ():
            found = _term(term)
            if found is None:
                return None
            factor *= found[0] ** sign
            for base, power in found[1].items():
                powers[base] += sign * power
    kind = ".".join(f"{base}{power}" for base, power in sorted(powers.items()) if power)
    return Unit(factor, kind) if 1 / _GREATEST < factor < _GREATEST else None


def _term(text: str) -> tuple[Fraction, Counter[str]] | None:
    """Return a unit with its power, or a whole number."""
    if _FACTOR.fullmatch(text):
        return Fraction(int(text)), Counter()
    matched = _POWER.fullmatch(text)
    atom = _atom(matched[1]) if matched else None
    if matched is None or atom is None:
        return None
    power = int(matched[2] or 1)
    factor, bases = atom
    return factor**power, Counter({base: power * each for base, each in _bases(bases).items()})


def _atom(text: str) -> tuple[Fraction, str] | None:
    if found := _PLAIN.get(text) or _METRIC.get(text):
        return Fraction(found[0]), found[1]
    for length in (1, 2):
        prefix, atom = _PREFIXES.get(text[:length]), _METRIC.get(text[length:])
        if prefix is not None and atom:
            return Fraction(10) ** prefix * Fraction(atom[0]), atom[1]
    return None


def _bases(text: str) -> dict[str, int]:
    """Return the powers of base units.

    >>> _bases("g m-1 s-2")
    {'g': 1, 'm': -1, 's': -2}
    """
    parts = (_POWER.fullmatch(each) for each in text.split())
    return {part[1]: int(part[2] or 1) for part in parts if part}
