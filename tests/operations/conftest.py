"""A server whose clock tests set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consent_engine.build import T0
from tests.databases import fresh
from tests.live import Clock, Live, live


@pytest.fixture(scope="module")
def timed(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server whose clock goes where a test sets it."""
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, tmp_path_factory.mktemp("i"), database=name, clock=Clock(T0)) as running,
    ):
        yield running
