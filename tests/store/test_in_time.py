"""What MongoDB stops because it takes too long is refused as too costly, not reported as a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient

from fhir_server.crypto.keyring import Keyring
from fhir_server.errors import TooCostly
from fhir_server.store import queries
from fhir_server.store.resources import Resources, Ungated
from tests.store.test_keys import keys_of

# It reckons for some tenths of a millisecond on every document.
SUM = {"$sum": {"$map": {"input": {"$range": [0, "$pat"]}, "in": {"$add": ["$$this", "$pat"]}}}}
SLOW = {"$expr": {"$gt": [SUM, 0]}}
GATE = Ungated("test")
BY_ID = [("_id", 1)]

Asked = Callable[[Resources], Awaitable[Any]]
WAYS: list[Asked] = [
    lambda store: store.find("Patient", SLOW, GATE, sort=BY_ID, limit=500),
    lambda store: store.count("Patient", SLOW, GATE),
    lambda store: store.found_among("Patient", SLOW, {}, GATE, sort=BY_ID, among=500, limit=500),
    lambda store: store.pointed_to("Patient", "link", SLOW, GATE, limit=500),
    lambda store: store.count_by_custodian("Patient", SLOW, GATE, limit=500),
]


@pytest.fixture
def filled(mongo_uri: str, database_name: str) -> str:
    with MongoClient[Any](mongo_uri) as client:
        client[database_name]["Patient"].insert_many(
            [{"_id": str(n), "org": "a", "pat": 5_000 + n} for n in range(500)]
        )
    return database_name


@pytest.mark.parametrize("way", WAYS, ids=["find", "count", "found_among", "pointed_to", "by custodian"])
def test_what_takes_too_long_is_too_costly(
    filled: str, mongo_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Asked
) -> None:
    monkeypatch.setattr(queries, "MOST_MILLISECONDS", 20)

    async def asked() -> None:
        async with AsyncMongoClient[dict[str, Any]](mongo_uri) as client:
            database = client[filled]
            await way(Resources(database, keys_of(database, Keyring.open(tmp_path / "keyring.json"))))

    with pytest.raises(TooCostly, match="took too long"):
        asyncio.run(asked())
