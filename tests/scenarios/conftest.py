"""A server whose implicit policy is "deny", standing at T0, and a fresh fixture for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from tests.consent_engine.build import T0
from tests.live import Clock, Live, live
from tests.scenarios.world import World


@pytest.fixture(scope="package")
def denying(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server on which nothing is seen without a Consent."""
    name, folder = f"test_{secrets.token_hex(6)}", tmp_path_factory.mktemp("denying")
    with live(mongo_uri, folder, database=name, clock=Clock(T0), implicit_policy="deny") as server:
        yield server
    with MongoClient(mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture
def world(denying: Live) -> World:
    """The records of the scenarios, of patients that no other test has."""
    return World(denying, secrets.token_hex(4)).store()
