"""A server whose clock tests set, and a patient of their own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.deliveries import purging
from tests.databases import fresh
from tests.deliveries.world import BRIDGE, NOW, World
from tests.live import Clock, Live, live


@pytest.fixture(scope="package")
def receiving(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that lets the bridge receive. It looks for what is due at its start alone: the tests purge."""
    folder = tmp_path_factory.mktemp("deliveries")
    with pytest.MonkeyPatch.context() as patch, fresh(mongo_uri) as name:
        patch.setattr(purging, "LOOKED_AFTER_SECONDS", 3_600.0)
        with live(mongo_uri, folder, database=name, clock=Clock(NOW), receiving_clients=[BRIDGE]) as server:
            yield server


@pytest.fixture
def world(receiving: Live, mongo_uri: str) -> Iterator[World]:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield World(receiving, mongo_uri, client[receiving.settings.database]).begin()
