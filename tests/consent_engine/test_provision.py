"""D3: which requests and records a provision matches, in a permit and in a denial."""

from typing import Any

import pytest

from consent_engine.predicate import holds
from consent_engine.rules import ruling
from tests.consent_engine.build import (
    ACT_CODE,
    ACT_REASON,
    ACTION,
    LOINC,
    PARTICIPATION,
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
    record,
)

DR1 = ask("Practitioner/Dr1", "Organization/Org1")
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
EXTRA_ROLE = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
STRUCTURE_DEFINITION = "http://hl7.org/fhir/StructureDefinition"
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
PROFILE = "http://example.org/StructureDefinition/lipids"
GLUCOSE = f"{LOINC}|2339-0"
PLAIN = record("Observation/1", codes=[GLUCOSE], profiles=[PROFILE], authors=["Practitioner/Dr7"], custodian="Org9")


def matches(elements: dict[str, Any], request: Any = DR1, of: Any = PLAIN) -> tuple[bool, bool]:
    """Whether the elements match in a root permit, and in a root denial."""
    permitted = ruling(compiled(consent(permit(**elements)), request)).permits
    forbidden = ruling(compiled(consent(deny(**elements)), request)).forbids
    return holds(permitted, of), holds(forbidden, of)


def org(id: str, role: str, system: str = PARTICIPATION) -> dict[str, Any]:
    return actor(f"Organization/{id}", role, system)


MATCHING = [
    {},
    {"actor": [org("Org1", "PRCP")]},
    {"actor": [org("Org1", "IRCP")]},
    {"actor": [org("Org1", "GRANTEE", ROLE_CODE)]},
    {"actor": [org("Org1", "PROV", ROLE_CLASS)]},
    {"actor": [org("Org1", "humanuser", EXTRA_ROLE)]},
    {"actor": [org("Org1", "DELEGATEE", "urn:x")]},
    {"actor": [org("Org1", "CST")]},  # as in the specification's examples
    {"actor": [org("Org2", "PRCP"), org("Org1", "PRCP")]},
    {"actor": [org("Org1", "PRCP"), org("Org9", "CST")]},
    {"actor": [org("Org1", "PRCP"), actor("Practitioner/Dr7", "AUT")]},
    {"actor": [actor("Practitioner/Dr7", "AUT")]},
    {"actor": [{**org("Org1", "PRCP"), "role": {"coding": [coding("urn:x", "y"), coding(PARTICIPATION, "PRCP")]}}]},
    {"actor": [actor("https://example.org/fhir/Organization/Org1/_history/3")]},
    {"purpose": codings(ACT_REASON, "TREAT")},
    {"purpose": codings(ACT_REASON, "HRESCH", "PurposeOfUse")},
    {"action": [concept(ACTION, "access")]},
    {"action": [concept(ACTION, "use")]},
    {"action": [concept(ACTION, "collect"), concept(ACTION, "disclose")]},
    {"class": codings(TYPES, "Condition", "Observation")},
    {"class": [coding(STRUCTURE_DEFINITION, "Observation")]},
    {"class": [coding("urn:ietf:rfc:3986", f"{STRUCTURE_DEFINITION}/Observation")]},
    {"class": [coding("urn:ietf:rfc:3986", PROFILE)]},
    {"class": [coding(STRUCTURE_DEFINITION, PROFILE)]},
    {"class": [coding(LOINC, "2339-0")]},
    {"code": [concept(LOINC, "2951-2"), concept(LOINC, "2339-0")]},
    {"code": [concept(LOINC, "2951-2", "2339-0")]},
    {"period": {"start": "2026-06-15"}},
    {"period": {"end": "2026-06"}},
    {"data": [{"meaning": "instance", "reference": {"reference": "Observation/1"}}]},
    {"data": [{"meaning": "authoredby", "reference": {"reference": "Practitioner/Dr7"}}]},
    {"id": "p1", "purpose": codings(ACT_REASON, "TREAT")},
]
NOT_MATCHING = [
    {"actor": [org("Org2", "PRCP")]},
    {"actor": [org("Org2", "CST")]},
    {"actor": [org("Org1", "PRCP"), org("Org8", "CST")]},
    {"actor": [org("Org1", "PRCP"), actor("Practitioner/Dr8", "AUT")]},
    {"purpose": codings(ACT_REASON, "ETREAT", "HRESCH")},
    {"action": [concept(ACTION, "correct")]},
    {"class": codings(TYPES, "Condition")},
    {"class": [coding(STRUCTURE_DEFINITION, "vitalsigns")]},
    {"class": codings(TYPES, "Observation"), "code": [concept(LOINC, "2951-2")]},
    {"code": [concept("urn:x", "2339-0")]},
    {"period": {"start": "2026-06-16"}},
    {"period": {"end": "2026-06-14"}},
    {"dataPeriod": {"end": "2026-04"}},
    {"data": [{"meaning": "instance", "reference": {"reference": "Observation/2"}}]},
]
# Not understood: does not match in a permit, matches in a denial.
UNKNOWN = [
    {"actor": [org("Org2", "ENT")]},
    {"actor": [org("Org2", "PRCP", "urn:x")]},
    {"actor": [{**org("Org2", "PRCP"), "role": {"text": "recipient"}}]},
    {"actor": [{**org("Org2", "PRCP"), "role": {"coding": [coding(PARTICIPATION, c) for c in ("PRCP", "CST")]}}]},
    {"actor": [{"reference": {"reference": "Organization/Org1"}}]},
    {"actor": [{**org("Org2", "PRCP"), "reference": {"identifier": {"value": "1"}}}]},
    {"actor": [{**org("Org2", "PRCP"), "reference": {"reference": "#org"}}]},
    {"actor": [org("Org1", "PRCP"), actor("Practitioner/Dr1", "CST")]},
    {"actor": [org("Org1", "PRCP"), org("Org2", "ENT")]},
    {"actor": []},
    {"actor": None},
    {"purpose": [{"code": "TREAT"}]},
    {"purpose": [coding("urn:x", "TREAT")]},
    {"purpose": codings(ACT_REASON, "PAT")},
    {"purpose": []},
    {"action": [{"text": "read"}]},
    {"action": [concept(ACTION, "view")]},
    {"action": [concept("urn:x", "access")]},
    {"class": [{"code": "Observation"}]},
    {"class": codings(TYPES, "Resource")},
    {"class": codings(TYPES, "observation")},
    {"code": [{"text": "glucose"}]},
    {"code": [{"coding": [{"code": "2339-0"}]}]},
    {"code": [{"coding": []}]},
    {"securityLabel": [{"code": "N"}]},
    {"securityLabel": [coding(ACT_CODE, "NOAUTH")]},
    {"securityLabel": [coding(ACT_CODE, "HIVV")]},
    {"securityLabel": [coding(OBSERVATION_VALUE, "SUBSETTED")]},
    {"period": {}},
    {"period": {"start": "soon"}},
    {"period": {"start": "2026-07", "end": "2026-05"}},
    {"period": {"end": 2027}},
    {"dataPeriod": {"start": None}},
    {"data": [{"meaning": "related", "reference": {"reference": "Observation/1"}}]},
    {"data": [{"meaning": "supersedes", "reference": {"reference": "Observation/1"}}]},
    {"data": [{"meaning": "instance", "reference": {"display": "that one"}}]},
    {"data": [{"reference": {"reference": "Observation/1"}}]},
    {"extension": [{"url": "urn:x", "valueBoolean": True}]},
    {"purpose": [{**coding(ACT_REASON, "TREAT"), "extension": [{"url": "urn:x"}]}]},
    {"_type": {"extension": [{"url": "urn:x"}]}},
    {"expression": {"language": "text/cql"}},
    {"modifierExtension": [{"url": "urn:x"}], "purpose": codings(ACT_REASON, "HRESCH")},
    {"actor": [{**org("Org2", "PRCP"), "modifierExtension": [{"url": "urn:x"}]}]},
]


