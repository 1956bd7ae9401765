"""SMART scopes, v1 and v2: which interactions on which types a token allows.

Source: SMART App Launch 2.2, "Scopes for requesting FHIR Resources". A scope that this server cannot read, or can
read only in part (a v2 scope with a search constraint), grants nothing: unknown means less.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]*)\.(\*|read|write|(?=[cruds])c?r?u?d?s?)")
V1 = {"read": "rs", "write": "cud", "*": "cruds"}


class Reach(Enum):
    """How far a token's scopes reach for an interaction on a type."""

    NONE = 0
    PATIENT = 1  # within the compartment of the patient in context
    FULL = 2


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of a token: (context, type or "*", permissions out of "cruds")."""

    granted: frozenset[tuple[str, str, str]]

    @classmethod
    def parse(cls, text: str) -> Scopes:
        """Return the scopes of a space-separated list.

        >>> sorted(Scopes.parse("openid user/*.read patient/Observation.rs?code=x").granted)
        [('user', '*', 'rs')]
        """
        found = (SCOPE.fullmatch(word) for word in text.split())
        return cls(frozenset((m[1], m[2], V1.get(m[3], m[3])) for m in found if m))

    def reach(self, type: str, permission: str, contexts: frozenset[str]) -> Reach:
        """Return how far the scopes of these contexts allow a permission (one of c, r, u, d, s) on a type."""
        return _reach(self, type, permission, contexts)

    def __str__(self) -> str:
        return " ".join(sorted(f"{context}/{type}.{allowed}" for context, type, allowed in self.granted))


@lru_cache(maxsize=10_000)
def _reach(scopes: Scopes, type: str, permission: str, contexts: frozenset[str]) -> Reach:
    found = {
        context
        for context, of, allowed in scopes.granted
        if of in ("*", type) and permission in allowed and context in contexts
    }
    if found & {"user", "system"}:
        return Reach.FULL
    return Reach.PATIENT if found else Reach.NONE
