"""The engine, its predicates and the straight reading of the JSON agree on random Consents, requests and records."""

from collections import Counter
from datetime import UTC, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_engine.consent import ANYONE, bearers, read_consent, rests_on
from consent_engine.decision import Effect, Verdict, decide, evaluate
from consent_engine.enforcement import Status, enforcement
from consent_engine.predicate import bound, holds
from consent_engine.rules import combined, obligations, rules_for, ruling
from consent_engine.vocabulary import Mode
from tests.consent_engine import random_consents as some
from tests.consent_engine.build import read
from tests.consent_engine.reference import Asked, says, together

MEANS = {
    "silent": Verdict.SILENT,
    "permit": Verdict.PERMITS,
    "deny": Verdict.FORBIDS,
    "unusable": Verdict.UNREADABLE,
}
modes = st.sampled_from(Mode)
often = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sometimes = settings(often, max_examples=100)


@often
@given(some.consents(), some.requests, some.records, some.instants, some.authorities, some.facts)
def test_a_compiled_consent_says_what_its_json_says(json, request, record, at, authority, facts):
    compiled = rules_for(read(json, authority=authority, facts=facts), request, at)
    said = evaluate(compiled, record)
    word, duties = says(json, Asked(request, record, at, facts), authority)
    assert said.verdict is MEANS[word]
    assert bool(said.grounds) == (said.verdict is not Verdict.SILENT)
    due = {(each.action, each.element) for each, when in obligations([compiled]).items() if holds(when, record)}
    assert due == duties


@often
@given(st.lists(some.consents(), max_size=3), some.requests, some.records, some.instants, some.facts, modes)
def test_the_joint_predicates_admit_exactly_what_is_decided(jsons, request, record, at, facts, mode):
    said = [rules_for(read(json, id=str(n), facts=facts), request, at) for n, json in enumerate(jsons)]
    permitted, forbidden = combined(said, mode)
    decision = decide(said, record, mode)
    asked = Asked(request, record, at, facts)
    words = [(says(json, asked, None)[0], json) for json in jsons]
    assert decision.because is MEANS[together(words, newest=mode is Mode.NEWEST_WINS)]
    assert holds(permitted, record) == (decision.effect is Effect.PERMIT)
    assert holds(forbidden, record) == (decision.because in (Verdict.FORBIDS, Verdict.UNREADABLE))
    for each in said:
        verdict = evaluate(each, record).verdict
        assert holds(ruling(each).permits, record) == (verdict is Verdict.PERMITS)
        assert holds(ruling(each).forbids, record) == (verdict in (Verdict.FORBIDS, Verdict.UNREADABLE))


@sometimes
@given(some.consents(), some.requests, some.instants, some.facts, some.facts)
def test_a_consent_bears_only_on_requesters_it_is_filed_under_whatever_the_facts_were(json, request, at, then, now):
    compiled = rules_for(read(json, facts=now), request, at)
    if compiled.rules or compiled.flaw:
        assert {ANYONE, *request.actors} & bearers(read(json, facts=then))


@sometimes
@given(some.consents(), some.facts, some.facts)
def test_a_consent_is_read_by_nothing_but_what_it_says_that_it_rests_on(json, facts, others):
    consent = read(json, facts=facts)
    unneeded = {name: fact for name, fact in others.items() if name not in consent.needs}
    assert consent == read(json, facts=unneeded | {name: facts[name] for name in facts if name in consent.needs})
    assert consent.needs == (frozenset() if consent.ignored else rests_on(json))


@sometimes
@given(some.consents(), some.requests, some.instants, st.floats(0, 1, exclude_max=True), some.facts)
def test_nothing_changes_before_until(json, request, at, share, facts):
    consent = read(json, facts=facts)
    compiled = rules_for(consent, request, at)
    until = compiled.until or at.replace(year=2300)
    assert at < until
    later = min(at + (until - at) * share, until - timedelta(microseconds=1))
    assert rules_for(consent, request, later) == compiled
    if consent.flaw is None and consent.root is not None:
        assert enforcement(consent, later) == enforcement(consent, at)


@sometimes
@given(st.lists(some.consents(), max_size=2), some.requests, some.records, some.instants)
def test_keyed_predicates_admit_the_same_records(jsons, request, record, at):
    permitted, _ = combined([rules_for(read(json), request, at) for json in jsons])
    expected = holds(permitted, record)
    keyed = type(record)(
        {a: frozenset((a, value) for value in values) for a, values in record.attributes.items()},
        record.persons,
        record.start,
        record.end,
    )
    assert holds(bound(permitted, lambda attribute, value: (attribute, value)), keyed) == expected


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
    "performer",
    "patient",
    "member",
    "entity",
    "relationship",
    "birthDate",
    "active",
    "resourceType",
    "url",
    "valueCoding",
    "valueString",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(some.DATES),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(ANY_KEY), inner, max_size=3),
    max_leaves=12,
)


@sometimes
@given(some.consents(), st.sampled_from(ANY_KEY), json_values, some.requests, some.records, some.instants, some.facts)
def test_no_json_makes_the_engine_raise(json, key, value, request, record, at, facts):
    odd = {name: {**fact, key: value} for name, fact in facts.items()}
    for broken in (
        {**json, key: value},
        {**json, "provision": {**json.get("provision", {}), key: value}},
        {key: value},
    ):
        consent = read_consent(broken, id="c", version="1", zone=UTC, authority=None, facts=odd)
        assert evaluate(rules_for(consent, request, at), record).verdict in Verdict
        assert enforcement(consent, at).status in Status
        assert isinstance(bearers(consent), frozenset)


def test_random_consents_reach_every_verdict():
    """The comparison is worth something only if all verdicts are common enough among what is compared."""
    seen: Counter[object] = Counter()

    @settings(often, max_examples=400, database=None, derandomize=True)
    @given(some.consents(), some.requests, some.records, some.instants, some.facts)
    def count(json, request, record, at, facts):
        compiled = rules_for(read(json, facts=facts), request, at)
        seen[evaluate(compiled, record).verdict] += 1
        seen[enforcement(read(json, facts=facts), at).status] += 1
        seen["obliged"] += any(holds(when, record) for when in obligations([compiled]).values())

    count()
    assert all(seen[each] for each in (*Verdict, *Status, "obliged")), seen
