"""GET [base]/[type]/[id] — FHIR R4 RESTful API, "read"."""

from __future__ import annotations

from fhir_server.auth.gate import RequestGate
from fhir_server.errors import Absent, Gone
from fhir_server.interactions.call import Answer, Call, Services, disclosed, gate_for, serves, version_headers
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.notice import record
from fhir_server.interactions.shaping import shape_asked, shaped
from fhir_server.redaction.showing import shown
from fhir_server.store.instants import moment
from fhir_server.store.resources import Document


async def read(use: Services, call: Call, type: str, id: str, pairs: Pairs = ()) -> Answer:
    """Return the current version of a resource, or what _summary and _elements keep of it.

    Raises Absent if there is none that the requester may see, Gone if they could see it before it was deleted.
    """
    serves(use, type)
    gate = gate_for(use, call, type, "r")
    shape = shape_asked([type], pairs)
    document = await present(use, type, id, gate)
    (body,) = await shown(use, gate, type, [document])
    await record(use, call, disclosed("read", type, [document], gate))
    headers = version_headers(document)
    if _known(call, document):
        return Answer(304, headers=headers)
    return Answer(200, shaped(body, shape), headers)


async def present(use: Services, type: str, id: str, gate: RequestGate) -> Document:
    """Return the current version of a resource that the gate admits. Raises Absent or Gone as a read does."""
    document = await use.resources.read(type, id, gate)
    if document is not None:
        return document
    versions = await use.resources.versions(type, id, gate)
    if versions and versions[0].get("deleted"):
        raise Gone("The resource was deleted.")
    raise Absent


def _known(call: Call, document: Document) -> bool:
    """Return whether the client says that it holds this version; asked only after the gate has admitted it."""
    if call.if_none_match:
        return not call.if_none_match.isdisjoint({"*", str(document["v"])})
    since = call.if_modified_since
    return since is not None and moment(document["at"]).replace(microsecond=0) <= since
