"""Groups and care teams among the actors of a provision: whether it is known who belongs to them.

Who does belong to them is the requester's side: a member's request lists them among its actors (AccessRequest).
Source: FHIR R4, Group and CareTeam.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from consent_engine.elements import carries, relative_reference

Facts = Mapping[str, Mapping[str, Any]]

COLLECTIVE = ("Group/", "CareTeam/")


def collective(references: Iterable[str]) -> frozenset[str]:
    """Return those of the references that stand for several, of whom it must be known who they are."""
    return frozenset(each for each in references if each.startswith(COLLECTIVE))


def unresolved(references: Iterable[str], facts: Facts) -> frozenset[str]:
    """Return the groups and teams of which it is not known who belongs to them."""
    return frozenset(each for each in collective(references) if not _members(each, facts))


def incomplete(references: Iterable[str], facts: Facts) -> frozenset[str]:
    """Return the groups and teams to whom others may belong beside those of whom it is known.

    Such are those with members that are groups or institutions themselves: who they are is not among the facts.
    """
    return frozenset(each for each in collective(references) if not all(map(_signs_in, _members(each, facts))))


def changes_meaning(fact: Mapping[str, Any]) -> bool:
    """Return whether a resource says that it must not be read without understanding more than it has of R4."""
    return "implicitRules" in fact or carries(fact, "modifierExtension")


def _members(reference: str, facts: Facts) -> list[str | None]:
    """References to the members of a group or team that is in use; None for one who is not named."""
    type, fact = reference.split("/")[0], facts.get(reference, {})
    if fact.get("resourceType") != type or changes_meaning(fact):
        return []
    return _READERS[type](fact)


def _group(group: Mapping[str, Any]) -> list[str | None]:
    if group.get("actual") is not True or group.get("active", True) is not True:
        return []
    named = _named(group.get("member"), "entity")
    quantity = group.get("quantity", len(named))
    return named if isinstance(quantity, int) and quantity <= len(named) else [*named, None]


def _care_team(team: Mapping[str, Any]) -> list[str | None]:
    return _named(team.get("participant"), "member") if team.get("status", "active") == "active" else []


_READERS: Mapping[str, Callable[[Mapping[str, Any]], list[str | None]]] = {"Group": _group, "CareTeam": _care_team}


def _named(members: object, element: str) -> list[str | None]:
    found = members if isinstance(members, list) else []
    return [relative_reference(each.get(element)) if isinstance(each, Mapping) else None for each in found]


# Who can ask for something: a request names its requester as one of these.
_PERSONAL = ("Device/", "Patient/", "Practitioner/", "RelatedPerson/")


def _signs_in(member: str | None) -> bool:
    return member is not None and member.startswith(_PERSONAL)
