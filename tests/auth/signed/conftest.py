"""One installation for all tests here; each that changes it begins anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.auth.signed.place import Place, opened
from tests.databases import fresh


@pytest.fixture(scope="package")
def installation(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with fresh(mongo_uri) as name, opened(mongo_uri, name, tmp_path_factory.mktemp("signed")) as place:
        yield place
