"""The suite is seen to fail: on a server that decides nothing, and in its own runner."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consent.asking import Outcome, Result, ask
from tests.consent.local import Servers
from tests.consent.rows import Row, all_rows, fixture

DOORS_OF_ONE_LOOK = ("read", "search", "pages")


def denies(row: Row) -> bool:
    """Return whether a row's first look must show nothing at all to a doctor who could ask."""
    first = row.steps[0]
    return first.get("sees") == "nothing" and "doors" not in first and first["who"] in ("Dr1", "Dr3")


DENYING = [row for row in all_rows() if denies(row) and not row.settings and not row.needs]


@pytest.fixture(scope="module")
def open_servers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that show everything to everybody whose scopes reach it."""
    started = Servers(mongo_uri, tmp_path_factory.mktemp("open"), gated=False)
    yield started
    started.close()


def first_look(servers: Servers, row: Row) -> list[Result]:
    """Ask the first step of a row through three doors."""
    step = {**row.steps[0], "doors": DOORS_OF_ONE_LOOK}
    short = Row(row.id, row.group, row.zh, row.en, (step,), row.given, row.records)
    return ask(servers.target(short), fixture(), short)


def test_rows_that_deny_fail_on_a_server_that_decides_nothing(open_servers: Servers) -> None:
    asked = DENYING[:8]
    assert len(asked) == 8
    passed = [row.id for row in asked if all(each.outcome is Outcome.PASSED for each in first_look(open_servers, row))]
    assert passed == []


def test_each_door_fails_on_a_server_that_decides_nothing(open_servers: Servers) -> None:
    row = next(row for row in DENYING if row.id == "A1")
    results = ask(open_servers.target(row), fixture(), row)
    held = [each.door for each in results if each.outcome is not Outcome.FAILED]
    assert held == []
