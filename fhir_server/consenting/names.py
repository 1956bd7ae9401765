"""The names of institutions and people, as patients and users are told them instead of ids."""

from __future__ import annotations

from typing import Any

from fhir_server.fhir_json import parse
from fhir_server.human_names import shown_of
from fhir_server.store.keys import Unreadable
from fhir_server.store.resources import Resources, Ungated

NAMED = frozenset({"Organization", "Practitioner", "Device", "HealthcareService"})


async def name_of(resources: Resources, reference: str) -> str:
    """Return the name of an institution, practitioner or device; its reference, if it has none.

    reference: "Type/id". Institutions and staff are known to everybody (auth/policy.py, DIRECTORY); of everybody else the
    reference is returned.
    """
    type, _, id = reference.partition("/")
    found = await resources.read(type, id, Ungated("the name of who asks")) if type in NAMED else None
    if found is None:
        return reference
    try:
        (body,) = await resources.opened(type, [found])
    except Unreadable:
        return reference
    return _name(parse(body)) or reference


def _name(resource: dict[str, Any]) -> str | None:
    match resource.get("name"):
        case str(name):
            return name
        case [dict() as first, *_]:
            return shown_of(first) or None
    return next((str(each["name"]) for each in resource.get("deviceName", ()) if each.get("name")), None)
