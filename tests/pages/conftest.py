"""A ward with its people, for all tests of patients' pages that one process runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.ward import Ward, opened


@pytest.fixture(scope="session")
def running_ward(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with opened(mongo_uri, tmp_path_factory.mktemp("ward")) as made:
        yield made


@pytest.fixture
def ward(running_ward: Ward) -> Iterator[Ward]:
    """The ward; its browsers are closed when the test ends, and its clock goes on."""
    yield running_ward
    running_ward.house.close()
    running_ward.server.clock.now = None
