"""The log of one process, for the tests of its chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.audit.logs import Log, opened


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def log(mongo_uri: str, database_name: str, tmp_path: Path) -> AsyncIterator[Log]:
    async with opened(mongo_uri, tmp_path, database_name) as made:
        yield made
