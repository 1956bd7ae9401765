"""SMART App Launch 2.2, requirement by requirement, against a running server; the rows stand in rows_*.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.smart import (
    rows_access,
    rows_authorize,
    rows_backend,
    rows_bearer,
    rows_clients,
    rows_discovery,
    rows_emr,
    rows_introspection,
    rows_launch,
    rows_refresh,
    rows_scopes,
    rows_token,
)
from tests.smart.table import Requirement
from tests.smart.world import World, world

TABLES = (
    rows_discovery,
    rows_authorize,
    rows_launch,
    rows_token,
    rows_refresh,
    rows_clients,
    rows_scopes,
    rows_access,
    rows_bearer,
    rows_backend,
    rows_emr,
    rows_introspection,
)
ROWS = tuple(row for table in TABLES for row in table.ROWS)
DOCUMENTED = Path(__file__).parents[2] / "docs" / "smart.md"


@pytest.fixture(scope="module")
def smart(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(mongo_uri, tmp_path_factory.mktemp("installation")) as made:
        yield made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_server_does_what_smart_requires(smart: World, row: Requirement) -> None:
    smart.forgive()
    row.holds(smart)


def test_each_row_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []


def test_each_row_is_documented_and_nothing_else_is() -> None:
    said = [line for line in DOCUMENTED.read_text().splitlines() if line.startswith("| ") and line.endswith("` |")]
    assert said == [documented(row) for row in ROWS]


def documented(row: Requirement) -> str:
    """Return a row of the table in docs/smart.md."""
    return f"| {row.section} | {row.says} | `{row.name}` |"
