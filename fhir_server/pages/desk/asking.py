"""What an auditor's form asks for, as search parameters of AuditEvent, and back. Pure.

Source: FHIR R4 AuditEvent, search parameters patient, agent, date and outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date

from fhir_server.auth.requester import ID

Pairs = tuple[tuple[str, str], ...]
NEWEST_FIRST = ("_sort", "-date")
WITH_NAMES = ("_include", "AuditEvent:agent")
BY_NAME = "agent:Practitioner.name"
OUTCOMES = ("0", "4", "8", "12")
LONGEST = 128
REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}", re.ASCII)


class Unclear(ValueError):
    """A field of the form cannot be read. field: its name; key: of the text that says what to change."""

    def __init__(self, field: str, key: str) -> None:
        super().__init__(key)
        self.field = field
        self.key = key


@dataclass(frozen=True, slots=True)
class Asked:
    """A form as it was filled in; what is empty is not asked. since, until: YYYY-MM-DD, both included."""

    patient: str = ""
    user: str = ""
    institution: str = ""
    since: str = ""
    until: str = ""
    outcome: str = ""


def asked(values: Mapping[str, str]) -> Asked:
    """Return what a form asks for."""
    return Asked(**{each.name: values.get(each.name, "").strip()[:LONGEST] for each in fields(Asked)})


def pairs_of(given: Asked) -> Pairs:
    """Return the search for it, the newest first. Raises Unclear.

    >>> pairs_of(Asked(patient="p1", user="王", since="2026-01-02", outcome="4"))[:2]
    (('patient', 'Patient/p1'), ('agent:Practitioner.name', '王'))
    """
    return (*_parameters(given), NEWEST_FIRST)


def _parameters(given: Asked) -> Iterator[tuple[str, str]]:
    if given.patient:
        yield "patient", f"Patient/{_id('patient', given.patient, 'Patient')}"
    if given.user:
        yield _user(given.user)
    if given.institution:
        yield "agent", f"Organization/{_id('institution', given.institution, 'Organization')}"
    for name, prefix in (("since", "ge"), ("until", "le")):
        if day := getattr(given, name):
            yield "date", prefix + _day(name, day)
    if given.since and given.until and given.since > given.until:
        raise Unclear("until", "until_before")
    if given.outcome:
        if given.outcome not in OUTCOMES:
            raise Unclear("outcome", "outcome_unknown")
        yield "outcome", given.outcome


def _id(field: str, text: str, type: str) -> str:
    id = text.removeprefix(f"{type}/")
    if not ID.fullmatch(id):
        raise Unclear(field, f"{field}_unclear")
    return id


def _user(text: str) -> tuple[str, str]:
    """Return the parameter for a user who is given by reference, by id, or by name."""
    if REFERENCE.fullmatch(text) or ID.fullmatch(text):
        return "agent", text
    if "/" in text:
        raise Unclear("user", "user_unclear")
    return BY_NAME, re.sub(r"([\\,|$])", r"\\\1", text)


def _day(field: str, text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Unclear(field, "day_unclear") from None


def form_of(pairs: Pairs) -> Asked:
    """Return the form that asks for a search that `pairs_of` has made.

    >>> form_of(pairs_of(Asked("p1", "Practitioner/d", "org1", "2026-01-02", "2026-01-03", "0")))
    Asked(patient='p1', user='Practitioner/d', institution='org1', since='2026-01-02', until='2026-01-03', outcome='0')
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name == "patient":
            found["patient"] = value.removeprefix("Patient/")
        elif name == "agent" and value.startswith("Organization/"):
            found["institution"] = value.removeprefix("Organization/")
        elif name in ("agent", BY_NAME):
            found["user"] = re.sub(r"\\(.)", r"\1", value) if name == BY_NAME else value
        elif name == "date" and value[:2] in ("ge", "le"):
            found["since" if value.startswith("ge") else "until"] = value[2:12]
        elif name == "outcome":
            found["outcome"] = value
    return Asked(**found)
