"""A server for what decides who may see what beside the Consents' own words."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.databases import fresh
from tests.live import Clock, Live, live

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.fixture(scope="package")
def standing(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server whose clock stands at NOW."""
    folder = tmp_path_factory.mktemp("auth")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, clock=Clock(NOW)) as server:
        yield server


@pytest.fixture
def key() -> str:
    """What the ids of one test have in common."""
    return secrets.token_hex(4)
