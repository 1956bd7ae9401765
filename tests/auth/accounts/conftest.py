"""A hospital with an app, for the tests of accounts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from tests.auth.accounts.house import House, app
from tests.live import live


@pytest.fixture
def house(hospital: House) -> Iterator[House]:
    """The hospital; its browsers are closed when the test ends, and its clock goes on."""
    yield hospital
    hospital.close()
    hospital.server.clock.now = None


@pytest.fixture(scope="package")
def hospital(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running server with the app "chart" and another one."""
    name = f"test_{secrets.token_hex(6)}"
    with live(mongo_uri, tmp_path_factory.mktemp("house"), database=name) as server:
        made = House(server, mongo_uri)
        made.register(made.client, app("other"))
        yield made
    with MongoClient(mongo_uri) as client:
        client.drop_database(name)
