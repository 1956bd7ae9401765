"""What stands in a List (FHIR R4 Search, "Searching by List")."""

from __future__ import annotations

from typing import Any

from fhir_server.search.types.reference import Local, read
from fhir_server.search.types.span import Here


def listed(resource: dict[str, Any], type: str, here: Here) -> tuple[str, ...]:
    """Return the ids of the resources of a type that stand in a List and are not marked there as deleted, each once."""
    found = (
        read(str(entry.get("item", {}).get("reference", "")), here)
        for entry in resource.get("entry", ())
        if not entry.get("deleted")
    )
    return tuple(dict.fromkeys(each.id for each in found if isinstance(each, Local) and each.type == type))
