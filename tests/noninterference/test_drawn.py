"""What the random tests draw is worth comparing: most users see something of what is stored, and not all of it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from consent_engine.decision import Mode
from tests.noninterference.agreements import Json
from tests.noninterference.belonging import belongs_to
from tests.noninterference.conftest import random_examples
from tests.noninterference.masks import REDACTED
from tests.noninterference.oracle import NOW, Oracle
from tests.noninterference.pair import REPORTING, visible
from tests.noninterference.questions import users
from tests.noninterference.world import worlds
from tests.noninterference.written import Records, Version


def test_random_users_see_some_of_what_is_stored_and_not_all() -> None:
    counted: Counter[str] = Counter()

    @settings(random_examples, max_examples=60, derandomize=True)
    @given(st.data())
    def count(data: st.DataObject) -> None:
        world = data.draw(worlds("x00001"))
        oracle = Oracle(Records.of(world), data.draw(users(world)), reporting=REPORTING)
        stored, seen = sum(map(len, oracle.records.versions.values())), visible(oracle)
        counted["shown"] += bool(seen)
        counted["hidden"] += len(seen) < stored
        counted["both"] += 0 < len(seen) < stored
        counted["in part"] += any(REDACTED in labels(each) for each, _ in seen)
        newest = visible(Oracle(oracle.records, oracle.user, reporting=REPORTING, mode=Mode.NEWEST_WINS))
        counted["other mode"] += seen != newest
        counted["members"] += bool(belongs_to(oracle.records, oracle.user.claims, NOW))
        counted["searching scope"] += "?" in oracle.user.scope

    count()
    print(counted)
    assert min(counted["shown"], counted["hidden"], counted["both"]) > 30, counted
    assert min(counted.values()) > 3, counted


def labels(version: Version) -> list[Json]:
    found: list[Json] = version.content.get("meta", {}).get("security", [])
    return found
