"""Predicates: when they hold, that simplifying changes nothing, and that it makes the common cases small."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_engine.predicate import (
    EVERYTHING,
    NOTHING,
    AllOf,
    AnyOf,
    Attribute,
    During,
    Either,
    Not,
    OnlyOf,
    PerPerson,
    Record,
    all_of,
    any_of,
    bound,
    during,
    either,
    holds,
    negate,
    per_person,
    weakened,
)

TYPE, LABEL, CODE = Attribute.TYPE, Attribute.LABEL, Attribute.CODE


def only(*values):
    return OnlyOf(LABEL, frozenset(values))


def anyone(*values):
    return AnyOf(LABEL, frozenset(values))


def labelled(*values, start=0, end=0, persons=()):
    return Record({LABEL: frozenset(values)}, frozenset(persons), start, end)


HOLDING = [
    (anyone("a", "b"), labelled("b", "c"), True),
    (anyone("a"), labelled(), False),
    (AnyOf(CODE, frozenset({"a"})), labelled("a"), False),
    (only("a", "b"), labelled("a"), True),
    (only("a"), labelled("a", "b"), False),
    (only("a"), labelled(), True),
    (OnlyOf(CODE, frozenset()), labelled("a"), True),
    (During(10, 20, wholly=True), labelled(start=10, end=20), True),
    (During(10, 20, wholly=True), labelled(start=9, end=20), False),
    (During(10, 20, wholly=True), labelled(start=10, end=21), False),
    (During(10, 20, wholly=False), labelled(start=0, end=10), True),
    (During(10, 20, wholly=False), labelled(start=20, end=30), True),
    (During(10, 20, wholly=False), labelled(start=0, end=9), False),
    (During(10, 20, wholly=False), labelled(start=21, end=30), False),
    (During(None, 20, wholly=True), labelled(start=-inf, end=20), True),
    (During(10, None, wholly=True), labelled(start=-inf, end=inf), False),
    (During(10, None, wholly=False), labelled(start=-inf, end=inf), True),
]


@pytest.mark.parametrize(("predicate", "record", "expected"), HOLDING)
def test_when_a_condition_holds(predicate, record, expected):
    assert holds(predicate, record) is expected
    assert holds(negate(predicate), record) is not expected


def test_every_person_of_a_record_must_agree():
    predicate = PerPerson(((frozenset({1, 2}), EVERYTHING), (frozenset({3}), anyone("a"))), NOTHING, anyone("b"))
    assert holds(predicate, labelled(persons=[1]))
    assert holds(predicate, labelled("a", persons=[2, 3]))
    assert not holds(predicate, labelled(persons=[2, 3]))
    assert not holds(predicate, labelled(persons=[1, 4]))
    assert holds(predicate, labelled("b"))
    assert not holds(predicate, labelled("a"))


def test_a_person_stands_in_one_group_only():
    groups = ((frozenset({1}), EVERYTHING), (frozenset({1, 2}), anyone("a")))
    with pytest.raises(ValueError, match="two groups"):
        PerPerson(groups, NOTHING, NOTHING)
    with pytest.raises(ValueError, match="two groups"):
        per_person(groups, NOTHING, NOTHING)


A, B, C = anyone("a"), anyone("b"), During(1, 2, wholly=True)
D = AnyOf(TYPE, frozenset({"d"}))
SMALL = [
    (all_of(), EVERYTHING),
    (either(), NOTHING),
    (all_of(A, EVERYTHING), A),
    (all_of(A, NOTHING), NOTHING),
    (either(A, EVERYTHING), EVERYTHING),
    (either(A, NOTHING), A),
    (all_of(A, A), A),
    (all_of(A, negate(A)), NOTHING),
    (either(A, negate(A)), EVERYTHING),
    (negate(negate(A)), A),
    (negate(all_of(A, C)), Either(frozenset({Not(A), Not(C)}))),
    (either(A, B), anyone("a", "b")),
    (all_of(A, B), AllOf(frozenset({A, B}))),
    (all_of(negate(A), negate(B)), Not(anyone("a", "b"))),
    (all_of(only("a", "b"), only("b", "c")), only("b")),
    (all_of(all_of(A, C), D), AllOf(frozenset({A, C, D}))),
    (all_of(A, either(A, C)), A),
    (either(A, all_of(A, C)), A),
    (all_of(A, either(negate(A), C)), AllOf(frozenset({A, C}))),
    (either(A, all_of(negate(A), C)), Either(frozenset({A, C}))),
    (all_of(AnyOf(LABEL, frozenset()), A), NOTHING),
    (any_of(LABEL, []), NOTHING),
    (during(None, None, wholly=True), EVERYTHING),
    (per_person([(frozenset({1}), A)], A, A), A),
    (per_person([(frozenset(), A)], NOTHING, NOTHING), NOTHING),
    (
        per_person([(frozenset({1}), A), (frozenset({2}), A)], NOTHING, B),
        PerPerson(((frozenset({1, 2}), A),), NOTHING, B),
    ),
]


@pytest.mark.parametrize(("built", "expected"), SMALL)
def test_built_predicates_are_small(built, expected):
    assert built == expected
    assert hash(built) == hash(expected)


def test_binding_replaces_values_and_keeps_the_shape():
    predicate = PerPerson(((frozenset({"p"}), all_of(A, Not(only("b")), C)),), either(A, D), NOTHING)
    keyed = bound(predicate, lambda attribute, value: f"{attribute}={value}")
    own, label = AnyOf(LABEL, frozenset({"label=a"})), OnlyOf(LABEL, frozenset({"label=b"}))
    typed = AnyOf(TYPE, frozenset({"type=d"}))
    assert keyed == PerPerson(
        ((frozenset({"p"}), AllOf(frozenset({own, Not(label), C}))),), Either(frozenset({own, typed})), NOTHING
    )


values = st.frozensets(st.sampled_from("abc"), max_size=2)
attributes = st.sampled_from([LABEL, CODE])
times = st.integers(0, 4)
single = (
    st.builds(AnyOf, attributes, values)
    | st.builds(OnlyOf, attributes, values)
    | st.builds(During, st.none() | times, st.none() | times, st.booleans())
    | st.sampled_from([EVERYTHING, NOTHING])
)
groups = st.lists(single, max_size=2).map(lambda found: tuple((frozenset({n}), p) for n, p in enumerate(found)))
leaves = single | st.builds(PerPerson, groups, single, single)
# (how to join, parts) as nested tuples, to be both built and evaluated directly.
terms = st.recursive(
    leaves, lambda inner: st.tuples(st.sampled_from(["all", "either", "not"]), st.lists(inner, min_size=1, max_size=3))
)


def build(term):
    if not isinstance(term, tuple):
        return term
    how, parts = term
    built = [build(part) for part in parts]
    return {"all": all_of, "either": either, "not": lambda *p: negate(p[0])}[how](*built)


def truth(term, record):
    if not isinstance(term, tuple):
        return holds(term, record)
    how, parts = term
    said = [truth(part, record) for part in parts]
    return {"all": all(said), "either": any(said), "not": not said[0]}[how]


records = st.builds(
    lambda label, code, persons, start, length: Record({LABEL: label, CODE: code}, persons, start, start + length),
    values,
    values,
    st.frozensets(st.integers(0, 2), max_size=2),
    times,
    times,
)


@settings(max_examples=300, deadline=None)
@given(terms, st.lists(records, min_size=1, max_size=8))
def test_simplifying_changes_no_answer(term, some):
    built = build(term)
    for record in some:
        assert holds(built, record) == truth(term, record)


@settings(max_examples=300, deadline=None)
@given(terms, st.lists(records, min_size=1, max_size=8), values)
def test_a_weakened_predicate_holds_wherever_it_may_and_does_not_ask(term, some, others):
    built = build(term)
    upper, lower = weakened(built, LABEL), weakened(built, LABEL, upwards=False)
    for record in some:
        assert holds(lower, record) <= holds(built, record) <= holds(upper, record)
        otherwise = replace(record, attributes={**record.attributes, LABEL: others})
        assert holds(upper, record) == holds(upper, otherwise)
        assert holds(lower, record) == holds(lower, otherwise)


@settings(max_examples=100, deadline=None)
@given(terms)
def test_a_simplified_predicate_is_in_normal_form(term):
    def check(predicate, above=None):
        match predicate:
            case AllOf(parts) | Either(parts):
                assert len(parts) > 1
                assert type(predicate) is not above
                for part in parts:
                    assert part not in (EVERYTHING, NOTHING)
                    check(part, type(predicate))
            case Not(part):
                assert isinstance(part, AnyOf | OnlyOf | During | PerPerson)

    check(build(term) if isinstance(term, tuple) else EVERYTHING)
