"""GET [base]/[type]/[id]/_history and …/_history/[vid] — FHIR R4 RESTful API, "vread" and "history"."""

from __future__ import annotations

from typing import Any

from fhir_server.errors import Absent, Gone
from fhir_server.fhir_json import dump
from fhir_server.interactions.bundles import Raw
from fhir_server.interactions.call import Answer, Call, Services, disclosed, gate_for, serves, version_headers
from fhir_server.interactions.notice import record
from fhir_server.store.instants import instant
from fhir_server.store.resources import Document


async def vread(use: Services, call: Call, type: str, id: str, version: str) -> Answer:
    """Return one version of a resource.

    Raises Absent if there is none that the requester may see, Gone if the version is a deletion.
    """
    serves(use, type)
    gate = gate_for(use, call, type, "r")
    found = [each for each in await use.resources.versions(type, id, gate) if str(each["v"]) == version]
    if not found:
        raise Absent
    if found[0].get("deleted"):
        raise Gone("The resource was deleted in this version.")
    (body,) = await use.resources.opened(type, found)
    await record(use, call, disclosed("vread", type, found, gate))
    return Answer(200, body, version_headers(found[0]))


async def history_instance(use: Services, call: Call, type: str, id: str) -> Answer:
    """Return a history Bundle of the versions that the requester may see, newest first.

    Raises Absent if there are none.
    """
    serves(use, type)
    gate = gate_for(use, call, type, "r")
    versions = await use.resources.versions(type, id, gate)
    if not versions:
        raise Absent
    kept = [each for each in versions if not each.get("deleted")]
    opened = await use.resources.opened(type, kept)
    bodies = {each["v"]: body for each, body in zip(kept, opened, strict=True)}
    await record(use, call, disclosed("history-instance", type, versions, gate))
    bundle = {
        "resourceType": "Bundle",
        "type": "history",
        "total": len(versions),
        "link": [{"relation": "self", "url": f"{call.base}/{type}/{id}/_history"}],
        "entry": [_entry(call.base, type, each, bodies.get(each["v"])) for each in versions],
    }
    return Answer(200, dump(bundle))


def _entry(base: str, type: str, version: Document, body: bytes | None) -> dict[str, Any]:
    method = "DELETE" if version.get("deleted") else "POST" if version["v"] == 1 else "PUT"
    url = type if method == "POST" else f"{type}/{version['_id']}"
    status = {"DELETE": "204", "POST": "201", "PUT": "200"}[method]
    return {
        "fullUrl": f"{base}/{type}/{version['_id']}",
        **({"resource": Raw(body)} if body is not None else {}),
        "request": {"method": method, "url": url},
        "response": {"status": status, "etag": f'W/"{version["v"]}"', "lastModified": instant(version["at"])},
    }
