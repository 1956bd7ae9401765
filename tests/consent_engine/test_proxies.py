"""D1: a Consent that others gave in the patient's stead takes part as long as one of them may speak for the patient."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from consent_engine.consent import bearers, read_consent, rests_on
from consent_engine.predicate import EVERYTHING, NOTHING
from consent_engine.proxies import Mandate
from consent_engine.reasons import Reason
from consent_engine.rules import combined, rules_for
from tests.consent_engine.build import T0, ask, compiled, concept, consent, deny, permit, read

ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
P3, R1 = "Patient/P3", "RelatedPerson/R1"
ALL, SILENT, NONE = (EVERYTHING, NOTHING), (NOTHING, NOTHING), (NOTHING, EVERYTHING)
DR1 = ask("Practitioner/Dr1")
CHILD = {"resourceType": "Patient", "birthDate": "2010-01-01"}


def by(*performers: str, **more: Any) -> dict[str, Any]:
    named = [{"reference": each} for each in performers]
    return consent(permit(), patient={"reference": P3}, performer=named, **more)


def proxy(relationship: str = "MTH", **more: Any) -> dict[str, Any]:
    kind = [concept(ROLE_CODE, relationship)]
    return {"resourceType": "RelatedPerson", "patient": {"reference": P3}, "relationship": kind, **more}


def said(json: Any, facts: Any, at: datetime = T0) -> Any:
    return combined([rules_for(read(json, facts=facts), DR1, at)])


def test_h2_the_consent_of_a_parent_ends_by_itself_when_the_child_comes_of_age():
    facts = {R1: proxy(), P3: CHILD}
    before, after = datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    assert said(by(R1), facts, before) == ALL
    assert said(by(R1), facts, after) == SILENT
    assert compiled(by(R1), DR1, before, facts=facts).until == after
    assert compiled(by(R1), DR1, after, facts=facts).ignored is Reason.LAPSED


def test_the_child_comes_of_age_in_the_zone_of_the_deployment():
    facts = {R1: proxy(), P3: CHILD}
    china = timezone(timedelta(hours=8))
    found = read_consent(by(R1), id="c", version="1", zone=china, authority=None, facts=facts)
    assert rules_for(found, DR1, T0).until == datetime(2028, 1, 1, tzinfo=china)


GIVEN = [
    ("by the patient", by(P3), {}, ALL),
    ("by nobody who is named", by(), {}, ALL),
    ("taken down by a clinician", by("Practitioner/Dr1", "Organization/Org1", "PractitionerRole/1"), {}, ALL),
    ("by the patient and a parent who is not known", by(R1, P3), {}, ALL),
    ("by a parent", by(R1), {R1: proxy(), P3: CHILD}, ALL),
    ("by a parent, taken down by a clinician", by(R1, "Practitioner/Dr1"), {R1: proxy(), P3: CHILD}, ALL),
    ("by an attorney of an adult", by(R1), {R1: proxy("HPOWATT")}, ALL),
    ("by a guardian of an adult", by(R1), {R1: proxy("GUARD"), P3: {**CHILD, "birthDate": "1950"}}, ALL),
    ("by a relation of an adult", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "1950"}}, SILENT),
    ("by one who is no more in use", by(R1), {R1: proxy(active=False), P3: CHILD}, SILENT),
    ("by one whose time is over", by(R1), {R1: proxy(period={"end": "2026-06-14"}), P3: CHILD}, SILENT),
    ("by one whose time ends today", by(R1), {R1: proxy(period={"end": "2026-06-15"}), P3: CHILD}, ALL),
    ("by one whose time comes", by(R1), {R1: proxy(period={"start": "2026-06-16"}), P3: CHILD}, SILENT),
    (
        "by one who may and one who may not",
        by(R1, "RelatedPerson/R2"),
        {R1: proxy(active=False), "RelatedPerson/R2": proxy("GUARD")},
        ALL,
    ),
    ("on the day of coming of age", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2008-06-15"}}, SILENT),
    ("on the day before", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2008-06-16"}}, ALL),
    ("in the year before, by year", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2009"}}, ALL),
    ("in the year after, by year", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2007"}}, SILENT),
]
IN_DOUBT = [
    ("by one who is not stored", by(R1), {P3: CHILD}),
    ("for a patient who is not stored", by(R1), {R1: proxy()}),
    ("for a patient without birth date", by(R1), {R1: proxy(), P3: {"resourceType": "Patient"}}),
    ("with a birth date that is none", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2010-02-30"}}),
    ("in the year of coming of age", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2008"}}),
    ("in the month of coming of age", by(R1), {R1: proxy(), P3: {**CHILD, "birthDate": "2008-06"}}),
    ("by the proxy of another", by(R1), {R1: proxy(patient={"reference": "Patient/P4"}), P3: CHILD}),
    ("with a period that cannot be read", by(R1), {R1: proxy("GUARD", period={"end": "soon"})}),
    ("with a use that cannot be read", by(R1), {R1: proxy("GUARD", active="true")}),
    ("with a modifierExtension", by(R1), {R1: proxy("GUARD", modifierExtension=[{"url": "urn:x"}])}),
    ("by another patient", by("Patient/P4"), {"Patient/P4": CHILD}),
    ("by somebody without reference", {**by(), "performer": [{"display": "mother"}]}, {}),
    ("by what is no list", {**by(), "performer": {"reference": P3}}, {}),
    ("for nobody", {**by(R1), "patient": {"display": "P3"}}, {R1: proxy("GUARD")}),
    ("by one of whom it is not known, and one who may not", by(R1, "RelatedPerson/R2"), {R1: proxy(active=False)}),
]


@pytest.mark.parametrize(("json", "facts", "expected"), [row[1:] for row in GIVEN], ids=[row[0] for row in GIVEN])
def test_who_gave_it_decides_whether_it_takes_part(json, facts, expected):
    assert said(json, facts) == expected
    turned = NONE if expected == ALL else expected
    assert said({**json, "provision": deny()}, facts) == turned


@pytest.mark.parametrize(("json", "facts"), [row[1:] for row in IN_DOUBT], ids=[row[0] for row in IN_DOUBT])
def test_where_that_is_in_doubt_it_permits_nothing_and_its_denials_hold(json, facts):
    assert said(json, facts) == SILENT
    assert said({**json, "provision": deny()}, facts) == NONE
    assert said({**json, "provision": permit(provision=[deny()])}, facts) == NONE
    assert said({**json, "provision": deny(provision=[permit()])}, facts) == NONE


LEAP = [(28, Mandate.IN_DOUBT), (27, Mandate.VALID)]


@pytest.mark.parametrize(("day", "expected"), LEAP)
def test_who_was_born_on_a_leap_day_comes_of_age_on_either_side_of_midnight(day, expected):
    facts = {R1: proxy(), P3: {**CHILD, "birthDate": "2008-02-29"}}
    proxies = read(by(R1), facts=facts).proxies
    assert proxies.mandate(datetime(2026, 2, day, 12, tzinfo=UTC)) is expected
    assert proxies.mandate(datetime(2026, 3, 1, tzinfo=UTC)) is Mandate.LAPSED


def test_what_is_unusable_forbids_only_as_long_as_it_takes_part():
    flawed = {**by(R1), "provision": {"type": "allow"}}
    assert said(flawed, {R1: proxy("GUARD")}) == NONE
    assert said(flawed, {R1: proxy(active=False)}) == SILENT
    hidden = {**by(R1), "modifierExtension": [{"url": "urn:x"}]}
    assert said(hidden, {R1: proxy(active=False)}) == NONE  # who gave it may not be what it seems


def test_a_reading_rests_on_who_gave_it_only_where_the_patient_did_not():
    assert rests_on(by(R1, "Practitioner/Dr1")) == {R1, P3}
    assert rests_on(by(P3, R1)) == frozenset()
    assert rests_on(by("Practitioner/Dr1")) == frozenset()
    assert rests_on({**by(R1), "status": "inactive"}) == frozenset()


def test_whom_it_bears_on_does_not_depend_on_who_gave_it():
    assert bearers(read(by(R1), facts={R1: proxy(active=False)})) == bearers(read(by(P3)))
