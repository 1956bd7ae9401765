"""The terms, in plain form, by which a resource itself is meant: by a reference, a Consent's provision, a SMART scope.

They are filed beside those of its search parameters (store/shadow.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.search.project import Projection
from fhir_server.store.mentioned import Mentioned

# Token parameters that the search of a SMART scope may ask for (auth/scopes.py).
SCOPED = frozenset({"category", "class", "code", "type"})
_SCOPED = tuple(f"{each}|" for each in SCOPED)

# Elements whose references say who made the record.
AUTHORS = ("author", "performer", "requester", "recorder", "asserter", "informant", "sender")


def self_term(reference: str) -> str:
    """Return the term under which a resource itself is filed, and by which those that refer to it point to it.

    reference: "Patient/1".
    """
    return f":self|{reference}"


def contained_term(type: str) -> str:
    """Return the term under which resources are filed that contain one of a type."""
    return f":contains|{type}"


def own_terms(resource: Mapping[str, Any]) -> Iterator[str]:
    """Yield the terms of a resource that no search parameter gives. Of AuditEvents, written all the time, there are none."""
    if resource["resourceType"] == "AuditEvent":
        return
    if "id" in resource:
        yield self_term(f"{resource['resourceType']}/{resource['id']}")
    for type in {each.get("resourceType") for each in resource.get("contained", ())} - {None}:
        yield contained_term(type)


def born_term(patient: Mapping[str, Any]) -> str:
    """Return the term by which one version of a Patient is known to say the same of the date of birth as another."""
    return f":born|{patient.get('birthDate')}"


def scope_terms(found: Projection) -> Iterator[str]:
    """Yield the index terms of a resource by which a scope's search can mean it."""
    return (term for term in found.filed if term.startswith(_SCOPED))


def consent_terms(resource: Mapping[str, Any], found: Mentioned, base: str) -> Iterator[str]:
    """Yield the index terms by which a Consent's provision can mean this record."""
    if resource["resourceType"] == "Patient":
        yield born_term(resource)
    yield from (f":code|{code}" for code in found.codings)
    yield from (f":refers|{each.removeprefix(base).partition('/_history/')[0]}" for each in found.references)
    for profile in resource.get("meta", {}).get("profile", ()):
        # A Consent names a profile with or without its version.
        yield from {f":profile|{profile}", f":profile|{profile.partition('|')[0]}"}
    for key in AUTHORS:
        if key in resource:
            yield from (f":author|{reference.removeprefix(base)}" for reference in _references(resource[key]))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"].split("/_history/")[0]
        elif isinstance(value.get("actor"), dict):
            yield from _references(value["actor"])
