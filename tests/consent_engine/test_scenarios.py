"""The consent scenarios A to D and H, as far as the engine alone can answer them.

The implicit policy is "deny", so a record is seen only if the Consents permit it.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from consent_engine.decision import Effect, Verdict, decide
from consent_engine.predicate import EVERYTHING, NOTHING, holds, per_person
from consent_engine.rules import combined
from consent_engine.vocabulary import Mode
from tests.consent_engine.build import (
    ACT_CODE,
    ACT_REASON,
    HIV,
    LOINC,
    PSY,
    SCOPE,
    T0,
    TYPES,
    Json,
    N,
    R,
    actor,
    ask,
    codings,
    compiled,
    concept,
    consent,
    deny,
    labels,
    permit,
    read,
    record,
    unreadable,
)

ORG1 = "Organization/Org1"
SODIUM = f"{LOINC}|2951-2"
O1 = record("Observation/O1", labels=[N], codes=[f"{LOINC}|2339-0"], authors=["Practitioner/Dr1"])
O2 = record(
    "Observation/O2",
    labels=[R, HIV],
    codes=[f"{LOINC}|20447-9"],
    date="2026-04-01",
    refers=["Patient/P1", "Encounter/E1"],
)
O3 = record("Observation/O3", labels=[N], codes=[SODIUM], date="2020-03-01")
C1 = record("Condition/C1", labels=[R, PSY])
C2 = record("Condition/C2", labels=[N])
M1 = record("MedicationRequest/M1", labels=[N], authors=["Practitioner/Dr2"])
M2 = record("MedicationRequest/M2", labels=[N], authors=["Practitioner/Dr1"])
ALL = {"O1": O1, "O2": O2, "O3": O3, "C1": C1, "C2": C2, "M1": M1, "M2": M2}

DR1 = ask("Practitioner/Dr1", ORG1)
DR2 = ask("Practitioner/Dr2", ORG1)
DR3 = ask("Practitioner/Dr3", "Organization/Org2")


def org1(**more: Any) -> Json:
    """The root provision of Permit-P1, with more elements or other ones."""
    return permit(**{"actor": [actor(ORG1)], "purpose": codings(ACT_REASON, "TREAT"), **more})


E1 = {"Encounter/E1": {"resourceType": "Encounter", "subject": {"reference": "Patient/P1"}}}


def seen(*consents: Json, by: Any = DR1, at: datetime = T0, mode: Mode = Mode.DENY_OVERRIDES) -> set[str]:
    """The records that are permitted; asked one by one and of the joint predicate, which must agree."""
    said = [compiled(each, by, at, id=f"c{n}", facts=E1) for n, each in enumerate(consents)]
    permitted, _ = combined(said, mode)
    found = {name for name, each in ALL.items() if decide(said, each, mode).effect is Effect.PERMIT}
    assert found == {name for name, each in ALL.items() if holds(permitted, each)}
    return found


PERMIT = consent(org1())


def test_a1_without_consent_nothing_is_seen_and_nothing_was_said():
    assert decide([], O1).because is Verdict.SILENT
    assert decide([], O1).effect is Effect.DENY


def test_a2_a_permit_for_the_institution_opens_everything():
    said = compiled(PERMIT, DR1)
    assert combined([said]) == (EVERYTHING, NOTHING)
    assert seen(PERMIT) == set(ALL)


@pytest.mark.parametrize("status", ["inactive", "draft", "proposed", "rejected", "entered-in-error"])
def test_a3_only_an_active_consent_takes_part(status):
    ended = {**PERMIT, "status": status}
    assert seen(ended) == set()
    assert compiled(ended, DR1).ignored


def test_a4_a_treatment_consent_discloses_nothing():
    assert seen({**PERMIT, "scope": concept(SCOPE, "treatment")}) == set()


PERIODS = [
    ("A5", {"end": "2026-06-14"}, T0, False),
    ("A6 on the day", {"end": "2026-06-15"}, T0, True),
    ("A6 at its last second", {"end": "2026-06-15"}, datetime(2026, 6, 15, 23, 59, 59, tzinfo=UTC), True),
    ("A6 after", {"end": "2026-06-15"}, datetime(2026, 6, 16, 0, 0, 1, tzinfo=UTC), False),
    ("A7 before", {"start": "2026-06-15T12:00:01Z"}, T0, False),
    ("A7 from then on", {"start": "2026-06-15T12:00:01Z"}, datetime(2026, 6, 15, 12, 0, 1, tzinfo=UTC), True),
]


@pytest.mark.parametrize(("period", "at", "open"), [row[1:] for row in PERIODS], ids=[row[0] for row in PERIODS])
def test_a5_to_a7_a_period_acts_without_any_write(period, at, open):
    assert bool(seen(consent(org1(period=period)), at=at)) is open


def test_a8_a_contradiction_is_unusable_and_forbids():
    contradictory = {**PERMIT, "policyRule": concept(ACT_CODE, "OPTOUT")}
    assert read(contradictory).flaw
    assert seen(contradictory) == set()
    assert decide([compiled(contradictory, DR1)], O1).because is Verdict.UNREADABLE
    assert seen(contradictory, PERMIT) == set()


WHO = [
    ("B1 other institution", [PERMIT], DR3, False),
    ("B2 colleague", [consent(org1(actor=[actor("Practitioner/Dr1")]))], DR2, False),
    ("B2 named", [consent(org1(actor=[actor("Practitioner/Dr1")]))], DR1, True),
    ("B3 denied", [PERMIT, consent(deny(actor=[actor("Practitioner/Dr2")]))], DR2, False),
    ("B3 other", [PERMIT, consent(deny(actor=[actor("Practitioner/Dr2")]))], DR1, True),
    ("B4 child", [PERMIT], ask("Practitioner/Dr1", ORG1, purpose="ETREAT"), True),
    ("B5 parent", [consent(org1(purpose=codings(ACT_REASON, "ETREAT")))], DR1, False),
    ("B6 research", [PERMIT], ask("Practitioner/Dr1", ORG1, purpose="HRESCH"), False),
    ("B7 nobody", [consent(org1(actor=[actor("Practitioner/gone")]))], DR1, False),
]


@pytest.mark.parametrize(("consents", "by", "open"), [row[1:] for row in WHO], ids=[row[0] for row in WHO])
def test_b_who_and_why(consents, by, open):
    assert seen(*consents, by=by) == (set(ALL) if open else set())


def dated(provision: Json, day: str) -> Json:
    return {**consent(provision), "dateTime": day}


DENY_ORG1 = deny(actor=[actor(ORG1)], purpose=codings(ACT_REASON, "TREAT"))
DENY_DR2 = deny(data=[{"meaning": "authoredby", "reference": {"reference": "Practitioner/Dr2"}}])
SHAPES = [
    ("C1 nested deny", [consent(org1(provision=[deny(securityLabel=labels(HIV))]))], set(ALL) - {"O2"}),
    (
        "C2 depth three decides",
        [consent(deny(provision=[permit(**{"class": codings(TYPES, "MedicationRequest"), "provision": [DENY_DR2]})]))],
        {"M2"},
    ),
    ("C3 dataPeriod", [consent(org1(dataPeriod={"start": "2026", "end": "2026"}))], set(ALL) - {"O3"}),
    ("C4 code", [consent(org1(code=[concept(LOINC, "2951-2")]))], {"O3"}),
    (
        "C5 instance",
        [consent(org1(data=[{"meaning": "instance", "reference": {"reference": "Observation/O1"}}]))],
        {"O1"},
    ),
    (
        "C6 related",
        [consent(org1(data=[{"meaning": "related", "reference": {"reference": "Encounter/E1"}}]))],
        {"O2"},
    ),
    ("C7 unknown extension", [consent(org1(extension=[{"url": "http://x", "valueBoolean": True}]))], set()),
    ("C8 deny is newer", [dated(org1(), "2026-01-01"), dated(DENY_ORG1, "2026-03-01")], set()),
    ("C9 permit is newer", [dated(org1(), "2026-03-01"), dated(DENY_ORG1, "2026-01-01")], set()),
    ("D1 up to N", [consent(org1(securityLabel=labels(N)))], {"O1", "O3", "C2", "M1", "M2"}),
    ("D2 R without HIV", [consent(org1(securityLabel=labels(R)))], {"O1", "O3", "C2", "M1", "M2"}),
    ("D3 R and HIV", [consent(org1(securityLabel=labels(R, HIV)))], {"O1", "O2", "O3", "C2", "M1", "M2"}),
]


@pytest.mark.parametrize(("consents", "expected"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_c_and_d_shape_and_labels(consents, expected):
    assert seen(*consents) == expected


@pytest.mark.parametrize(
    ("mode", "expected"), [(Mode.DENY_OVERRIDES, set()), (Mode.NEWEST_WINS, set(ALL))], ids=["nothing", "all"]
)
def test_c9_the_newer_permit_counts_only_where_the_newest_wins(mode, expected):
    consents = [dated(org1(), "2026-03-01"), dated(DENY_ORG1, "2026-01-01")]
    assert seen(*consents, mode=mode) == expected
    assert decide([compiled(each, DR1) for each in consents], O1, mode).mode is mode
    assert seen(dated(org1(), "2026-01-01"), dated(DENY_ORG1, "2026-03-01"), mode=mode) == set()


SAME_THING = [
    ("of one instant the denial", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", False),
    ("of one day the denial", "2026-03-01T10:00:00Z", "2026-03-01", False),
    ("the permit of the next day", "2026-03-02", "2026-03-01", True),
    ("the permit of the next second", "2026-03-01T10:00:01Z", "2026-03-01T10:00:00Z", True),
    ("an undated permit is the oldest", None, "1900", False),
    ("an undated denial is the newest", "2026-06-14", None, False),
    ("what is no date is none", "2026-06-14", "yesterday", False),
]


@pytest.mark.parametrize(
    ("given", "denied", "open"), [row[1:] for row in SAME_THING], ids=[row[0] for row in SAME_THING]
)
def test_d5_where_the_newest_wins_doubt_about_the_order_is_for_the_denial(given, denied, open):
    consents = [
        {**consent(provision), **({} if day is None else {"dateTime": day})}
        for provision, day in ((org1(), given), (DENY_ORG1, denied))
    ]
    assert seen(*consents, mode=Mode.NEWEST_WINS) == (set(ALL) if open else set())


def test_d5_the_newest_statement_about_the_same_thing_wins_not_the_newest_consent():
    consents = [dated(org1(), "2026-01-01"), dated(deny(securityLabel=labels(HIV)), "2026-03-01")]
    assert seen(*consents, mode=Mode.NEWEST_WINS) == set(ALL) - {"O2"}
    unusable = {**dated(org1(), "2020-01-01"), "policyRule": concept(ACT_CODE, "OPTOUT")}
    assert seen(*consents, unusable, mode=Mode.NEWEST_WINS) == set()


def test_c7_what_is_not_supported_is_reported():
    assert unreadable(read(consent(org1(extension=[{"url": "http://x"}])))) == ("provision: extension",)


def test_h1_a_record_of_two_persons_needs_the_permit_of_both():
    permitted, _ = combined([compiled(PERMIT, DR1)])
    appointment = record("Appointment/A1", persons=["p1", "p2"])
    only_p1 = per_person([(frozenset({"p1"}), permitted)], otherwise=NOTHING, nobody=NOTHING)
    both = per_person([(frozenset({"p1", "p2"}), permitted)], otherwise=NOTHING, nobody=NOTHING)
    assert not holds(only_p1, appointment)
    assert holds(both, appointment)
    assert holds(only_p1, O1)
