"""fhir-facade reindex: after a version that files differently, everything is filed anew, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.reindexing.everything import reindex
from fhir_server.settings import Settings
from fhir_server.store.installation import LAYOUT, WrongInstallation
from tests.commands.console import run
from tests.live import live

RECORDS = 150
RESOURCES: tuple[dict[str, Any], ...] = (
    {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Li"}]},
    *(
        {"resourceType": "Patient", "id": f"p{n:03}", "name": [{"text": "张三"}], "birthDate": f"19{n % 90 + 10}-01-01"}
        for n in range(RECORDS)
    ),
    {
        "resourceType": "Consent", "id": "c", "status": "active", "patient": {"reference": "Patient/p001"},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "provision": {"type": "permit", "actor": [{
            "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "PRCP"}]},
            "reference": {"reference": "Organization/org2"}}]},
    },
)  # fmt: skip


def as_by_an_older_version(uri: str, name: str) -> dict[str, list[dict[str, Any]]]:
    """Take from a database what the present version files; return its documents as they were."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client[name]
        kept = {type: list(database[type].find().sort("_id", 1)) for type in ("Patient", "Consent", "Practitioner")}
        for type in (*kept, "AuditEvent"):
            emptied = {"$set": {"ix": [], "has": []}, "$unset": {"r": "", "s": "", "to": "", "d": ""}}
            database[type].update_many({}, emptied)
        database["installation"].update_one({}, {"$unset": {"layout": ""}})
    return kept


def test_an_older_layout_is_refused_until_everything_is_filed_anew(
    mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    with live(mongo_uri, tmp_path, database=database_name) as server:
        server.put(*RESOURCES)
    before = as_by_an_older_version(mongo_uri, database_name)
    said = {"DATA": tmp_path, "MONGODB_URI": mongo_uri, "DATABASE": database_name, "ZONE": "UTC"}
    environment = {f"FHIR_{name}": str(value) for name, value in said.items()}
    assert "fhir-facade reindex" in run(environment, "serve", status=2).stderr
    # Each write has its AuditEvent.
    assert run(environment, "reindex").stdout == f"{2 * len(RESOURCES)} records indexed\n"
    with MongoClient[dict[str, Any]](mongo_uri) as mongo:
        for type, documents in before.items():
            found = list(mongo[database_name][type].find().sort("_id", 1))
            assert [{**each, "d": 0} for each in found] == [{**each, "d": 0} for each in documents]
    with (
        live(mongo_uri, tmp_path, database=database_name) as server,
        server.system() as client,
        server.client("auditor", "Practitioner/auditor") as auditor,
    ):
        assert client.get("Patient?name=张三&_summary=count").json()["total"] == RECORDS
        assert client.get("Patient?birthdate=lt1920&_summary=count").json()["total"] > 0
        assert auditor.get("AuditEvent?entity=Patient/p002&_summary=count").json()["total"] == 1


@pytest.fixture
def parts(mongo_uri: str, database_name: str, tmp_path: Path) -> Callable[[], Parts]:
    settings = Settings.load(tmp_path, database=database_name, zone="UTC")
    keyring = keyring_of(settings)
    return lambda: assemble(settings, keyring, uri=mongo_uri)


def test_it_goes_on_where_it_was_broken_off(
    parts: Callable[[], Parts], mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    with live(mongo_uri, tmp_path, database=database_name) as server:
        server.put(*RESOURCES)
    as_by_an_older_version(mongo_uri, database_name)

    class BrokenOff(Exception):
        pass

    async def run(progress: Callable[[int], None]) -> None:
        made = parts()
        try:
            await made.ready(any_layout=True)
            await reindex(made.database, made.definitions, made.collections, made.services.committer, progress=progress)
        finally:
            await made.client.close()

    async def installation(database: AsyncDatabase[dict[str, Any]]) -> dict[str, Any]:
        return await database["installation"].find_one() or {}

    seen: list[int] = []

    def until_some_are_done(count: int) -> None:
        seen.append(count)
        if sum(seen) > RECORDS + len(RESOURCES):
            raise BrokenOff

    with pytest.raises(BrokenOff):
        asyncio.run(run(until_some_are_done))

    async def still_refused() -> None:
        made = parts()
        with pytest.raises(WrongInstallation):
            await made.ready()
        assert (await installation(made.database))["rebuilding"] == 1
        await made.client.close()

    asyncio.run(still_refused())
    again: list[int] = []
    asyncio.run(run(again.append))
    assert sum(seen) + sum(again) == 2 * len(RESOURCES)
    assert again

    async def done() -> None:
        made = parts()
        await made.ready()
        assert (await installation(made.database))["layout"] == LAYOUT
        await made.client.close()

    asyncio.run(done())
