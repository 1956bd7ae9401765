"""A running server with two hospitals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consenting.world import ASKS, KEEPS, organization
from tests.databases import fresh
from tests.live import Live, live


@pytest.fixture(scope="package")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("consenting")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, message_stand_in=True) as running:
        running.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        running.put(organization(KEEPS, "市中心医院"), organization=KEEPS)
        yield running
