"""To whom a user belongs, and what a Consent rests on: read anew from the plain resources as they stand in the end.

A Group or CareTeam says who its members are; a role counts if the user's own institution wrote it, a department if that
institution wrote it as its part; the institution of which one is a part, if the whole wrote the part (ADR 21).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from consent_engine.dates import span
from tests.noninterference.agreements import Json
from tests.noninterference.written import Records, Version, references

STAFF = ("practitioner", "system")


def facts_of(records: Records) -> dict[str, Json]:
    """Return every resource that there is at last, by "Type/id"."""
    return {f"{each.type}/{each.id}": each.content for each in records.current()}


def belongs_to(records: Records, who: Mapping[str, Any], now: datetime) -> set[str]:
    """Return "Type/id" of all to whom a user belongs. who: the claims of the user's token."""
    current = {f"{each.type}/{each.id}": each for each in records.current()}
    user, own = who["fhirUser"], who["org"]
    found = {place for place, each in current.items() if user in _members(each, now)}
    if who["role"] not in STAFF:
        return found
    for place, each in current.items():
        if each.type == "PractitionerRole" and each.organization == own and _in_role(each.content, user, now):
            found |= {place, *_departments(current, each.content, own)}
    for part in (own, who.get("department")):
        found |= set(_wholes(current, part)) if part else set()
    return found


def _members(each: Version, now: datetime) -> set[str]:
    """Return who belongs to a Group or CareTeam now."""
    said, rows = each.content, []
    if each.type == "Group" and said["actual"] and said.get("active", True):
        rows = [(row["entity"], row) for row in said["member"] if not row.get("inactive")]
    if each.type == "CareTeam" and said.get("status", "active") == "active" and covers(said, now):
        rows = [(row["member"], row) for row in said["participant"]]
    return {one for named, row in rows if covers(row, now) for one in references(named)}


def _in_role(said: Json, user: str, now: datetime) -> bool:
    return said.get("active", True) and covers(said, now) and user in references(said["practitioner"])


def _departments(current: Mapping[str, Version], role: Json, own: str) -> Iterator[str]:
    for place in references(role.get("organization")):
        department, whole = current.get(place), f"Organization/{own}"
        if department and department.organization == own and place != whole:
            yield from [place] if whole in references(department.content.get("partOf")) else []


def _wholes(current: Mapping[str, Version], part: str) -> Iterator[str]:
    for _ in range(5):
        said = current.get(f"Organization/{part}")
        if said is None or f"Organization/{said.organization}" not in references(said.content.get("partOf")):
            return
        part = said.organization
        yield f"Organization/{part}"


def covers(said: Json, now: datetime) -> bool:
    """Return whether the period that stands in something, if one does, covers an instant; its end is inclusive."""
    period = said.get("period", {})
    begin, end = (span(period[name], UTC) if name in period else None for name in ("start", "end"))
    return (begin is None or begin[0] <= now) and (end is None or now < end[1])
