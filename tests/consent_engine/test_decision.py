"""Combining what Consents say is a table; a decision names all of its grounds."""

from datetime import UTC, datetime
from itertools import product

import pytest

from consent_engine.decision import (
    PRECEDENCE,
    Decision,
    Effect,
    Ground,
    Mode,
    Said,
    Verdict,
    combine,
    decide,
    evaluate,
    joint,
)
from tests.consent_engine.build import ACT_CODE, actor, ask, coding, compiled, concept, consent, deny, permit, record

DR1 = ask("Practitioner/Dr1")
PLAIN, HIV = record(), record(labels=[(ACT_CODE, "HIV")])


def ground(consent, path="provision"):
    return Ground(consent, "1", path)


@pytest.mark.parametrize("said", list(product(Verdict, repeat=3)))
def test_access_needs_a_permit_and_no_objection(said):
    heard = [Said(verdict, frozenset({ground(str(n))})) for n, verdict in enumerate(said)]
    objections = {Verdict.FORBIDS, Verdict.UNREADABLE} & {*said}
    decision = combine(heard)
    assert (decision.effect is Effect.PERMIT) == (Verdict.PERMITS in said and not objections)
    expected = {ground(str(n)) for n, verdict in enumerate(said) if verdict is decision.because}
    assert decision.grounds == (set() if decision.because is Verdict.SILENT else expected)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("said", list(product(Verdict, repeat=3)))
def test_d6_a_record_of_several_persons_needs_the_permit_of_each(said, mode):
    each = [combine([Said(verdict, frozenset({ground(str(n))}))], mode) for n, verdict in enumerate(said)]
    decision = joint(each, mode)
    assert (decision.effect is Effect.PERMIT) == (set(said) == {Verdict.PERMITS})
    expected = {ground(str(n)) for n, verdict in enumerate(said) if verdict is decision.because is not Verdict.SILENT}
    assert (decision.grounds, decision.mode) == (expected, mode)


def test_d6_of_no_persons_nothing_was_said():
    assert joint([]) == decide([], PLAIN)


def test_every_verdict_but_silence_has_its_precedence():
    assert {verdict for verdict, _ in PRECEDENCE} == {*Verdict} - {Verdict.SILENT}


def test_a_decision_names_the_provisions_that_decided():
    sensitive = deny(securityLabel=[coding(ACT_CODE, "HIV")])
    said = [
        compiled(consent(permit(provision=[sensitive, sensitive])), DR1, id="a"),
        compiled(consent(permit()), DR1, id="b"),
        compiled(consent(permit(actor=[actor("Practitioner/Dr2")])), DR1, id="c"),
    ]
    assert decide(said, PLAIN) == Decision(Effect.PERMIT, Verdict.PERMITS, frozenset({ground("a"), ground("b")}))
    denied = frozenset({ground("a", "provision.provision[0]"), ground("a", "provision.provision[1]")})
    assert decide(said, HIV) == Decision(Effect.DENY, Verdict.FORBIDS, denied)


def test_an_unusable_consent_is_its_own_ground():
    unusable = compiled(consent(permit(), policyRule=concept(ACT_CODE, "OPTOUT")), DR1)
    assert evaluate(unusable, PLAIN)[:2] == (Verdict.UNREADABLE, {ground("c", "")})


def test_silence_has_no_grounds():
    ignored = compiled(consent(permit(), status="draft"), DR1)
    assert evaluate(ignored, PLAIN)[:2] == (Verdict.SILENT, frozenset())
    assert decide([ignored], PLAIN) == Decision(Effect.DENY, Verdict.SILENT, frozenset())


FIRST, SECOND = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 3))
NEWEST = [
    ("the newer denial", [(Verdict.PERMITS, FIRST), (Verdict.FORBIDS, SECOND)], Verdict.FORBIDS),
    ("the newer permit", [(Verdict.FORBIDS, FIRST), (Verdict.PERMITS, SECOND)], Verdict.PERMITS),
    ("of one instant, the denial", [(Verdict.PERMITS, FIRST), (Verdict.FORBIDS, FIRST)], Verdict.FORBIDS),
    ("what is silent is no statement", [(Verdict.PERMITS, FIRST), (Verdict.SILENT, SECOND)], Verdict.PERMITS),
    ("nothing", [(Verdict.SILENT, SECOND)], Verdict.SILENT),
    ("what is unusable, ever", [(Verdict.UNREADABLE, FIRST), (Verdict.PERMITS, SECOND)], Verdict.UNREADABLE),
]


@pytest.mark.parametrize(("said", "expected"), [row[1:] for row in NEWEST], ids=[row[0] for row in NEWEST])
@pytest.mark.parametrize("turned", [False, True])
def test_where_the_newest_wins_only_it_has_grounds(said, expected, turned):
    heard = [Said(verdict, frozenset({ground(str(n))}), since) for n, (verdict, since) in enumerate(said)]
    decision = combine(reversed(heard) if turned else heard, Mode.NEWEST_WINS)
    grounds = {ground(str(n)) for n, (verdict, _) in enumerate(said) if verdict is expected is not Verdict.SILENT}
    assert (decision.because, decision.grounds, decision.mode) == (expected, grounds, Mode.NEWEST_WINS)
