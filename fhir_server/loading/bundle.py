"""From a Bundle to resources that stand alone: each gets an id, and references inside become Type/id.

FHIR R4, Bundle, "Resolving references in Bundles", and RESTful API, "transaction": references, and plain URIs that
equal a urn: fullUrl, follow the resource they mean.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from fhir_server.bundle_references import rewritten
from fhir_server.fhir_json import canonical

Named = Callable[[dict[str, Any]], str]
Found = tuple[str, dict[str, Any] | None, str | None]  # position inside, resource, problem

_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_UUID = re.compile(r"urn:uuid:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)


def is_type(said: object) -> TypeGuard[str]:
    """Whether this is written as the name of a resource type."""
    return isinstance(said, str) and _TYPE.fullmatch(said) is not None


def is_id(said: object) -> TypeGuard[str]:
    """Whether this is a FHIR id."""
    return isinstance(said, str) and _ID.fullmatch(said) is not None


def namer(organization: str, digest: Callable[[bytes], bytes]) -> Named:
    """Return what names a resource without an id: a UUID (version 8) that depends on organization and content.

    digest: a keyed digest of at least 16 bytes, so that nobody can test a guess of the content against the id.
    Loading the same content twice gives the same id.
    """

    def named(resource: dict[str, Any]) -> str:
        made = bytearray(digest(organization.encode() + b"\0" + canonical(resource))[:16])
        made[6] = made[6] & 0x0F | 0x80
        made[8] = made[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(made)))

    return named


def unpacked(value: Any, named: Named) -> Iterator[Found]:
    """Yield the resources of a Bundle, or the one resource, each with an id; or what is wrong."""
    if not isinstance(value, dict) or not is_type(value.get("resourceType")):
        yield "", None, "is not a resource: a JSON object with its resourceType is needed"
    elif value["resourceType"] != "Bundle":
        yield "", _with_id(value, "", named), None
    elif not isinstance(entries := value.get("entry", []), list):
        yield "", None, "is a Bundle whose entry is not an array"
    else:
        yield from _entries(entries, named)


def _entries(entries: list[Any], named: Named) -> Iterator[Found]:
    given: list[Found] = []
    moved: dict[str, str] = {}
    for at, entry in enumerate(entries):
        if _is_outcome(entry):
            continue
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not is_type(resource.get("resourceType")):
            given.append((f"entry[{at}]", None, "holds no resource with a resourceType"))
            continue
        url = entry.get("fullUrl")
        url = url if isinstance(url, str) else ""
        resource = _with_id(resource, url, named)
        given.append((f"entry[{at}]", resource, None))
        if url and is_id(resource["id"]):
            moved[url] = f"{resource['resourceType']}/{resource['id']}"
    for position, resource, problem in given:
        yield position, None if resource is None else rewritten(resource, moved), problem


def _is_outcome(entry: Any) -> bool:
    """Whether a search answers with this entry about itself (R4 Search, Bundle.entry.search.mode "outcome")."""
    search = entry.get("search") if isinstance(entry, dict) else None
    return isinstance(search, dict) and search.get("mode") == "outcome"


def _with_id(resource: dict[str, Any], url: str, named: Named) -> dict[str, Any]:
    if "id" in resource:
        return resource
    same = _UUID.fullmatch(url)
    type, _, last = url.rpartition("/")
    if same:
        id = same[1].lower()
    elif type.endswith("/" + resource["resourceType"]) and is_id(last):
        id = last
    else:
        id = named(resource)
    return {"resourceType": resource["resourceType"], "id": id, **resource}
