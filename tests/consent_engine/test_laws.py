"""The laws of combining: over every combination of up to three small Consents, and over many random large ones."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import combinations_with_replacement, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_engine.condition import Record
from consent_engine.decision import Decision, Effect, Verdict, decide, evaluate
from consent_engine.predicate import holds
from consent_engine.rules import Compiled, combined, obligations, rules_for
from consent_engine.vocabulary import Mode
from tests.consent_engine import random_consents as some
from tests.consent_engine.build import (
    ACT_CODE,
    HIV,
    T0,
    TYPES,
    actor,
    ask,
    codings,
    concept,
    consent,
    deny,
    labels,
    obligation,
    permit,
    read,
    record,
)
from tests.consent_engine.test_agreement import sometimes

SENSITIVE = {"securityLabel": labels(HIV)}
FOR_DR1 = {"actor": [actor("Practitioner/Dr1")]}
SHAPES = [
    permit(),
    deny(),
    permit(**SENSITIVE),
    deny(**SENSITIVE),
    permit(provision=[deny(**SENSITIVE)]),
    deny(provision=[permit(**{"class": codings(TYPES, "Observation"), **FOR_DR1})]),
    permit(extension=[obligation("MASK", "Observation.value")]),
]
DATES: list[dict[str, Any]] = [{}, {"dateTime": "2026-01-01"}, {"dateTime": "2026-03-01T08:00:00Z"}]
CONSENTS = [consent(shape, **date) for shape in SHAPES for date in DATES]
CONSENTS += [consent(permit(), policyRule=concept(ACT_CODE, "OPTOUT")), consent(deny(), status="inactive")]
RECORDS = [record(), record("Condition/1", labels=[HIV])]
REQUESTS = [ask("Practitioner/Dr1"), ask("Practitioner/Dr2")]
BY_REQUEST = [[rules_for(read(json, id=f"c{n}"), who, T0) for n, json in enumerate(CONSENTS)] for who in REQUESTS]

Said = Sequence[Compiled]
OBJECTIONS = {Verdict.FORBIDS, Verdict.UNREADABLE}


def small(size: int) -> Iterator[tuple[Said, Record]]:
    for everything, about in product(BY_REQUEST, RECORDS):
        for chosen in combinations_with_replacement(everything, size):
            yield chosen, about


def verdicts(said: Said, about: Record) -> set[Verdict]:
    return {evaluate(each, about).verdict for each in said}


def access_needs_a_permit(said: Said, about: Record, decision: Decision) -> None:
    if Verdict.PERMITS not in verdicts(said, about):
        assert decision.effect is Effect.DENY


def an_objection_beats_permits(said: Said, about: Record, decision: Decision) -> None:
    found = verdicts(said, about)
    if Verdict.UNREADABLE in found or (decision.mode is Mode.DENY_OVERRIDES and found & OBJECTIONS):
        assert decision.effect is Effect.DENY


def order_and_duplicates_do_not_matter(said: Said, about: Record, decision: Decision) -> None:
    assert decide([*reversed(said), *said], about, decision.mode) == decision


def grounds_are_exact(said: Said, about: Record, decision: Decision) -> None:
    deciding = {ground.consent for ground in decision.grounds}
    for one in {each.consent for each in said}:
        without = decide([each for each in said if each.consent != one], about, decision.mode)
        assert (without == decision) == (one not in deciding)
    assert bool(deciding) == (decision.because is not Verdict.SILENT)


def the_predicates_say_the_same(said: Said, about: Record, decision: Decision) -> None:
    permitted, forbidden = combined(said, decision.mode)
    assert holds(permitted, about) == (decision.effect is Effect.PERMIT)
    assert holds(forbidden, about) == (decision.because in OBJECTIONS)


def what_is_added_acts_in_its_own_direction(said: Said, about: Record, decision: Decision) -> None:
    """The last of them is what is added to the others."""
    before = decide(said[:-1], about, decision.mode).effect
    added = {rule.effect for rule in said[-1].rules} if said else set()
    if said and Effect.DENY not in added and not said[-1].flaw:
        assert not (before is Effect.PERMIT and decision.effect is Effect.DENY)
    if said and Effect.PERMIT not in added:
        assert not (before is Effect.DENY and decision.effect is Effect.PERMIT)


def nothing_that_is_added_lifts_an_obligation(said: Said, about: Record, decision: Decision) -> None:
    before = {each for each, when in obligations(said[:-1]).items() if holds(when, about)}
    assert before <= {each for each, when in obligations(said).items() if holds(when, about)}


LAWS = [
    access_needs_a_permit,
    an_objection_beats_permits,
    order_and_duplicates_do_not_matter,
    grounds_are_exact,
    the_predicates_say_the_same,
    what_is_added_acts_in_its_own_direction,
    nothing_that_is_added_lifts_an_obligation,
]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("size", range(4))
def test_the_laws_hold_for_every_combination_of_small_consents(size, mode):
    for said, about in small(size):
        decision = decide(said, about, mode)
        for law in LAWS:
            law(said, about, decision)


@settings(sometimes, max_examples=60)
@given(
    st.lists(some.consents(), min_size=1, max_size=8),
    some.requests,
    some.records,
    some.instants,
    some.facts,
    st.sampled_from(Mode),
)
def test_the_laws_hold_for_random_large_consents(jsons, request, about, at, facts, mode):
    said = [rules_for(read(json, id=f"c{n}", facts=facts), request, at) for n, json in enumerate(jsons)]
    decision = decide(said, about, mode)
    for law in LAWS:
        law(said, about, decision)


def grown(provision: dict[str, Any], path: list[int], new: dict[str, Any]) -> dict[str, Any]:
    """The provision with a new one added below the one to which the path leads, as far as it goes."""
    nested = provision.get("provision", [])
    if not path or not nested:
        return {**provision, "provision": [*nested, new]}
    chosen = path[0] % len(nested)
    changed = [grown(each, path[1:], new) if n == chosen else each for n, each in enumerate(nested)]
    return {**provision, "provision": changed}


@sometimes
@given(
    some.consents(),
    st.lists(st.integers(0, 2), max_size=3),
    some.provisions(depth=3),
    st.sampled_from(Effect),
    some.requests,
    some.records,
    some.facts,
)
def test_a_provision_that_is_added_anywhere_acts_in_its_own_direction(json, path, new, effect, request, about, facts):
    more = {**json, "provision": grown(json.get("provision", {}), path, {**new, "type": effect.value})}
    before, after = (decide([rules_for(read(each, facts=facts), request, T0)], about) for each in (json, more))
    if before.effect is not after.effect:
        assert after.effect is effect


@sometimes
@given(some.consents(), some.requests, some.records, some.instants, some.facts)
def test_within_a_consent_only_the_provisions_that_are_grounds_decide(json, request, about, at, facts):
    compiled = rules_for(read(json, facts=facts), request, at)
    decision = decide([compiled], about)
    deciding = {ground.path for ground in decision.grounds}
    for one in compiled.rules:
        rest = tuple(rule for rule in compiled.rules if rule is not one)
        without = decide([Compiled(compiled.consent, compiled.version, rules=rest)], about)
        assert (without == decision) == (one.path not in deciding)


def test_the_small_consents_reach_every_verdict_in_both_modes():
    reached = {(decide(said, about, mode).because, mode) for said, about in small(2) for mode in Mode}
    assert reached == set(product(Verdict, Mode))
    assert T0.tzinfo is UTC
