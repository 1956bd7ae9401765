"""An AuditEvent is filed as any resource is, though what its kind shares is worked out once."""

from __future__ import annotations

import pytest
from pymongo import MongoClient

from fhir_server.app import assemble, keyring_of
from fhir_server.fhir_json import parse
from tests.live import Live

REQUESTS = [
    "Patient/p1",
    "Patient/nobody",
    "Patient/nobody%20at%20all",
    "Patient/http:%2F%2Felsewhere.example",
    "Binary/id.of.a.specimen",
    "Patient?name=x",
    "Patient/p1/_history",
    "Observation?patient=Patient/p1&_count=0",
]

FIELDS = ("ix", "has", "r", "s", "e", "to", "g")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_index_of_an_event_is_that_of_the_whole_event(server: Live, mongo_uri: str) -> None:
    server.put({"resourceType": "Patient", "id": "p1", "name": [{"text": "张三"}]})
    with server.client("practitioner", "Practitioner/dr1", patient="Patient/p1") as doctor:
        for _ in range(2):
            for each in REQUESTS:
                doctor.get(each)
            doctor.get("Patient/p1", headers={"Authorization": "Bearer nobody"})
    parts = assemble(server.settings, keyring_of(server.settings), uri=mongo_uri)
    with MongoClient(mongo_uri) as client:
        stored = list(client[server.settings.database]["AuditEvent"].find())
    assert len(stored) > 2 * len(REQUESTS)
    bodies = await parts.services.resources.opened("AuditEvent", stored)
    for document, body in zip(stored, bodies, strict=True):
        whole = parts.services.audit._shadows.index(parse(body))
        assert {field: document[field] for field in FIELDS if field in document} == whole
    await parts.client.close()
