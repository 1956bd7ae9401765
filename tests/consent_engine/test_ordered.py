"""The first statement that holds decides, and however many there are, the predicates stay small and flat."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_engine import simplify
from consent_engine.condition import WHOLES
from consent_engine.ordered import first_decides
from consent_engine.predicate import EVERYTHING, NOTHING, Attribute, Not, Predicate, any_of, holds
from consent_engine.rules import combined
from consent_engine.vocabulary import Effect, Mode
from tests.consent_engine.build import LOINC, PSY, TYPES, ask, coding, compiled, concept, consent, deny, labels, permit
from tests.consent_engine.test_predicate import build, records, terms

statements = st.lists(st.tuples(st.sampled_from(Effect), terms.map(build)), max_size=12)


@settings(max_examples=300, deadline=None)
@given(statements, st.lists(records, min_size=1, max_size=8))
def test_the_first_statement_that_holds_decides(said, some):
    ruling = first_decides(said)
    for record in some:
        deciding = next((effect for effect, when in said if holds(when, record)), None)
        assert holds(ruling.permits, record) == (deciding is Effect.PERMIT)
        assert holds(ruling.forbids, record) == (deciding is Effect.DENY)


A, B, C = (any_of(Attribute.CODE, [code]) for code in "abc")
P, D = Effect.PERMIT, Effect.DENY
SHORT = [
    ([], (NOTHING, NOTHING)),
    ([(P, A)], (A, NOTHING)),
    ([(D, A), (P, A)], (NOTHING, A)),
    ([(P, A), (D, B), (P, A), (D, B)], first_decides([(P, A), (D, B)])),
    ([(P, A), (D, NOTHING), (P, B)], (any_of(Attribute.CODE, "ab"), NOTHING)),
    ([(D, EVERYTHING), (P, A), (D, B)], (NOTHING, EVERYTHING)),
    ([(D, A), (P, EVERYTHING), (D, C)], (Not(A), A)),
]


@pytest.mark.parametrize(("said", "expected"), SHORT)
def test_what_never_comes_first_is_left_out(said, expected):
    assert first_decides(said) == expected


def size(predicate: Predicate) -> int:
    return 1 + sum(map(size, predicate.parts)) if isinstance(predicate, WHOLES) else 1


def depth(predicate: Predicate) -> int:
    return 1 + max(map(depth, predicate.parts)) if isinstance(predicate, WHOLES) else 0


def day(number):
    return (date(2020, 1, 1) + timedelta(days=number)).isoformat()


def alternating(number):
    return (deny if number % 2 else permit)(
        code=[concept(LOINC, f"c{number}", f"c{number + 1}")],
        dataPeriod={"start": day(number)},
        **{"class": [coding(TYPES, "Observation")]},
    )


def with_exceptions(number):
    inner, outer = (permit, deny) if number % 2 else (deny, permit)
    exception = inner(code=[concept(LOINC, f"c{number}")], provision=[outer(code=[concept(LOINC, f"c{number + 1}")])])
    return outer(dataPeriod={"start": day(number)}, provision=[exception, inner(securityLabel=labels(PSY))])


def both(kind, mode, count):
    said = [compiled(consent(kind(n), dateTime=day(n)), ask("Practitioner/Dr1"), id=str(n)) for n in range(count)]
    return combined(said, mode)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", [alternating, with_exceptions])
def test_four_times_the_consents_make_hardly_more_than_four_times_the_predicate(kind, mode):
    few, many = both(kind, mode, 60), both(kind, mode, 240)
    for one, other in zip(few, many, strict=True):
        assert size(other) < 7 * size(one)
        assert depth(other) <= 16


@pytest.mark.parametrize("mode", Mode)
def test_people_who_say_the_same_are_known_by_equal_predicates(mode):
    assert both(with_exceptions, mode, 40) == both(with_exceptions, mode, 40)
    assert hash(both(alternating, mode, 40)) == hash(both(alternating, mode, 40))


def nested(levels, level=0):
    kind = deny if level % 2 else permit
    below = {"provision": [nested(levels, level + 1)]} if level < levels else {}
    return kind(dataPeriod={"start": day(level)}, code=[concept(LOINC, f"c{level}")], **below)


def test_a_consent_nested_as_deep_as_may_be_takes_few_steps(monkeypatch):
    counted = []
    inside = simplify._inside
    monkeypatch.setattr(simplify, "_inside", lambda part, settled: counted.append(1) or inside(part, settled))
    permitted, forbidden = combined([compiled(consent(nested(30)), ask("Practitioner/Dr1"))])
    assert max(depth(permitted), depth(forbidden)) <= 16
    assert len(counted) < 20_000


def test_a_negation_is_made_once_and_leads_back():
    whole = build(("all", [A, ("either", [B, any_of(Attribute.LABEL, "x")])]))
    assert simplify.negate(whole) is simplify.negate(whole)
    assert simplify.negate(simplify.negate(whole)) is whole
