"""Combining what Consents say is a table; a decision names all of its grounds."""

from itertools import product

import pytest

from consent_engine.decision import PRECEDENCE, Decision, Effect, Ground, Verdict, combine, decide, evaluate
from tests.consent_engine.build import ACT_CODE, actor, ask, coding, compiled, concept, consent, deny, permit, record

DR1 = ask("Practitioner/Dr1")
PLAIN, HIV = record(), record(labels=[(ACT_CODE, "HIV")])


def ground(consent, path="provision"):
    return Ground(consent, "1", path)


@pytest.mark.parametrize("said", list(product(Verdict, repeat=3)))
def test_access_needs_a_permit_and_no_objection(said):
    heard = [(verdict, frozenset({ground(str(n))})) for n, verdict in enumerate(said)]
    objections = {Verdict.FORBIDS, Verdict.UNREADABLE} & {*said}
    decision = combine(heard)
    assert (decision.effect is Effect.PERMIT) == (Verdict.PERMITS in said and not objections)
    expected = {ground(str(n)) for n, verdict in enumerate(said) if verdict is decision.because}
    assert decision.grounds == (set() if decision.because is Verdict.SILENT else expected)


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
    assert evaluate(unusable, PLAIN) == (Verdict.UNREADABLE, frozenset({ground("c", "")}))


def test_silence_has_no_grounds():
    ignored = compiled(consent(permit(), status="draft"), DR1)
    assert evaluate(ignored, PLAIN) == (Verdict.SILENT, frozenset())
    assert decide([ignored], PLAIN) == Decision(Effect.DENY, Verdict.SILENT, frozenset())
