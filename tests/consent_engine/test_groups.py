"""D3: groups and care teams among the actors; whoever belongs to one lists it among the actors of the request."""

from typing import Any

import pytest

from consent_engine.consent import ANYONE, bearers, rests_on
from consent_engine.predicate import EVERYTHING, NOTHING
from consent_engine.rules import combined
from tests.consent_engine.build import actor, ask, compiled, consent, deny, permit, read, record, unreadable
from tests.consent_engine.random_consents import group, team

ALL, NONE, SILENT = (EVERYTHING, NOTHING), (NOTHING, EVERYTHING), (NOTHING, NOTHING)
WARD, TEAM = "Group/ward", "CareTeam/team"
MEMBER, STRANGER = ask("Practitioner/Dr1", WARD, TEAM), ask("Practitioner/Dr2")
KNOWN = {WARD: group("Practitioner/Dr1"), TEAM: team("Practitioner/Dr1", "Patient/P1")}


def said(provision: Any, request: Any, facts: Any) -> Any:
    return combined([compiled(consent(provision), request, facts=facts)])


@pytest.mark.parametrize("named", [WARD, TEAM])
def test_a_permit_and_a_denial_reach_who_belongs_to_the_group(named):
    assert said(permit(actor=[actor(named)]), MEMBER, KNOWN) == ALL
    assert said(permit(actor=[actor(named)]), STRANGER, KNOWN) == SILENT
    assert said(deny(actor=[actor(named)]), MEMBER, KNOWN) == NONE
    assert said(deny(actor=[actor(named)]), STRANGER, KNOWN) == SILENT


NOT_KNOWN = [
    (WARD, None),
    (WARD, group()),
    (WARD, group("Practitioner/Dr1", actual=False)),
    (WARD, group("Practitioner/Dr1", active=False)),
    (WARD, group("Practitioner/Dr1", modifierExtension=[{"url": "urn:x"}])),
    (WARD, {**group("Practitioner/Dr1"), "resourceType": "CareTeam"}),
    (TEAM, None),
    (WARD, {**group(), "member": {"entity": {"reference": "Practitioner/Dr1"}}}),
    (TEAM, team()),
    (TEAM, team("Practitioner/Dr1", status="suspended")),
    (TEAM, team("Practitioner/Dr1", status="entered-in-error")),
    (TEAM, team("Practitioner/Dr1", implicitRules="urn:x")),
]


@pytest.mark.parametrize(("named", "fact"), NOT_KNOWN)
def test_where_it_is_not_known_who_belongs_to_it_a_permit_reaches_nobody_and_a_denial_everybody(named, fact):
    facts = {} if fact is None else {named: fact}
    for request in (MEMBER, STRANGER):
        assert said(permit(actor=[actor(named)]), request, facts) == SILENT
        assert said(deny(actor=[actor(named)]), request, facts) == NONE
        assert said(deny(actor=[actor(named)], provision=[permit()]), request, facts) == NONE
        assert said(permit(actor=[actor(named)], provision=[deny()]), request, facts) == NONE
    assert unreadable(read(consent(deny(actor=[actor(named)])), facts=facts)) == (
        "provision: actor: who belongs to a group or team is not known",
    )


PARTLY_KNOWN = [
    (WARD, group("Practitioner/Dr1", "Group/inner")),
    (WARD, group("Practitioner/Dr1", "PractitionerRole/1")),
    (WARD, group("Practitioner/Dr1", quantity=2)),
    (WARD, {**group(), "member": [{"entity": {"reference": "Practitioner/Dr1"}}, {"entity": {"display": "Dr2"}}]}),
    (WARD, {**group(), "member": [{"entity": {"reference": "Practitioner/Dr1"}}, "Dr2"]}),
    (TEAM, team("Practitioner/Dr1", "CareTeam/inner")),
    (TEAM, team("Practitioner/Dr1", "Organization/Org1")),
]


@pytest.mark.parametrize(("named", "fact"), PARTLY_KNOWN)
def test_where_others_may_belong_to_it_a_permit_reaches_those_who_are_known_and_a_denial_everybody(named, fact):
    facts = {named: fact}
    assert said(permit(actor=[actor(named)]), MEMBER, facts) == ALL
    assert said(permit(actor=[actor(named)]), STRANGER, facts) == SILENT
    for request in (MEMBER, STRANGER):
        assert said(deny(actor=[actor(named)]), request, facts) == NONE
        assert said(permit(actor=[actor(named)], provision=[deny()]), request, facts) == NONE
    assert unreadable(read(consent(permit(actor=[actor(named)])), facts=facts))


def test_who_is_named_beside_it_is_still_permitted():
    both = permit(actor=[actor(WARD), actor("Practitioner/Dr2")])
    assert said(both, STRANGER, {}) == ALL
    assert said(both, ask("Practitioner/Dr3"), {}) == SILENT


def test_the_rest_of_the_denial_still_narrows_it():
    narrowed = deny(actor=[actor(WARD), actor("Organization/Org9", "CST")])
    forbidden = said(narrowed, STRANGER, {})[1]
    assert forbidden.holds(record(custodian="Org9"))
    assert not forbidden.holds(record(custodian="Org8"))


BEARERS = [
    (permit(actor=[actor(WARD)]), {WARD}),
    (permit(actor=[actor(WARD)], provision=[permit()]), {WARD}),
    (deny(actor=[actor(WARD)]), {WARD, ANYONE}),
    (permit(actor=[actor(WARD)], provision=[permit(provision=[deny()])]), {WARD, ANYONE}),
    (permit(actor=[actor("Organization/Org1")], provision=[deny(actor=[actor(WARD)])]), {"Organization/Org1"}),
]


@pytest.mark.parametrize("facts", [{}, KNOWN])
@pytest.mark.parametrize(("provision", "expected"), BEARERS)
def test_a_consent_is_filed_so_that_it_is_found_whatever_becomes_of_the_group(provision, expected, facts):
    assert bearers(read(consent(provision), facts=facts)) == expected


def test_a_reading_rests_on_the_groups_that_it_names():
    nested = permit(actor=[actor(WARD)], provision=[deny(actor=[actor(TEAM), actor("Organization/Org1")])])
    assert rests_on(consent(nested)) == {WARD, TEAM}
