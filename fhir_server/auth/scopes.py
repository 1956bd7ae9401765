"""SMART scopes, v1 and v2: which interactions on which types, and on which of their resources, a token allows.

Source: SMART App Launch 2.2, "Scopes for requesting FHIR Resources". A v2 scope may name a search that its resources
must match, by the parameters SCOPED. A scope that this server cannot read in full grants
nothing: unknown means less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from urllib.parse import parse_qsl

from fhir_server.errors import InvalidSearchValue
from fhir_server.search.types import token
from fhir_server.search.values import split
from fhir_server.store.terms import SCOPED

SCOPE = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]*)"
    r"\.(?P<letters>\*|read|write|(?=[cruds])c?r?u?d?s?)(?:\?(?P<query>\S+))?",
    re.ASCII,
)
V1 = {"read": "rs", "write": "cud", "*": "cruds"}

# What a scope with a search allows of the letters it names: to write needs a scope without one.
CONSTRAINED = frozenset("rs")

Terms = frozenset[str]  # index terms, one of which must be there


class Reach(Enum):
    """How far a token's scopes reach for an interaction on a type."""

    NONE = 0
    PATIENT = 1  # within the compartment of the patient in context
    FULL = 2


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which scopes reach records: all of them or the patient's; those that have one of each set of terms."""

    reach: Reach
    terms: frozenset[Terms] = frozenset()


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope for FHIR resources: letters out of "cruds", type or "*", and what its search asks for."""

    context: str
    type: str
    letters: str
    terms: frozenset[Terms] = frozenset()
    query: str = ""

    @classmethod
    def read(cls, word: str) -> Scope | None:
        """Return the scope that a word is, None if it is none that can be read."""
        found = SCOPE.fullmatch(word)
        if not found:
            return None
        letters = V1.get(found["letters"], found["letters"])
        if found["query"] is None:
            return cls(found["context"], found["type"], letters)
        terms = _terms(found["query"])
        letters = "".join(each for each in letters if each in CONSTRAINED)
        return cls(found["context"], found["type"], letters, terms, found["query"]) if terms and letters else None

    def __str__(self) -> str:
        return f"{self.context}/{self.type}.{self.letters}" + (f"?{self.query}" if self.query else "")

    def within(self, other: Scope) -> Scope | None:
        """Return what of this scope another one allows, None if nothing."""
        letters = "".join(each for each in self.letters if each in other.letters)
        if self.context != other.context or not letters or len({self.type, other.type} - {"*"}) > 1:
            return None
        type = other.type if self.type == "*" else self.type
        queries = dict.fromkeys(query for query in (self.query, other.query) if query)
        return Scope.read(str(Scope(self.context, type, letters, query="&".join(queries))))


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of a token that it can be read by."""

    granted: frozenset[Scope]

    @classmethod
    def parse(cls, text: str) -> Scopes:
        """Return the scopes of a space-separated list.

        >>> print(Scopes.parse("openid user/*.read patient/Observation.rs?code:not=x patient/Observation.rs?code=x"))
        patient/Observation.rs?code=x user/*.rs
        """
        return cls(frozenset(filter(None, map(Scope.read, text.split()))))

    def ways(self, type: str, letter: str, contexts: frozenset[str]) -> frozenset[Way]:
        """Return the ways in which the scopes of these contexts allow an interaction (one of c, r, u, d, s) on a type."""
        return _ways(self, type, letter, contexts)

    def reach(self, type: str, letter: str, contexts: frozenset[str]) -> Reach:
        """Return how far the scopes of these contexts allow an interaction on a type, as far as any of them goes."""
        return max((way.reach for way in self.ways(type, letter, contexts)), key=_far, default=Reach.NONE)

    def __str__(self) -> str:
        return " ".join(sorted(map(str, self.granted)))


def narrowed(asked: str, allowed: str) -> str:
    """Return what of the scopes that are asked for others allow, each as it was asked for if all of it is allowed.

    Both are space-separated lists. A scope that is none for FHIR resources is allowed if it is named; one that cannot
    be read is left out.

    >>> narrowed("openid patient/*.read patient/Condition.cruds", "openid profile patient/Condition.rs")
    'openid patient/Condition.rs'
    """
    named, limits = set(allowed.split()), Scopes.parse(allowed).granted
    kept = (each for word in asked.split() for each in _kept(word, named, limits))
    return " ".join(dict.fromkeys(kept))


def _kept(word: str, named: set[str], limits: Iterable[Scope]) -> Iterator[str]:
    scope = Scope.read(word)
    if scope is None:
        if word in named and "/" not in word.removeprefix("launch/"):
            yield word
        return
    found = sorted({str(each) for limit in limits if (each := scope.within(limit))})
    yield from [word] if str(scope) in found else found


def _far(reach: Reach) -> int:
    return reach.value


def _terms(query: str) -> frozenset[Terms]:
    """Return what a scope's search asks for: one of each set of terms; nothing if any of it cannot be read."""
    found = []
    try:
        for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict"):
            if name not in SCOPED:
                return frozenset()
            found.append(frozenset(name + token.looked_up(token.asked(name, each)) for each in split(value, ",")))
    except (InvalidSearchValue, ValueError):
        return frozenset()
    return frozenset(found)


@lru_cache(maxsize=10_000)
def _ways(scopes: Scopes, type: str, letter: str, contexts: frozenset[str]) -> frozenset[Way]:
    found = {
        Way(Reach.PATIENT if scope.context == "patient" else Reach.FULL, scope.terms)
        for scope in scopes.granted
        if scope.type in ("*", type) and letter in scope.letters and scope.context in contexts
    }
    return frozenset(way for way in found if not any(_covers(other, way) for other in found - {way}))


def _covers(one: Way, other: Way) -> bool:
    """Return whether all that another way reaches is reached by one."""
    return one.terms <= other.terms and _far(one.reach) >= _far(other.reach)
