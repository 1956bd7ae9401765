"""To whom a requester belongs at the time of a decision: groups, care teams, departments, institutions above their own.

A Consent can name any of them as an actor. Whose member somebody is, is for those to say who have members: a role in a
department counts if the institution itself recorded both, a part of an institution if the whole did. What is an
institution itself is nobody's department: else one could make itself a part of another by a record of its own. A Group or a
CareTeam is named by the Consent itself, so it says who its members are, whoever keeps it.

Source: FHIR R4 Group, CareTeam, PractitionerRole, Organization.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from consent_engine.dates import Span
from consent_engine.elements import Unreadable, period, relative_reference
from fhir_server.auth.own import KEPT_BY_INSTITUTIONS
from fhir_server.auth.requester import INSTITUTIONAL, Requester
from fhir_server.search.types import reference
from fhir_server.store.facts import Fact, Facts
from fhir_server.store.resources import Resources, Ungated

MOST_ABOVE = 5  # institutions above the requester's own, one above the other
KNOWN = 10_000


class Member(NamedTuple):
    """To whom somebody belongs ("Group/1"), and when; None: for ever."""

    of: str
    during: Span | None = None


class Belonging(NamedTuple):
    """All to whom a requester belongs now; until: when this may change by itself, None: never."""

    to: frozenset[str] = frozenset()
    until: datetime | None = None


class Memberships:
    """Finds out to whom requesters belong, once for as long as nobody changes what says so."""

    def __init__(self, resources: Resources, term: Callable[[str], int], zone: tzinfo) -> None:
        self._resources = resources
        self._facts = Facts(resources)
        self._gate = Ungated("to whom a requester belongs")
        self._term = term
        self._zone = zone
        self._known: dict[tuple[str, ...], tuple[int, Belonging]] = {}

    async def of(self, requester: Requester, count: int, now: datetime) -> frozenset[str]:
        """Return "Type/id" of all to whom a requester belongs. count: that of the changes of memberships, as read now."""
        key = (requester.role, requester.user, requester.organization, requester.department or "")
        known = self._known.get(key)
        if known and known[0] == count and (known[1].until is None or now < known[1].until):
            return known[1].to
        found = belonging([each async for each in self._all(requester)], now)
        if len(self._known) > KNOWN:
            self._known.clear()
        self._known[key] = (count, found)
        return found.to

    async def _all(self, requester: Requester) -> AsyncIterator[Member]:
        for fact in await self._naming("Group", "member", requester.user):
            for each in in_group(fact, requester.user, self._zone):
                yield each
        for fact in await self._naming("CareTeam", "participant", requester.user):
            for each in in_team(fact, requester.user, self._zone):
                yield each
        if requester.role not in INSTITUTIONAL:
            return
        for fact in await self._naming("PractitionerRole", "practitioner", requester.user):
            for each in in_role(fact, requester, self._zone):
                if each.of.startswith("PractitionerRole/") or await self._is_department(each.of, requester):
                    yield each
        for own in filter(None, (requester.organization, requester.department)):
            async for parent in self._above(own):
                yield Member(parent)

    async def _naming(self, type: str, parameter: str, user: str) -> list[Fact]:
        """Return the resources of a type that name a user under a parameter.

        All of them: what is left out could be the group that a Consent denies.
        """
        filter = {"ix": self._term(reference.term(parameter, user))}
        rows = await self._resources.find(
            type, filter, self._gate, sort=[("_id", 1)], limit=0, shown={"_id": 1, "pat": 1, "pats": 1}
        )
        found = await self._facts.now(f"{type}/{row['_id']}" for row in rows)
        return list(found.values())

    async def _is_department(self, organization: str, requester: Requester) -> bool:
        """Return whether a requester's institution has recorded this as a part of itself, and it is none of its own."""
        fact = (await self._facts.now([organization])).get(organization)
        whole = f"Organization/{requester.organization}"
        if fact is None or fact.custodian != requester.organization:
            return False
        if organization == whole or relative_reference(fact.resource.get("partOf")) != whole:
            return False
        kept = {"org": organization.removeprefix("Organization/")}
        for type in KEPT_BY_INSTITUTIONS:
            if await self._resources.find(type, kept, self._gate, sort=[("_id", 1)], limit=1, shown={"_id": 1}):
                return False
        return True

    async def _above(self, organization: str) -> AsyncIterator[str]:
        """Yield the institutions of which one is a part, as far as each has recorded its part itself."""
        for _ in range(MOST_ABOVE):
            facts = await self._facts.now([f"Organization/{organization}"])
            fact = facts.get(f"Organization/{organization}")
            parent = relative_reference(fact.resource.get("partOf")) if fact else None
            if fact is None or parent != f"Organization/{fact.custodian}":
                return
            yield parent
            organization = fact.custodian


def belonging(members: Iterable[Member], now: datetime) -> Belonging:
    """Return to whom somebody belongs at an instant."""
    found = list(members)
    sides = (side for _, during in found if during for side in (during.start, during.end))
    return Belonging(
        frozenset(each.of for each in found if each.during is None or each.during.covers(now)),
        min((side for side in sides if side is not None and side > now), default=None),
    )


def in_group(fact: Fact, user: str, zone: tzinfo) -> Iterator[Member]:
    """Yield a user's membership in a Group."""
    group = fact.resource
    if group.get("actual") is not True or group.get("active", True) is not True:
        return
    for each in group.get("member", ()):
        if relative_reference(each.get("entity")) == user and each.get("inactive", False) is False:
            yield from _during(f"Group/{group['id']}", (each,), zone)


def in_team(fact: Fact, user: str, zone: tzinfo) -> Iterator[Member]:
    """Yield a user's membership in a CareTeam."""
    team = fact.resource
    if team.get("status", "active") != "active":
        return
    for each in team.get("participant", ()):
        if relative_reference(each.get("member")) == user:
            yield from _during(f"CareTeam/{team['id']}", (team, each), zone)


def in_role(fact: Fact, requester: Requester, zone: tzinfo) -> Iterator[Member]:
    """Yield the role that a requester has in their own institution, and the department that it is in."""
    role = fact.resource
    own = fact.custodian == requester.organization
    if (
        not own
        or role.get("active", True) is not True
        or relative_reference(role.get("practitioner")) != requester.user
    ):
        return
    yield from _during(f"PractitionerRole/{role['id']}", (role,), zone)
    if department := relative_reference(role.get("organization")):
        yield from _during(department, (role,), zone)


def _during(of: str, parts: Iterable[Mapping[str, Any]], zone: tzinfo) -> Iterator[Member]:
    """Yield a membership within the periods that stand in all parts; none if one cannot be read."""
    span = Span(None, None)
    for part in parts:
        if "period" in part:
            try:
                narrowed = span.intersection(period(part["period"], zone))
            except Unreadable:
                return
            if narrowed is None:
                return
            span = narrowed
    yield Member(of, span)
