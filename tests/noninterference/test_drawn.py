"""What the random tests draw is worth comparing: most users see something of what is stored, and not all of it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.noninterference.conftest import random_examples
from tests.noninterference.oracle import Oracle
from tests.noninterference.pair import REPORTING, visible
from tests.noninterference.questions import users
from tests.noninterference.world import worlds
from tests.noninterference.written import Records


def test_random_users_see_some_of_what_is_stored_and_not_all() -> None:
    counted: Counter[str] = Counter()

    @settings(random_examples, max_examples=60, derandomize=True)
    @given(st.data())
    def count(data: st.DataObject) -> None:
        world = data.draw(worlds("x00001"))
        oracle = Oracle(Records.of(world), data.draw(users(world)), reporting=REPORTING)
        stored, seen = sum(map(len, oracle.records.versions.values())), len(visible(oracle))
        counted["shown"] += seen > 0
        counted["hidden"] += seen < stored
        counted["both"] += 0 < seen < stored

    count()
    assert min(counted["shown"], counted["hidden"], counted["both"]) > 30, counted
