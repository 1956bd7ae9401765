"""Scenarios C: the shape of the rule; D: labels.

Not in reach yet, so not here: the newest-wins half of C9; redaction (D4 to D6); $everything and system history (F3, the
rest of F4); $meta and GraphQL (F6); a proxy's authority that lapses (H2); break-glass by entitlement (I).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.consent_engine.build import (
    ACT_REASON,
    HIV,
    LOINC,
    PSY,
    TYPES,
    N,
    R,
    actor,
    codings,
    concept,
    deny,
    labels,
    permit,
)
from tests.scenarios.world import OF_P1, ORG1, SODIUM, World, ids, org1

DENY_DR2 = deny(data=[{"meaning": "authoredby", "reference": {"reference": "Practitioner/Dr2"}}])
DENY_ORG1 = deny(actor=[actor(ORG1)], purpose=codings(ACT_REASON, "TREAT"))
OPEN_N = OF_P1 - {"O2", "C1"}
SHAPES: list[tuple[str, list[Any], frozenset[str]]] = [
    ("C1 nested deny of a label", [org1(provision=[deny(securityLabel=labels(HIV))])], OF_P1 - {"O2"}),
    (
        "C2 the third level decides",
        [deny(provision=[permit(**{"class": codings(TYPES, "MedicationRequest"), "provision": [DENY_DR2]})])],
        frozenset(),
    ),
    (
        "C2 without the third level",
        [deny(provision=[permit(**{"class": codings(TYPES, "MedicationRequest")})])],
        frozenset({"M1"}),
    ),
    ("C4 a code", [org1(code=[concept(LOINC, SODIUM)])], frozenset({"O3"})),
    ("C7 what is not understood permits nothing", [org1(extension=[{"url": "http://x.y", "valueCode": "z"}])], frozenset()),
    ("D1 up to N", [org1(securityLabel=labels(N))], OPEN_N),
    ("D2 R without the sensitivity", [org1(securityLabel=labels(R))], OPEN_N),
    ("D3 R and HIV", [org1(securityLabel=labels(R, HIV))], OF_P1 - {"C1"}),
    ("a deny of a type", [org1(provision=[deny(**{"class": codings(TYPES, "Encounter")})])], OF_P1 - {"E1"}),
    ("a deny of two labels", [org1(provision=[deny(securityLabel=labels(HIV, PSY))])], OPEN_N),
]  # fmt: skip


@pytest.mark.parametrize(("provisions", "expected"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_c_and_d_what_a_rule_covers(world: World, provisions: list[Any], expected: frozenset[str]) -> None:
    world.given(*map(world.consent, provisions))
    assert world.seen() == expected


def test_c3_the_data_period_is_about_the_clinical_date(world: World) -> None:
    world.given(world.consent(org1(dataPeriod={"start": "2026", "end": "2026"})))
    assert world.seen() >= {"O1", "O2", "E1", "M1", "X1", "D1"}
    with world.doctor() as client:
        found = client.get("Observation", params={"subject": world.ref("P1"), "_sort": "date"}).json()
    assert ids(found) == [world.id("O2"), world.id("O1")]


def test_c5_an_instance_is_that_record_alone(world: World) -> None:
    instance = [{"meaning": "instance", "reference": {"reference": world.ref("O1")}}]
    world.given(world.consent(org1(data=instance)))
    assert world.seen() == {"O1"}


def test_c6_related_data_is_not_understood_so_it_permits_nothing(world: World) -> None:
    world.given(world.consent(org1(data=[{"meaning": "related", "reference": {"reference": world.ref("E1")}}])))
    assert world.seen() == set()


@pytest.mark.parametrize(("permitted", "denied"), [("2026-01-01", "2026-03-01"), ("2026-03-01", "2026-01-01")])
def test_c8_and_c9_a_deny_overrides_whichever_is_newer(world: World, permitted: str, denied: str) -> None:
    world.given(world.consent(dateTime=permitted), world.consent(DENY_ORG1, dateTime=denied))
    assert world.seen() == set()


def test_c1_what_is_hidden_is_in_no_page_total_link_or_warning(world: World) -> None:
    world.given(world.consent(org1(provision=[deny(securityLabel=labels(HIV))])))
    with world.doctor() as client:
        answer = client.get("Observation", params={"subject": world.ref("P1")})
        assert sorted(ids(answer.json())) == sorted(map(world.id, ("O1", "O3")))
        assert answer.json()["total"] == 2
        assert world.id("O2") not in answer.text
        assert [link["relation"] for link in answer.json()["link"]] == ["self"]
