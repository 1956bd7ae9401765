"""Date parameters by which people search alone, and how one index in the order of beginnings bounds a range.

A resource that has one time of at most 25 hours for a parameter, as almost all have, is found by its beginning on both
sides: it began no earlier than that before its end. Any other (a stay, a partial date, several times) is filed under its
extent as well, in an index of such resources alone. So a range needs no index of all ends, and a write pays for one
index entry. The beginning of a resource is that of its first time: where it sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product, starmap
from math import inf
from typing import NamedTuple

from fhir_server.search.ast import Clause, InSpan, SpanTest
from fhir_server.search.types.span import Span

# Beside `date`, which has an index in every type that has the parameter. Each costs every write of the type.
ALONE: Mapping[str, frozenset[str]] = {
    "Claim": frozenset({"created"}),
    "Communication": frozenset({"sent"}),
    "Condition": frozenset({"onset-date", "recorded-date"}),
    "DeviceRequest": frozenset({"authored-on"}),
    "DiagnosticReport": frozenset({"issued"}),
    "ExplanationOfBenefit": frozenset({"created"}),
    "ImagingStudy": frozenset({"started"}),
    "MedicationAdministration": frozenset({"effective-time"}),
    "MedicationDispense": frozenset({"whenhandedover"}),
    "MedicationRequest": frozenset({"authoredon"}),
    "MedicationStatement": frozenset({"effective"}),
    "Patient": frozenset({"birthdate"}),
    "Person": frozenset({"birthdate"}),
    "QuestionnaireResponse": frozenset({"authored"}),
    "RelatedPerson": frozenset({"birthdate"}),
    "ServiceRequest": frozenset({"authored"}),
    "Slot": frozenset({"start"}),
    "Specimen": frozenset({"collected"}),
    "Task": frozenset({"authored-on", "modified"}),
}
DATE = frozenset({"date"})
BOUNDED = {type: DATE | params for type, params in ALONE.items()}
# A day, and the hour by which one may be longer (microseconds).
SHORT = 25 * 3_600 * 1_000_000
# As many as are looked up apart; more are looked up as one.
MOST_STRETCHES = 16


class Reach(NamedTuple):
    """A stretch of the order in which resources are on which clauses hold, in microseconds since 1970 UTC; None: anywhere.

    since: what has one short time began then or later. lasting: the last end of any other is then or later.
    until: it began then or earlier.
    """

    since: float | None = None
    lasting: float | None = None
    until: float | None = None


ANYWHERE = Reach()


def bounded(type: str) -> frozenset[str]:
    """Return the parameters of a type whose ranges an index bounds."""
    return BOUNDED.get(type, DATE)


def extent(spans: Sequence[Span]) -> tuple[float, float] | None:
    """Return from when to when is what has not one short time alone (infinite: open); None for what has."""
    if len(spans) == 1 and (only := spans[0]).lo is not None and only.hi is not None and only.hi - only.lo <= SHORT:
        return None
    lows, highs = [span.lo for span in spans], [span.hi for span in spans]
    return min(-inf if low is None else low for low in lows), max(inf if high is None else high for high in highs)


def reaches(clauses: Iterable[Clause], params: frozenset[str]) -> dict[str, tuple[Reach, ...]]:
    """Return, by parameter, where the resources are on which all of the clauses hold: in one of these stretches.

    Nothing for a parameter whose resources can be anywhere.
    """
    found: dict[str, tuple[Reach, ...]] = {}
    for clause in clauses:
        if isinstance(clause, InSpan) and clause.tests and clause.param in params:
            stretches, known = _of_any(clause.tests), found.get(clause.param, (ANYWHERE,))
            if len(known) * len(stretches) > MOST_STRETCHES:
                known, stretches = (_spanning(known),), (_spanning(stretches),)
            found[clause.param] = tuple(starmap(_common, product(known, stretches)))
    return {param: stretches for param, stretches in found.items() if ANYWHERE not in stretches}


def _of_any(tests: Iterable[SpanTest]) -> tuple[Reach, ...]:
    """Return where the resources are one of whose spans passes one of the tests; what overlaps, as one stretch."""
    found: list[Reach] = []
    for reach in sorted(map(_of_one, tests), key=lambda each: -inf if each.since is None else each.since):
        last = found[-1] if found else None
        if last and (last.until is None or reach.since is None or reach.since <= last.until):
            found[-1] = _spanning((last, reach))
        else:
            found.append(reach)
    return tuple(found)


def _of_one(test: SpanTest) -> Reach:
    """Return where the resources are one of whose spans passes a test.

    The ends of a span stand in order: what begins behind a time ends behind it, what ends before one begins before it.
    """
    lows = [each for each in test.comparisons if each.operator.startswith("g")]
    since = [each.value if each.bound == "lo" else each.value - SHORT for each in lows]
    until = [each.value for each in test.comparisons if each.operator.startswith("l")]
    return Reach(max(since, default=None), max((each.value for each in lows), default=None), min(until, default=None))


def _common(one: Reach, other: Reach) -> Reach:
    """Return where what is in both stretches is."""
    return Reach(
        *(_there(keep, ends) for keep, ends in zip((max, max, min), zip(one, other, strict=True), strict=True))
    )


def _there(keep: Callable[[Iterable[float]], float], ends: Iterable[float | None]) -> float | None:
    """Return one of the ends that there are; None if there is none."""
    there = [each for each in ends if each is not None]
    return keep(there) if there else None


def _spanning(stretches: Iterable[Reach]) -> Reach:
    """Return the one stretch that spans others."""
    since, lasting, until = zip(*stretches, strict=True)
    return Reach(*(None if None in ends else keep(ends) for keep, ends in ((min, since), (min, lasting), (max, until))))


def latest(stretches: Iterable[Reach]) -> float | None:
    """Return the time behind which nothing begins that is in one of the stretches; None if there is none."""
    return _spanning(stretches).until
