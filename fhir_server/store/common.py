"""Terms that most documents of a type have: filed apart (`cx`), in no index.

To look such a term up finds nothing sooner than to go through all documents in their order does. Each entry of an index costs
MongoDB some microseconds, and every answer waits for its AuditEvent: of the 51 terms of a usual read's, 32 are these.
A search is made as if all terms stood in `ix`; `apart` says of its filter where each of them is filed. Whoever changes the
table counts the layout up (store/installation.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from consent_engine.vocabulary import FACADE
from fhir_server.search.types.token import Coded, forms

Document = dict[str, Any]
Keyed = Callable[[str], int]

_HL7, _FHIR = "http://terminology.hl7.org/CodeSystem", "http://hl7.org/fhir"
# By type: the parameters and what is filed under them.
COMMON: Mapping[str, tuple[tuple[str, Coded], ...]] = {
    "AuditEvent": (
        ("action", Coded(None, "R", implied=f"{_FHIR}/audit-event-action")),
        ("action", Coded(None, "E", implied=f"{_FHIR}/audit-event-action")),
        ("agent-role", Coded(f"{FACADE}/CodeSystem/role", "practitioner")),
        ("agent-role", Coded(f"{FACADE}/CodeSystem/role", "system")),
        ("entity-role", Coded(f"{_HL7}/object-role", "1")),
        ("entity-role", Coded(f"{_HL7}/object-role", "4")),
        ("entity-role", Coded(f"{_HL7}/object-role", "13")),
        ("entity-role", Coded(f"{_HL7}/object-role", "24")),
        ("entity-type", Coded(f"{_HL7}/audit-entity-type", "1")),
        ("entity-type", Coded(f"{_HL7}/audit-entity-type", "2")),
        ("entity-type", Coded("https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType", "AuthZ-Consent")),
        ("outcome", Coded(None, "0", implied=f"{_FHIR}/audit-event-outcome")),
        ("subtype", Coded(f"{_FHIR}/restful-interaction", "read")),
        ("subtype", Coded(f"{_FHIR}/restful-interaction", "search-type")),
        ("type", Coded(f"{_HL7}/audit-event-type", "rest")),
    )
}


@lru_cache
def common(type: str, keyed: Keyed) -> frozenset[int]:
    """Return the keyed terms of a type that are filed apart."""
    filed = COMMON.get(type, ())
    return frozenset(keyed(f"{param}{form}") for param, coded in filed for form in forms(coded))


def split(fields: Document, apart: Collection[int]) -> Document:
    """Return index fields with the terms that are common in a field of their own."""
    found = {"ix": [term for term in fields["ix"] if term not in apart]}
    if shared := [term for term in fields["ix"] if term in apart]:
        found["cx"] = shared
    return {**fields, **found}


def apart(filter: Document, terms: Collection[int]) -> Document:
    """Return the filter that finds the same where these terms are filed apart."""
    if not terms:
        return filter
    parts: list[Document] = []
    for name, value in filter.items():
        if name in ("$and", "$or", "$nor"):
            parts.append({name: [apart(each, terms) for each in value]})
        elif name == "ix":
            parts.append(_looked_up(value, terms))
        else:
            parts.append({name: value})
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}


def _looked_up(asked: Any, terms: Collection[int]) -> Document:
    """Return the filter of a condition on terms, wherever they are filed."""
    if isinstance(asked, int):
        return {"cx" if asked in terms else "ix": asked}
    ((operator, numbers),) = asked.items()
    rare, shared = _sorted_out(numbers, terms)
    found = [{field: {operator: each}} for field, each in (("ix", rare), ("cx", shared)) if each]
    if len(found) < 2:
        return found[0] if found else {"ix": asked}
    return {"$or": found} if operator == "$in" else {"$and": found}


def _sorted_out(numbers: Iterable[int], terms: Collection[int]) -> tuple[list[int], list[int]]:
    both: tuple[list[int], list[int]] = ([], [])
    for each in numbers:
        both[each in terms].append(each)
    return both
