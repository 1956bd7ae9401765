"""Questions that only _filter asks; they are decided on opened bodies (reading.py)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Same:
    """A folded text that a value is, as a whole ("eq")."""

    text: str


@dataclass(frozen=True, slots=True)
class Ends:
    """A folded text that a value ends with ("ew")."""

    text: str


@dataclass(frozen=True, slots=True)
class Unlike:
    """Another question, which a value does not answer ("ne")."""

    question: Hashable
