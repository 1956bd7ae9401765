"""The engine, its predicates and the straight reading of the JSON agree on random Consents, requests and records."""

from collections import Counter
from datetime import UTC, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_engine.consent import ANYONE, bearers, read_consent
from consent_engine.decision import Effect, Verdict, decide, evaluate
from consent_engine.predicate import Attribute, bound, holds, specialised
from consent_engine.rules import combined, forbids, permits, rules_for
from tests.consent_engine import random_consents as some
from tests.consent_engine.build import read
from tests.consent_engine.reference import Asked, says

MEANS = {
    "silent": Verdict.SILENT,
    "permit": Verdict.PERMITS,
    "deny": Verdict.FORBIDS,
    "unusable": Verdict.UNREADABLE,
}
often = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sometimes = settings(often, max_examples=100)


@often
@given(some.consents(), some.requests, some.records, some.instants, some.authorities)
def test_a_compiled_consent_says_what_its_json_says(json, request, record, at, authority):
    consent = read(json, authority=authority)
    said, grounds = evaluate(rules_for(consent, request, at), record)
    assert said is MEANS[says(json, Asked(request, record, at), authority)]
    assert bool(grounds) == (said is not Verdict.SILENT)


@sometimes
@given(st.lists(some.consents(), max_size=3), some.requests, some.records, some.instants)
def test_the_joint_predicates_admit_exactly_what_is_decided(jsons, request, record, at):
    said = [rules_for(read(json, id=str(n)), request, at) for n, json in enumerate(jsons)]
    permitted, forbidden = combined(said)
    decision = decide(said, record)
    assert holds(permitted, record) == (decision.effect is Effect.PERMIT)
    assert holds(forbidden, record) == (decision.because in (Verdict.FORBIDS, Verdict.UNREADABLE))
    for each in said:
        verdict, _ = evaluate(each, record)
        assert holds(permits(each), record) == (verdict is Verdict.PERMITS)
        assert holds(forbids(each), record) == (verdict in (Verdict.FORBIDS, Verdict.UNREADABLE))


@sometimes
@given(some.consents(), some.requests, some.instants)
def test_a_consent_bears_only_on_requesters_it_is_filed_under(json, request, at):
    consent = read(json)
    compiled = rules_for(consent, request, at)
    if compiled.rules or compiled.flaw:
        assert {ANYONE, *request.actors} & bearers(consent)


@sometimes
@given(some.consents(), some.requests, some.instants, st.floats(0, 1, exclude_max=True))
def test_nothing_changes_before_until(json, request, at, share):
    consent = read(json)
    compiled = rules_for(consent, request, at)
    until = compiled.until or at.replace(year=2300)
    assert at < until
    later = min(at + (until - at) * share, until - timedelta(microseconds=1))
    assert rules_for(consent, request, later) == compiled


@sometimes
@given(st.lists(some.consents(), max_size=2), some.requests, some.records, some.instants)
def test_keyed_and_specialised_predicates_admit_the_same_records(jsons, request, record, at):
    permitted, _ = combined([rules_for(read(json), request, at) for json in jsons])
    expected = holds(permitted, record)
    keyed = type(record)(
        {a: frozenset((a, value) for value in values) for a, values in record.attributes.items()},
        record.persons,
        record.start,
        record.end,
    )
    assert holds(bound(permitted, lambda attribute, value: (attribute, value)), keyed) == expected
    for attribute in Attribute:
        assert holds(specialised(permitted, attribute, record.attributes[attribute]), record) == expected


ANY_KEY = [
    *some.optional,
    "type",
    "provision",
    "coding",
    "system",
    "code",
    "reference",
    "role",
    "start",
    "end",
    "meaning",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(some.DATES),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(ANY_KEY), inner, max_size=3),
    max_leaves=12,
)


@sometimes
@given(some.consents(), st.sampled_from(ANY_KEY), json_values, some.requests, some.records, some.instants)
def test_no_json_makes_the_engine_raise(json, key, value, request, record, at):
    for broken in (
        {**json, key: value},
        {**json, "provision": {**json.get("provision", {}), key: value}},
        {key: value},
    ):
        consent = read_consent(broken, id="c", version="1", zone=UTC, authority=None)
        assert evaluate(rules_for(consent, request, at), record)[0] in Verdict
        assert isinstance(bearers(consent), frozenset)


def test_random_consents_reach_every_verdict():
    """The comparison is worth something only if all verdicts are common enough among what is compared."""
    seen: Counter[Verdict] = Counter()

    @settings(sometimes, database=None, derandomize=True)
    @given(some.consents(), some.requests, some.records, some.instants)
    def count(json, request, record, at):
        seen[evaluate(rules_for(read(json), request, at), record)[0]] += 1

    count()
    assert all(seen[verdict] for verdict in Verdict), seen
