"""Consent.provision.data: the record that is named, and those that stand in a relation to it."""

from typing import Any

import pytest

from consent_engine.consent import rests_on
from consent_engine.predicate import holds
from consent_engine.rules import ruling
from tests.consent_engine.build import ask, compiled, consent, deny, permit, read, record, unreadable

E1 = "Encounter/E1"
FACTS = {E1: {"subject": {"reference": "Patient/P1"}, "diagnosis": [{"condition": {"reference": "Condition/C2"}}]}}
NAMED = record(E1, refers=["Patient/P1", "Condition/C2"])
REFERS = record("Observation/O2", refers=["Patient/P1", E1])
REFERRED = record("Condition/C2", refers=["Patient/P1"])
OTHER = record("Observation/O1", refers=["Patient/P1", "Encounter/E2"])


def data(meaning: str, reference: str = E1) -> dict[str, Any]:
    return {"data": [{"meaning": meaning, "reference": {"reference": reference}}]}


MEANINGS = [
    ("instance", [True, False, False, False]),
    ("dependents", [True, True, False, False]),
    ("related", [True, True, True, False]),
]


@pytest.mark.parametrize(("meaning", "expected"), MEANINGS)
def test_which_records_a_meaning_reaches(meaning, expected):
    permitted = ruling(compiled(consent(permit(**data(meaning))), ask("x"), facts=FACTS)).permits
    forbidden = ruling(compiled(consent(deny(**data(meaning))), ask("x"), facts=FACTS)).forbids
    records = [NAMED, REFERS, REFERRED, OTHER]
    assert [holds(permitted, each) for each in records] == expected
    assert [holds(forbidden, each) for each in records] == expected


def test_what_is_related_to_a_record_that_is_not_there_is_in_doubt():
    json = consent(permit(**data("related"), provision=[deny(**data("instance", "Observation/O1"))]))
    assert unreadable(read(json)) == ("provision: data: the record that others are related to is not known",)
    said = compiled(json, ask("x"))
    assert not any(holds(ruling(said).permits, each) for each in (NAMED, REFERS, REFERRED, OTHER))
    assert holds(ruling(said).forbids, OTHER)
    assert holds(ruling(compiled(consent(deny(**data("related"))), ask("x"))).forbids, OTHER)


def test_a_reading_rests_on_the_records_to_which_others_are_related():
    nested = permit(
        **data("instance"), provision=[deny(**data("related", "Observation/O1")), deny(**data("dependents"))]
    )
    assert rests_on(consent(nested)) == {"Observation/O1"}