@pytest.mark.parametrize("elements", MATCHING)
def test_d3_all_populated_elements_must_match_by_one_of_their_values(elements):
    assert matches(elements) == (True, True)


@pytest.mark.parametrize("elements", NOT_MATCHING)
def test_d3_one_element_that_does_not_match_is_enough(elements):
    assert matches(elements) == (False, False)


@pytest.mark.parametrize("elements", UNKNOWN)
def test_d3_what_is_not_understood_permits_nothing_and_narrows_no_denial(elements):
    assert matches(elements) == (False, True)


def test_d3_the_rest_of_a_denial_still_narrows_it():
    assert matches({"purpose": [{"code": "TREAT"}], "actor": [org("Org2", "PRCP")]}) == (False, False)


REQUESTS = [
    (ask("Organization/Org1", purpose="mine"), {"purpose": codings(ACT_REASON, "HRESCH")}, (False, True)),
    (ask("Organization/Org1", purpose="mine"), {}, (True, True)),
    (ask("Organization/Org1", action="destroy"), {"action": [concept(ACTION, "correct")]}, (False, True)),
    (ask("Organization/Org1", action="correct"), {"action": [concept(ACTION, "correct")]}, (True, True)),
    (ask("Organization/Org1", action="correct"), {"action": [concept(ACTION, "access")]}, (False, False)),
    (ask(), {"actor": [org("Org1", "PRCP")]}, (False, False)),
]


@pytest.mark.parametrize(("request_", "elements", "expected"), REQUESTS)
def test_d3_a_request_with_an_unknown_purpose_or_action_is_in_doubt_too(request_, elements, expected):
    assert matches(elements, request_) == expected


DATA_PERIODS = [
    ({"start": "2026-05", "end": "2026-05"}, "2026-05-01", (True, True)),
    ({"start": "2026-05", "end": "2026-05"}, "2026", (False, True)),
    ({"start": "2026-05"}, "2026-04-30", (False, False)),
    ({"end": "2026-05-01"}, "2026-05-01", (True, True)),
    ({"end": "2026-05-01"}, "2026-05-02", (False, False)),
]


@pytest.mark.parametrize(("period", "date", "expected"), DATA_PERIODS)
def test_a_permit_needs_data_wholly_within_and_a_denial_only_overlapping(period, date, expected):
    assert matches({"dataPeriod": period}, of=record(date=date)) == expected
