"""Who speaks for whom, read anew from the plain resources as they stand in the end.

A parent or guardian, for a child by the birth date, or who has a power that lasts; recorded by the institution that keeps
the Patient (ADR 40). Whoever is written down as a friend, elsewhere, or for somebody of age, speaks for nobody.
"""

from __future__ import annotations

from datetime import datetime

from tests.noninterference.belonging import covers
from tests.noninterference.world import ROLE_CODE
from tests.noninterference.written import Records, references

PARENTS = {"PRN", "FTH", "MTH", "NPRN", "NFTH", "NMTH", "ADOPTP", "ADOPTF", "ADOPTM", "STPPRN", "STPFTH", "STPMTH"}
POWERS = {"GUARD", "HPOWATT", "SPOWATT", "DPOWATT", "POWATT"}
TODAY = "2026-06-15"


def spoken_for(records: Records, user: str, now: datetime) -> set[str]:
    """Return the person for whom a user ("RelatedPerson/…") speaks, if there is one."""
    current = {f"{each.type}/{each.id}": each for each in records.current()}
    if (said := current.get(user)) is None:
        return set()
    named = next(references(said.content.get("patient")), "")
    patient = current.get(named)
    if patient is None or patient.organization != said.organization:
        return set()
    roles = {
        each["code"]
        for one in said.content.get("relationship", ())
        for each in one["coding"]
        if each["system"] == ROLE_CODE
    }
    in_force = said.content.get("active", True) and covers(said.content, now)
    if not in_force or not (roles & POWERS or (roles & PARENTS and _is_child(patient.content.get("birthDate")))):
        return set()
    return {str(records.person_of(named.removeprefix("Patient/")))}


def _is_child(born: str | None) -> bool:
    """Return whether somebody is surely under 18 on TODAY: whatever the day of a month or year that is told alone."""
    if born is None:
        return False
    earliest = {4: f"{born}-01-01", 7: f"{born}-01", 10: born}[len(born)]
    return f"{int(earliest[:4]) + 18}{earliest[4:]}" > TODAY
