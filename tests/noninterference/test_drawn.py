"""What the random tests draw is worth comparing: most users see something of what is stored, and not all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from consent_engine.decision import Mode
from tests.noninterference.agreements import Json
from tests.noninterference.belonging import belongs_to
from tests.noninterference.conftest import random_examples
from tests.noninterference.disputes import disputed
from tests.noninterference.guardians import guarded, guardians
from tests.noninterference.masks import REDACTED
from tests.noninterference.oracle import NOW, Oracle
from tests.noninterference.pair import REPORTING, visible
from tests.noninterference.questions import users
from tests.noninterference.world import worlds
from tests.noninterference.written import Records, Version


def test_random_users_see_some_of_what_is_stored_and_not_all() -> None:
    counted: Counter[str] = Counter()

    def count(data: st.DataObject) -> None:
        world = data.draw(worlds("x00001"))
        oracle = Oracle(Records.of(world), data.draw(users(world)), reporting=REPORTING)
        stored, seen = sum(map(len, oracle.records.versions.values())), visible(oracle)
        counted["shown"] += bool(seen)
        counted["hidden"] += len(seen) < stored
        counted["both"] += 0 < len(seen) < stored
        counted["in part"] += any(REDACTED in labels(each) for each, _ in seen)
        counted["members"] += bool(belongs_to(oracle.records, oracle.user.claims, NOW))
        counted["searching scope"] += "?" in oracle.user.scope

    run(count)
    assert min(counted["shown"], counted["hidden"], counted["both"]) > 60, counted
    assert len(counted) == 6, counted
    assert min(counted.values()) > 5, counted


def test_some_speak_for_a_child_and_see_consents_by_that_alone() -> None:
    counted: Counter[str] = Counter()

    def count(data: st.DataObject) -> None:
        world = data.draw(guarded("x00001"))
        user, records = data.draw(guardians(world)), Records.of(world)
        oracle = Oracle(records, user, reporting=REPORTING)
        adult = replace(user, role="patient", user="Patient/none", patient=user.patient)
        seen = {(each.type, each.id) for each, _ in visible(oracle)}
        others = {(each.type, each.id) for each, _ in visible(Oracle(records, adult, reporting=REPORTING))}
        counted["speaks" if oracle.spoken else "speaks for nobody"] += 1
        counted["consents"] += any(type == "Consent" for type, _ in seen - others)
        counted["of others"] += (
            len({id for type, id in records.versions if type == "Consent"} - {id for _, id in seen}) > 0
        )

    run(count, examples=50)
    assert len(counted) == 4, counted
    assert min(counted.values()) > 5, counted


def test_which_statement_wins_makes_a_difference_where_they_are_disputed() -> None:
    differing = []

    def count(data: st.DataObject) -> None:
        world = data.draw(disputed("x00001"))
        records, user = Records.of(world), data.draw(users(world))
        seen = [visible(Oracle(records, user, reporting=REPORTING, mode=mode)) for mode in Mode]
        differing.append(seen[0] != seen[1])

    run(count)
    assert differing.count(True) > 15


def run(count: Callable[[st.DataObject], None], examples: int = 150) -> None:
    settings(random_examples, max_examples=examples, derandomize=True)(given(st.data())(count))()


def labels(version: Version) -> list[Json]:
    found: list[Json] = version.content.get("meta", {}).get("security", [])
    return found
