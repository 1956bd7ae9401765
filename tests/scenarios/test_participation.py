"""Scenarios A: does the Consent take part at all; B: who asks, and why."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.app import keyring_of
from tests.consent_engine.build import ACT_CODE, ACT_REASON, SCOPE, T0, actor, codings, concept, deny
from tests.scenarios.world import OF_P1, World, absent, at, ids, org1

AFTER_T0 = T0 + timedelta(seconds=1)


def test_a1_without_a_consent_nothing_is_seen(world: World) -> None:
    assert world.seen() == set()


def test_a2_a_permit_for_the_institution_shows_its_clinician_the_patients_records(world: World) -> None:
    world.given(world.consent())
    assert world.seen() == OF_P1


@pytest.mark.parametrize("status", ["inactive", "draft", "proposed", "rejected", "entered-in-error"])
def test_a3_a_consent_that_is_not_active_takes_no_part(world: World, status: str) -> None:
    (given,) = world.given(world.consent())
    with world.doctor() as client:
        assert not absent(client, world.ref("O1"))
        world.change(given, status=status)
        assert absent(client, world.ref("O1"))
    assert world.seen() == set()


def test_a4_a_treatment_consent_discloses_nothing(world: World) -> None:
    world.given(world.consent(scope=concept(SCOPE, "treatment")))
    assert world.seen() == set()


PERIODS = [
    ("A5 over", {"end": "2026-06-14"}, T0, False),
    ("A6 on the last day", {"end": "2026-06-15"}, T0, True),
    ("A6 the day after, without any write", {"end": "2026-06-15"}, datetime(2026, 6, 16, 0, 0, 1, tzinfo=UTC), False),
    ("A7 a second too early", {"start": "2026-06-15T12:00:01Z"}, T0, False),
    ("A7 from then on", {"start": "2026-06-15T12:00:01Z"}, AFTER_T0, True),
]


@pytest.mark.parametrize(("period", "now", "open"), [row[1:] for row in PERIODS], ids=[row[0] for row in PERIODS])
def test_a5_to_a7_a_period_acts_by_the_servers_clock(world: World, period: Any, now: datetime, open: bool) -> None:
    world.given(world.consent(org1(period=period)))
    with at(world.live, now):
        assert world.seen() == (OF_P1 if open else set())


def test_a6_and_a7_a_warm_server_lets_a_period_begin_and_end_without_a_write(world: World) -> None:
    world.given(world.consent(org1(period={"start": "2026-06-15T12:00:01Z", "end": "2026-06-15T12:00:02Z"})))
    with world.doctor() as client:
        for seconds, open in ((0, False), (1, True), (2, True), (3, False)):
            with at(world.live, T0 + timedelta(seconds=seconds)):
                for _ in range(2):
                    assert absent(client, world.ref("O1")) is not open
                    found = client.get("Observation", params={"_id": world.id("O1")}).json()
                    assert ids(found) == ([world.id("O1")] if open else [])


def test_a8_a_consent_that_contradicts_itself_forbids_and_is_never_half_applied(world: World) -> None:
    world.given(world.consent(), world.consent(policyRule=concept(ACT_CODE, "OPTOUT")))
    assert world.seen() == set()


WHO: list[tuple[str, Any, dict[str, Any], bool]] = [
    ("B1 another institution", [org1()], {"by": "Dr3"}, False),
    ("B2 a colleague of the one who is named", [org1(actor=[actor("Practitioner/Dr1")])], {"by": "Dr2"}, False),
    ("B2 the one who is named", [org1(actor=[actor("Practitioner/Dr1")])], {"by": "Dr1"}, True),
    ("B3 denied by name", [org1(), deny(actor=[actor("Practitioner/Dr2")])], {"by": "Dr2"}, False),
    ("B3 a colleague is denied", [org1(), deny(actor=[actor("Practitioner/Dr2")])], {"by": "Dr1"}, True),
    ("B4 a narrower purpose", [org1()], {"purpose": "ETREAT"}, True),
    ("B5 a wider purpose", [org1(purpose=codings(ACT_REASON, "ETREAT"))], {"purpose": "TREAT"}, False),
    ("B6 another purpose", [org1()], {"purpose": "HRESCH"}, False),
    ("B7 nobody has this id", [org1(actor=[actor("Practitioner/gone")])], {}, False),
]


@pytest.mark.parametrize(("provisions", "by", "open"), [row[1:] for row in WHO], ids=[row[0] for row in WHO])
def test_b_who_asks_and_why(world: World, provisions: Any, by: dict[str, Any], open: bool) -> None:
    world.given(*map(world.consent, provisions))
    assert world.seen(**by) == (OF_P1 if open else set())


def test_b6_a_header_cannot_claim_another_purpose_than_the_token(world: World) -> None:
    world.given(world.consent())
    with world.doctor(purpose="HRESCH") as client:
        client.headers.update({"X-Purpose-Of-Use": "TREAT", "Purpose": "TREAT"})
        assert absent(client, world.ref("O1"))


@pytest.mark.parametrize("purpose", ["TREAT HRESCH", "TREAT,HRESCH", ["TREAT", "HRESCH"], "", None])
def test_b8_a_token_with_several_purposes_or_none_is_refused(world: World, purpose: Any) -> None:
    world.given(world.consent())
    key = ECKey.import_key(keyring_of(world.live.settings).signing_pem.decode())
    issuer = jwt.decode(world.live.token("practitioner", "Practitioner/Dr1"), key).claims["iss"]
    claims = {
        "role": "practitioner", "fhirUser": "Practitioner/Dr1", "org": "Org1", "purpose": purpose,
        "scope": "user/*.cruds", "exp": int(time.time()) + 60, "iss": issuer,
    }  # fmt: skip
    with world.live.bearing(jwt.encode({"alg": "ES256"}, claims, key)) as client:
        assert client.get(world.ref("O1")).status_code == 401
