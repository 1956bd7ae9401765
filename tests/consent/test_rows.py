"""Every row of the suite, put to our own server."""

from __future__ import annotations

import pytest

from tests.consent.asking import Outcome, ask
from tests.consent.local import Servers
from tests.consent.rows import Row, all_rows, fixture

FIXTURE = fixture()
ROWS = all_rows()


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_row(servers: Servers, row: Row) -> None:
    results = ask(servers.target(row), FIXTURE, row)
    wrong = [each for each in results if each.outcome is not Outcome.PASSED]
    assert results, "the row asks nothing"
    assert not wrong, "\n".join(
        f"{each.row} step {each.step} {each.who} {each.door}: {each.got} ({each.expected})" for each in wrong
    )
