"""What was made ready to be asked about many records decides as the slow way does, on each of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from consent_engine.decision import Verdict, decide
from consent_engine.digest import Digest
from consent_engine.rules import rules_for
from consent_engine.vocabulary import Mode
from tests.consent_engine.build import T0, actor, ask, compiled, consent, permit, read, record
from tests.consent_engine.random_consents import consents, instants, records, requests


@settings(max_examples=120, deadline=None)
@given(
    st.lists(consents(), max_size=4),
    requests,
    st.lists(records, min_size=1, max_size=4),
    instants,
    st.sampled_from(Mode),
)
def test_a_digest_decides_as_its_consents_do(jsons, request, several, at, mode):
    rules = [rules_for(read(json, id=f"c{number}"), request, at) for number, json in enumerate(jsons)]
    digest = Digest(rules, mode)
    for _ in range(2):  # what it remembers it says again
        for each in several:
            assert digest.decide(each) == decide(rules, each, mode)


def test_records_that_are_alike_share_one_decision():
    digest = Digest([compiled(consent(permit(actor=[actor("Organization/Org1")])), ask("Organization/Org1"))])
    one, other = digest.decide(record("Observation/1")), digest.decide(record("Observation/2"))
    assert one is other
    assert one.because is Verdict.PERMITS


def test_a_consent_whose_giver_may_no_longer_speak_is_told():
    json = consent(permit(), performer=[{"reference": "RelatedPerson/r"}], patient={"reference": "Patient/p"})
    mother = {
        "resourceType": "RelatedPerson",
        "id": "r",
        "patient": {"reference": "Patient/p"},
        "active": False,
    }
    said = rules_for(read(json, facts={"RelatedPerson/r": mother}), ask("Organization/Org1"), T0)
    assert Digest([said]).lapsed == {("c", "1")}
