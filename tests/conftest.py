"""What many tests share: one real MongoDB for the whole run, and a fresh database for each test that asks for one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from fhir_server.store.embedded import running
from tests.live import Live, live


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a replica set: FHIR_TEST_MONGODB_URI, or else an embedded one of this test run."""
    if given := os.environ.get("FHIR_TEST_MONGODB_URI"):
        yield given
        return
    with running(tmp_path_factory.mktemp("mongo"), cache_gb=0.25) as uri:
        yield uri


@pytest.fixture
def database_name(mongo_uri: str) -> Iterator[str]:
    """The name of a database that no other test uses; it is dropped when the test ends."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    with MongoClient(mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running server over a database of its own, for the tests of one file."""
    name = f"test_{secrets.token_hex(6)}"
    with live(mongo_uri, tmp_path_factory.mktemp("installation"), database=name) as running_server:
        yield running_server
    with MongoClient(mongo_uri) as client:
        client.drop_database(name)
