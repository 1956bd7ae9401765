"""Which step leads from which state to which: every pair, those of the table and all others."""

from __future__ import annotations

from itertools import product

import pytest

from fhir_server.consenting.asked import STATUS, State
from fhir_server.consenting.steps import FIRST, PENDING, REFUSALS, TABLE, NotNow, Step, after
from fhir_server.consenting.words import STATES, STEPS

ENDS = {State.DECLINED, State.EXPIRED, State.REVOKED}


@pytest.mark.parametrize(("state", "step"), [*product(State, Step)])
def test_a_step_that_is_not_in_the_table_is_refused_in_words(state: State, step: Step) -> None:
    if (state, step) in TABLE:
        assert after(state, step) is TABLE[state, step]
        return
    with pytest.raises(NotNow) as refused:
        after(state, step)
    assert refused.value.status == 409
    assert refused.value.diagnostics == REFUSALS[state]


def test_nothing_leads_out_of_an_end() -> None:
    assert not {state for state, _ in TABLE} & ENDS


def test_only_an_answer_of_the_patient_makes_an_authorization() -> None:
    assert {step for (_, step), to in TABLE.items() if to is State.ACTIVE} == {Step.VERIFY, Step.CONFIRM}


def test_what_holds_can_only_be_revoked() -> None:
    assert {(step, to) for (state, step), to in TABLE.items() if state is State.ACTIVE} == {
        (Step.REVOKE, State.REVOKED)
    }


def test_every_state_but_the_first_is_reached_and_what_waits_is_proposed() -> None:
    reached = {FIRST}
    while more := {to for (state, _), to in TABLE.items() if state in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {state for state, status in STATUS.items() if status == "proposed"} == PENDING


def test_every_state_and_every_step_has_words() -> None:
    assert STATES.keys() == {None, *State}
    assert STEPS.keys() == {None, *Step}
    assert all(words.zh and words.en for words in (*STATES.values(), *STEPS.values()))
