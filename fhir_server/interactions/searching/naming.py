"""Which Patients a search names, whether there are any such or not: who searches for a patient's records tries to see them.

Pure. Named is what stands in the search as an id. Whom it means by a name or a number is not: to look that up for somebody
who may not see the Patient would tell of it in the log of their institution.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.auth.requester import ID
from fhir_server.interactions.searching.includes import LOG
from fhir_server.interactions.searching.query import Query
from fhir_server.search.ast import And, Chain, Clause, Filed, IdIn, Or, PersonReference, Shown
from fhir_server.search.types.reference import Local

PATIENT = "Patient"


def patients_named(query: Query) -> tuple[str, ...]:
    """Return the ids of the Patients that a search names; of one that searches the log alone nobody is named."""
    if {*query.types} <= LOG:
        return ()
    compartment, _, rest = query.path.partition("/")
    found = [rest.partition("/")[0]] if compartment == PATIENT and "/" in rest else []
    found += [id for type, clause in query.clauses.items() for id in named_in(clause, type)]
    return tuple(dict.fromkeys(id for id in found if ID.fullmatch(id)))


def named_in(clause: Clause, type: str) -> Iterator[str]:
    """Yield the ids of the Patients that a clause on resources of a type names.

    >>> list(named_in(And((PersonReference("patient", ("Patient/p1",), ()), IdIn(("o1",)))), "Observation"))
    ['p1']
    """
    match clause:
        case PersonReference(_, references, _, asked):
            yield from (each.removeprefix("Patient/") for each in references)
            yield from _asked(asked)
        case Filed(_, _, asked):
            yield from _asked(asked)
        case IdIn(ids) if type == PATIENT:
            yield from ids
        case And(parts) | Or(parts):
            for part in parts:
                yield from named_in(part, type)
        case Shown(part, _):
            yield from named_in(part, type)
        case Chain(_, _, by_target):
            for target, part in by_target:
                yield from named_in(part, target)


def _asked(questions: tuple[object, ...]) -> Iterator[str]:
    yield from (each.id for each in questions if isinstance(each, Local) and each.type == PATIENT)
