"""Databases that change while they are copied, and a keyring."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from fhir_server.crypto.keyring import Keyring
from tests.databases import fresh

Client = AsyncMongoClient[dict[str, Any]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.open(tmp_path / "keyring.json")


@pytest.fixture
async def client(mongo_uri: str) -> AsyncIterator[Client]:
    async with AsyncMongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client


@pytest.fixture
def elsewhere(mongo_uri: str) -> Iterator[str]:
    """The name of another database, into which is restored."""
    with fresh(mongo_uri) as name:
        yield name
