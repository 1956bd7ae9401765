"""Which resources of a type are in a compartment (FHIR R4 CompartmentDefinition), as a clause of a search."""

from __future__ import annotations

from fhir_server.auth.gate import RequestGate
from fhir_server.interactions.call import Services
from fhir_server.interactions.searching.persons import Persons
from fhir_server.search.ast import Clause, Filed, IdIn, Or, PersonReference
from fhir_server.search.types.reference import Local, term


async def compartment_clause(use: Services, type: str, within: tuple[str, str], gate: RequestGate) -> Clause:
    """Return the clause of a type's resources that are in a compartment. within: its code and id, as in a path.

    A Patient stands for the person, as in `patient=`: their other Patients' records, as far as the requester may know.
    """
    code, id = within
    reference = f"{code}/{id}"
    parts: list[Clause] = [
        _referring(code, id, parameter) for parameter in use.registry.compartment(code).get(type, ())
    ]
    if type == code:
        others = await Persons(use, gate).others((reference,)) if code == "Patient" else []
        parts.append(IdIn((id, *(each.removeprefix("Patient/") for each in others))))
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _referring(code: str, id: str, parameter: str) -> Clause:
    reference = f"{code}/{id}"
    terms, asked = (term(parameter, reference),), (Local(code, id),)
    if code == "Patient":
        return PersonReference(parameter, (reference,), terms, asked)
    return Filed(parameter, terms, asked)
