"""D9: confidentialities are ordered, sensitivities subsumed, and every sensitivity of a record needs a permit."""

import pytest

from consent_engine.labels import label_condition
from consent_engine.predicate import EVERYTHING, holds
from consent_engine.vocabulary import ACT_CODE, CONFIDENTIALITY, Effect
from tests.consent_engine.build import HIV, PSY, N, R, record

L, M, U, V = ((CONFIDENTIALITY, code) for code in "LMUV")
SUD, ETHUD, LOCAL = (ACT_CODE, "SUD"), (ACT_CODE, "ETHUD"), ("urn:local", "vip")

PERMITS = [
    ([R], [R], True),
    ([R], [L], True),
    ([R], [V], False),
    ([R], [N, V], False),
    ([R], [], True),
    ([R], [R, HIV], False),
    ([R], [HIV], False),
    ([R], [R, LOCAL], False),
    ([L, N], [N], True),
    ([L], [], False),
    ([R, HIV], [R, HIV], True),
    ([R, HIV], [N], True),
    ([R, HIV], [R, HIV, PSY], False),
    ([HIV], [V, HIV], True),
    ([HIV], [HIV], True),
    ([HIV], [N], False),
    ([HIV], [HIV, PSY], False),
    ([SUD], [ETHUD], True),
    ([ETHUD], [SUD], False),
    ([LOCAL], [LOCAL], True),
]
DENIES = [
    ([R], [R], True),
    ([R], [V], True),
    ([R], [N], False),
    ([R], [], False),
    ([R], [N, V], True),
    ([R], [N, HIV], False),
    ([N], [], True),
    ([M], [], True),
    ([HIV], [N, HIV, PSY], True),
    ([HIV], [R], False),
    ([R, HIV], [N, HIV], True),
    ([SUD], [ETHUD], True),
    ([ETHUD], [SUD], False),
    ([U], [L], True),
]


@pytest.mark.parametrize(("named", "carried", "expected"), PERMITS)
def test_a_permit_covers_up_to_the_highest_and_needs_every_sensitivity(named, carried, expected):
    condition = label_condition(frozenset(named), Effect.PERMIT, delegate=False)
    assert holds(condition, record(labels=carried)) is expected


@pytest.mark.parametrize(("named", "carried", "expected"), DENIES)
def test_a_denial_covers_from_the_lowest_upwards_and_any_sensitivity(named, carried, expected):
    condition = label_condition(frozenset(named), Effect.DENY, delegate=False)
    assert holds(condition, record(labels=carried)) is expected


@pytest.mark.parametrize(
    ("effect", "named", "expected"),
    [(Effect.PERMIT, N, False), (Effect.PERMIT, R, True), (Effect.DENY, R, True), (Effect.DENY, V, False)],
)
def test_what_is_not_labelled_is_restricted_for_delegates(effect, named, expected):
    condition = label_condition(frozenset({named}), effect, delegate=True)
    assert holds(condition, record()) is expected
    assert holds(condition, record(labels=[HIV])) is (effect is Effect.DENY and expected)


def test_a_denial_from_the_lowest_confidentiality_upwards_is_a_denial_of_everything():
    assert label_condition(frozenset({U}), Effect.DENY, delegate=False) == EVERYTHING
