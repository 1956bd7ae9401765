"""Who asks in most tests of searches."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.live import Live


@pytest.fixture(scope="module")
def doctor(server: Live) -> Iterator[httpx.Client]:
    """A doctor of the institution whose records are stored."""
    with server.client("practitioner", "Practitioner/dr1") as client:
        yield client
