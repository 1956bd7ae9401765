"""The index read in memory: what MongoDB decides on a stored document, on the Projection that it was made from."""

from __future__ import annotations

from fhir_server.search.ast import (
    And,
    Clause,
    Filed,
    IdIn,
    InSpan,
    Missing,
    Near,
    Not,
    Or,
    PersonReference,
    Text,
    Updated,
    needs_body,
)
from fhir_server.search.project import Projection, Span
from fhir_server.search.types.span import passes
from fhir_server.search.types.sphere import kilometres_between
from fhir_server.search.values import presence


def admits(clause: Clause, projection: Projection, *, id: str = "", at: int = 0) -> bool:
    """Return whether the index lets a document through; a Text clause lets its candidates through."""
    match clause:
        case Filed(_, terms) | Text(_, terms) | PersonReference(_, _, terms):
            return not projection.terms.isdisjoint(terms)
        case InSpan(param, tests):
            return any(passes(span, test) for span in projection.ranges.get(param, ()) for test in tests)
        case Missing(param, ranged):
            return param not in projection.ranges if ranged else presence(param) not in projection.terms
        case Near(param, latitude, longitude, kilometres):
            points = projection.points.get(param, ())
            return any(kilometres_between(latitude, longitude, lat, lon) <= kilometres for lon, lat in points)
        case IdIn(ids):
            return id in ids
        case Updated(test):
            return passes(Span(at, at), test)
        case And(parts):
            return all(admits(part, projection, id=id, at=at) for part in parts)
        case Or(parts):
            return any(admits(part, projection, id=id, at=at) for part in parts)
        case Not(part):
            return needs_body(part) or not admits(part, projection, id=id, at=at)
    raise TypeError(f"no reading of {clause!r}")
