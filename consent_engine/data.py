"""The records that a provision names (Consent.provision.data), and those that stand in a relation to them.

Source: FHIR R4, code system consent-data-meaning. "related" goes one step in both directions.
"""

from collections.abc import Mapping
from typing import Any

from consent_engine.elements import Unreadable, entries, literal_references, reference, relative_reference
from consent_engine.groups import Facts
from consent_engine.predicate import Attribute, Predicate, any_of, either
from consent_engine.reasons import Reason

# Of a record, which attributes may have the reference that is named.
_MEANINGS = {
    "instance": (Attribute.ID,),
    "authoredby": (Attribute.AUTHOR,),
    "dependents": (Attribute.ID, Attribute.REFERS),
    "related": (Attribute.ID, Attribute.REFERS),  # and those to which the named record refers: a fact
}


def data_condition(value: object, facts: Facts) -> Predicate:
    """Return what the data of a provision ask of a record. Raises Unreadable if one of them cannot be understood."""
    return either(*(_one(each, facts) for each in entries(value)))


def related_to(datum: Mapping[str, Any]) -> str | None:
    """Return "Type/id" of the record to which others must be related; None if nothing must be known of one."""
    return relative_reference(datum.get("reference")) if datum.get("meaning") == "related" else None


def _one(datum: Mapping[str, Any], facts: Facts) -> Predicate:
    meaning = datum.get("meaning")
    if not isinstance(meaning, str) or meaning not in _MEANINGS:
        raise Unreadable(Reason.MEANING)
    named = reference(datum.get("reference"))
    found = [any_of(attribute, {named}) for attribute in _MEANINGS[meaning]]
    if meaning == "related":
        if named not in facts:
            raise Unreadable(Reason.RELATED)
        found.append(any_of(Attribute.ID, literal_references(facts[named])))
    return either(*found)
