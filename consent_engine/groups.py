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
    return frozenset(each for each in collective(references) if not _known(each, facts.get(each)))


def _known(reference: str, fact: Mapping[str, Any] | None) -> bool:
    type = reference.split("/")[0]
    if fact is None or fact.get("resourceType") != type or changes_meaning(fact):
        return False
    return _KNOWN[type](fact)


def changes_meaning(fact: Mapping[str, Any]) -> bool:
    """Return whether a resource says that it must not be read without understanding more than it has of R4."""
    return "implicitRules" in fact or carries(fact, "modifierExtension")


def _group(group: Mapping[str, Any]) -> bool:
    in_use = group.get("actual") is True and group.get("active", True) is True
    return in_use and _enumerates(group.get("member"), "entity")


def _care_team(team: Mapping[str, Any]) -> bool:
    return team.get("status", "active") == "active" and _enumerates(team.get("participant"), "member")


_KNOWN: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {"Group": _group, "CareTeam": _care_team}


def _enumerates(members: object, element: str) -> bool:
    """Whether every member is named; one that is a group or team itself is not: its members are not among the facts."""
    if not isinstance(members, list) or not members:
        return False
    named = [relative_reference(each.get(element)) if isinstance(each, Mapping) else None for each in members]
    return all(each is not None and not each.startswith(COLLECTIVE) for each in named)
