"""D4, D5, D7: how provisions and Consents override each other, and when."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from consent_engine.consent import read_consent
from consent_engine.predicate import EVERYTHING, NOTHING, AnyOf, Attribute, all_of, holds, negate
from consent_engine.rules import combined, rules_for, ruling
from tests.consent_engine.build import (
    ACT_CODE,
    PARTICIPATION,
    T0,
    TYPES,
    actor,
    ask,
    coding,
    codings,
    compiled,
    concept,
    consent,
    deny,
    permit,
    read,
    record,
)

DR1 = ask("Practitioner/Dr1", "Organization/Org1")


def org(id: str, role: str, system: str = PARTICIPATION) -> dict[str, Any]:
    return actor(f"Organization/{id}", role, system)


HIV = AnyOf(Attribute.LABEL, frozenset({"S:HIV"}))
OBSERVATION = AnyOf(Attribute.TYPE, frozenset({"Observation"}))
NO_HIV, OBSERVATIONS = {"securityLabel": [coding(ACT_CODE, "HIV")]}, {"class": codings(TYPES, "Observation")}
UNREADABLE = {"extension": [{"url": "urn:x"}]}
DEPTHS = [
    ("exception", permit(provision=[deny(**NO_HIV)]), (negate(HIV), HIV)),
    ("permit within a denial", deny(provision=[permit(**OBSERVATIONS)]), (OBSERVATION, negate(OBSERVATION))),
    (
        "three levels",
        deny(provision=[permit(**OBSERVATIONS, provision=[deny(**NO_HIV)])]),
        (all_of(OBSERVATION, negate(HIV)), negate(all_of(OBSERVATION, negate(HIV)))),
    ),
    ("equal depth, deny wins", permit(provision=[permit(), deny()]), (NOTHING, EVERYTHING)),
    (
        "a child counts only where its parent matches",
        {"provision": [permit(**OBSERVATIONS, provision=[permit()])]},
        (OBSERVATION, NOTHING),
    ),
    (
        "nothing below a parent for others",
        permit(provision=[deny(actor=[org("Org2", "PRCP")], provision=[deny()])]),
        (EVERYTHING, NOTHING),
    ),
    (
        "a denial below an unreadable permit holds",
        permit(provision=[permit(**UNREADABLE, provision=[deny()])]),
        (NOTHING, EVERYTHING),
    ),
    ("a permit below an unreadable denial does not", deny(**UNREADABLE, provision=[permit()]), (NOTHING, EVERYTHING)),
    ("nor below an unreadable root without effect", {**UNREADABLE, "provision": [permit()]}, (NOTHING, NOTHING)),
    ("nor below an exception to nothing", {"provision": [{"provision": [permit()]}]}, (NOTHING, EVERYTHING)),
    ("an unreadable exception is no exception", deny(provision=[permit(**UNREADABLE)]), (NOTHING, EVERYTHING)),
]


@pytest.mark.parametrize(("provision", "expected"), [row[1:] for row in DEPTHS], ids=[row[0] for row in DEPTHS])
def test_d4_the_deepest_match_decides(provision, expected):
    said = compiled(consent(provision), DR1)
    assert (ruling(said).permits, ruling(said).forbids) == expected
    assert combined([said]) == expected


def test_a_parent_is_read_in_its_own_direction():
    """A permit up to R holds for a record labelled N, so the denial within it does too."""
    restricted = [coding("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R")]
    said = compiled(consent(permit(securityLabel=restricted, provision=[deny(**OBSERVATIONS)])), DR1)
    assert holds(ruling(said).forbids, record("Observation/1"))


def test_rules_name_the_provisions_they_come_from():
    said = compiled(consent(permit(provision=[deny(**NO_HIV), permit(actor=[org("Org2", "PRCP")])])), DR1)
    assert [(rule.path, rule.depth) for rule in said.rules] == [("provision", 0), ("provision.provision[0]", 1)]
    assert [rule.path for rule in compiled(consent(policyRule=concept(ACT_CODE, "OPTIN")), DR1).rules] == ["policyRule"]


def test_d5_a_denial_of_one_consent_overrides_the_permit_of_another():
    said = [compiled(consent(permit()), DR1), compiled(consent(deny(**NO_HIV)), DR1), compiled(consent({}), DR1)]
    assert combined(said) == (negate(HIV), HIV)
    assert combined([]) == (NOTHING, NOTHING)


def test_on_the_say_so_of_an_institution_only_its_own_records_are_permitted():
    own = AnyOf(Attribute.CUSTODIAN, frozenset({"Org1"}))
    nested = consent(deny(provision=[permit(**OBSERVATIONS)]))
    assert ruling(compiled(consent(permit()), DR1, authority="Org1")).permits == own
    assert ruling(compiled(consent(policyRule=concept(ACT_CODE, "OPTIN")), DR1, authority="Org1")).permits == own
    assert ruling(compiled(nested, DR1, authority="Org1")).permits == all_of(own, OBSERVATION)
    assert ruling(compiled(consent(deny()), DR1, authority="Org1")).forbids == EVERYTHING


def test_d7_until_is_the_next_instant_at_which_a_period_starts_or_ends():
    json = consent(permit(period={"end": "2026-06-15"}, provision=[deny(period={"start": "2026-06-15T18:00:00Z"})]))
    starts, ends = datetime(2026, 6, 15, 18, tzinfo=UTC), datetime(2026, 6, 16, tzinfo=UTC)
    assert compiled(json, DR1).until == starts
    assert compiled(json, DR1, starts).until == ends
    assert compiled(json, DR1, ends).until is None
    assert len(compiled(json, DR1, starts).rules) == 2
    assert compiled(json, DR1, ends).rules == ()


def test_d7_dates_without_a_zone_are_read_in_the_zone_of_the_deployment():
    json = consent(permit(period={"end": "2026-06-15"}))
    china = read_consent(json, id="c", version="1", zone=timezone(timedelta(hours=8)), authority=None)
    assert rules_for(china, DR1, T0).until == datetime(2026, 6, 15, 16, tzinfo=UTC)


def test_d7_a_period_is_compared_as_an_instant_whatever_the_zone_of_the_clock():
    elsewhere = datetime(2026, 6, 15, 23, 59, tzinfo=timezone(timedelta(hours=-8)))
    assert compiled(consent(permit(period={"end": "2026-06-15"})), DR1, elsewhere).rules == ()


def test_d7_an_instant_needs_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        compiled(consent(permit()), DR1, datetime(2026, 6, 15))


def test_compiling_twice_gives_equal_values():
    json = consent(permit(**OBSERVATIONS, provision=[deny(**NO_HIV)]))
    first, second = (rules_for(read(json), DR1, T0) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
