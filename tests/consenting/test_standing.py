"""The status towards one institution: what counts in it, what comes first, and that nothing of others changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.consenting.asked import Request, State, consent_of
from fhir_server.consenting.standing import NOTHING, Given, Standing, standing
from fhir_server.consenting.versions import next_version

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDS = NOW + timedelta(days=30)
ASKED = Request("c", "p", "h1", "Practitioner/d", "TREAT", (), None, None, ENDS, "app")


def consent(state: State = State.ACTIVE, **changed: Any) -> Mapping[str, Any]:
    return next_version(consent_of(replace(ASKED, **changed), State.VERIFYING, at=0), state, at=0)


def kept(state: State = State.ACTIVE, at: int = 0, *, waits: bool = True, ours: bool = True, **changed: Any) -> Given:
    return Given(consent(state, **changed), at, ours, waits)


def found(*theirs: Given, organization: str = "h1", purpose: str | None = None, at: datetime = NOW) -> Standing:
    return standing(theirs, organization, purpose=purpose, at=at, zone=UTC, facts={})


@pytest.mark.parametrize("state", State)
def test_the_status_is_the_state(state: State) -> None:
    assert found(kept(state)).state is state


def test_only_what_holds_has_an_end_and_only_what_is_kept_is_named() -> None:
    assert found(kept()) == Standing(State.ACTIVE, ENDS, "c", True)
    assert found(kept(ours=False)) == Standing(State.ACTIVE, ENDS, None, True)
    assert found(kept(State.REVOKED)) == Standing(State.REVOKED, None, "c")


def test_what_is_over_is_expired() -> None:
    assert found(kept(), at=ENDS + timedelta(seconds=1)).state is State.EXPIRED
    assert found(kept(State.VERIFYING, waits=False)).state is State.EXPIRED


def test_what_holds_comes_before_what_waits_and_that_before_the_newest_end() -> None:
    ended, newer = kept(State.REVOKED, 1), kept(State.DECLINED, 2)
    assert found(ended, newer).state is State.DECLINED
    assert found(ended, newer, kept(State.VERIFYING, 0)).state is State.VERIFYING
    assert found(ended, newer, kept(State.VERIFYING, 3), kept(State.ACTIVE, 0)).state is State.ACTIVE


def test_what_opens_everything_comes_before_what_opens_own_records() -> None:
    own, everywhere = replace(kept(at=9), everywhere=False), kept(at=1)
    assert found(own).everywhere is False
    assert found(own, everywhere).everywhere is True
    assert found(replace(own, resource=consent(State.REVOKED))).everywhere is None


def test_a_purpose_is_covered_by_its_parents() -> None:
    assert found(kept(), purpose="ETREAT").state is State.ACTIVE
    assert found(kept(), purpose="HRESCH") == NOTHING


def test_a_denial_and_what_names_everybody_are_no_authorizations() -> None:
    denial = {**consent(), "provision": {**consent()["provision"], "type": "deny"}}
    del denial["policyRule"]
    anybody = {**consent(), "provision": {key: v for key, v in consent()["provision"].items() if key != "actor"}}
    assert found(Given(denial, 0, True, False), Given(anybody, 0, True, False)) == NOTHING


OTHERS = st.builds(
    kept,
    st.sampled_from(State),
    st.integers(0, 9),
    waits=st.booleans(),
    organization=st.sampled_from(["h2", "h3", "h11"]),
)
OWN = st.builds(kept, st.sampled_from(State), st.integers(0, 9), waits=st.booleans())


@given(st.lists(OWN, max_size=3), st.lists(OTHERS, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_what_others_have_changes_nothing(own: list[Given], others: list[Given], shuffled: Any) -> None:
    together = [*own, *others]
    shuffled.shuffle(together)
    alone = sorted(own, key=together.index)
    assert found(*together) == found(*alone)
