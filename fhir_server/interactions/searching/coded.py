"""Codes that are asked for by a value set or by their place in a code system, as a look-up of every one of them."""

from __future__ import annotations

from fhir_server.errors import TooCostly
from fhir_server.interactions.call import Services
from fhir_server.search.ast import Filed, InValueSet, Subsumed
from fhir_server.search.types.token import terms_of
from fhir_server.store.resources import Gate
from terminology.members import Members

MOST_CODES = 10_000


async def coded(use: Services, clause: InValueSet | Subsumed, gate: Gate) -> Filed:
    """Return the look-up of all members of a value set, or of all codes above or below a code.

    Raises TooCostly if there are too many, and what the terminology raises if it cannot tell them.
    """
    if isinstance(clause, InValueSet):
        members = await use.terminology.members(clause.url, gate)
    else:
        found = await use.terminology.subsumed(clause.system, clause.code, above=clause.above, gate=gate)
        members = Members(frozenset((clause.system, code) for code in found))
    if len(members.codes) > MOST_CODES:
        raise TooCostly(f"{clause.param} is asked for more than {MOST_CODES} codes: name a narrower set or code.")
    return Filed(clause.param, terms_of(clause.param, members))
