"""From the parameters of a request to what they ask for (FHIR R4 Search). Messages name parameters, never values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo

from fhir_server.definitions.registry import Registry
from fhir_server.errors import InvalidSearchValue, TooCostly
from fhir_server.search import results
from fhir_server.search.asked import Asked, Include, SortKey
from fhir_server.search.ast import Clause, both
from fhir_server.search.question import Ignorable, Question
from fhir_server.search.types.span import Here
from fhir_server.search.values import shown

__all__ = ["Asked", "Include", "SortKey", "parse"]

# Alternatives in one request, all parameters together: what one query can reasonably look up.
MOST_ALTERNATIVES = 1000


def parse(
    registry: Registry,
    type: str,
    pairs: Iterable[tuple[str, str]],
    *,
    lenient: bool,
    zone: tzinfo,
    now: datetime,
    base_url: str | None,
    searched: Sequence[str] | None = None,
) -> Asked:
    """Return what a search on a type asks for.

    pairs: the parameters, decoded, in order. lenient: leave out unknown parameters and those without a value
    (Prefer: handling=lenient) instead of refusing; an unknown modifier or a bad value is refused either way.
    zone: where dates without an offset are meant. base_url: of this server, without final slash.
    searched: all types that are searched together, if there are others.
    Raises InvalidSearchValue, UnsupportedParameter, TooCostly.
    """
    question = Question(registry, Here(zone, base_url), now)
    clauses: list[Clause] = []
    shaping, used, ignored = [], [], []
    alternatives = 0
    for name, text in pairs:
        if name in results.UNSEEN:
            continue
        try:
            if results.about_results(name):
                if not text:
                    raise Ignorable(InvalidSearchValue(f"{shown(name)} has no value."))
                shaping.append((name, text))
            else:
                alternatives += 1 + text.count(",")
                if alternatives > MOST_ALTERNATIVES:
                    raise TooCostly(f"A search may name at most {MOST_ALTERNATIVES} values.")
                clauses.append(question.clause(type, name, text))
        except Ignorable as left_out:
            if not lenient:
                raise left_out.problem from None
            ignored.append(name)
        else:
            used.append((name, text))
    shape = results.shaped(registry, searched or (type,), shaping)
    return Asked(type, both(clauses), used=tuple(used), ignored=tuple(ignored), **shape)
