"""Databases that change while they are copied, a keyring, and a folder for the backup."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.backup import making, parts, restoring
from fhir_server.backup.making import back_up
from fhir_server.backup.manifest import Manifest
from fhir_server.backup.purged import Purged
from fhir_server.backup.reading import Backup
from fhir_server.backup.restoring import restore
from fhir_server.crypto.keyring import Keyring
from tests.backup import stock
from tests.databases import fresh

Client = AsyncMongoClient[dict[str, Any]]
Database = AsyncDatabase[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """A database that is backed up into a folder, and another one into which that is restored."""

    client: Client
    source: Database
    target: Database
    keyring: Keyring
    folder: Path

    async def stock(self, size: int = 300) -> None:
        """Fill the database."""
        await stock.stocked(self.source, self.keyring, size=size)

    async def back_up(self, **how: Any) -> Manifest:
        """Back it up."""
        return await back_up(self.client, self.source, self.folder, self.keyring, **how)

    def backup(self, passphrase: str | None = None) -> Backup:
        """Return the backup."""
        return Backup.open(self.folder, self.keyring, passphrase)

    async def restore(self, purged: Purged | None = None, *, passphrase: str | None = None) -> int:
        """Restore it; return how many purged keys were left out."""
        return await restore(self.target, self.backup(passphrase), self.keyring, purged or Purged())


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


@pytest.fixture
def place(client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path) -> Place:
    return Place(client, client[database_name], client[elsewhere], keyring, tmp_path / "backup")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and rounds so small that a little database has many."""
    monkeypatch.setattr(parts, "FULL", 4_000)
    monkeypatch.setattr(making, "TOGETHER", 7)
    monkeypatch.setattr(restoring, "TOGETHER", 7)
