"""Our own servers for the rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consent.local import Servers


@pytest.fixture(scope="package")
def servers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers that the rows need, started as they are needed."""
    started = Servers(mongo_uri, tmp_path_factory.mktemp("consent"))
    yield started
    started.close()
