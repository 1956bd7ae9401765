"""Random Consents, requests and records from small pools, so that they meet often; broken parts included."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from consent_engine.rules import AccessRequest
from tests.consent_engine.build import (
    ACT_CODE,
    ACT_REASON,
    ACTION,
    CONFIDENTIALITY,
    LOINC,
    PARTICIPATION,
    SCOPE,
    TYPES,
    coding,
    record,
)

PEOPLE = ["Practitioner/Dr1", "Practitioner/Dr2", "Organization/Org1", "Organization/Org2"]
DATES = ["2025", "2026-05", "2026-06-15", "2026-06-15T12:00:00Z", "2026-06-15T14:00:00.5+02:00", "2027-01-01"]
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
PROFILE = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
CODES = [f"{LOINC}|1", f"{LOINC}|2", "urn:x|1"]
SENSITIVITIES = [(ACT_CODE, code) for code in ("HIV", "PSY", "SUD", "ETHUD")] + [("urn:x", "secret")]


def sampled(good: list[Any], bad: list[Any]) -> st.SearchStrategy[Any]:
    """Mostly one of the good, one time in about twenty one of the bad."""
    return st.sampled_from(good * (20 * len(bad) // len(good) + 1) + bad)


def some(each: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(each, min_size=1, max_size=2)


roles = sampled(
    [coding(PARTICIPATION, code) for code in ("PRCP", "IRCP", "PRCP", "CST", "AUT")]
    + [coding("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "GRANTEE"), coding("urn:x", "PROV")],
    [coding("urn:x", "y"), coding(PARTICIPATION, "ENT"), {"code": "PRCP"}],
)
references = sampled(
    [*PEOPLE, "https://example.org/fhir/Practitioner/Dr1/_history/3"], ["#contained", "Practitioner?identifier=1"]
).map(lambda text: {"reference": text})
actors = st.builds(lambda role, reference: {"role": {"coding": [role]}, "reference": reference}, roles, references)
purposes = sampled(
    [coding(ACT_REASON, code) for code in ("TREAT", "TREAT", "ETREAT", "HRESCH", "PurposeOfUse")],
    [coding(ACT_REASON, "PAT"), {"code": "TREAT"}, coding("urn:x", "TREAT")],
)
actions = sampled(
    [{"coding": [coding(ACTION, code)]} for code in ("access", "use", "disclose", "collect", "correct")],
    [{"text": "read"}, {"coding": [coding("urn:x", "access")]}, {"coding": [coding(ACTION, "view")]}],
)
labels = sampled(
    [coding(CONFIDENTIALITY, code) for code in "LNRV"] + [coding(*each) for each in SENSITIVITIES],
    [coding(OBSERVATION_VALUE, "SUBSETTED"), {"code": "R"}, coding(CONFIDENTIALITY, "r"), coding(ACT_CODE, "HIVV")],
)
classes = sampled(
    [coding(TYPES, "Observation"), coding(TYPES, "Condition"), coding("urn:ietf:rfc:3986", PROFILE)]
    + [coding("http://hl7.org/fhir/StructureDefinition", name) for name in ("vitalsigns", "Observation")]
    + [coding(*CODES[0].split("|"))],
    [coding(TYPES, "Resource"), {"code": "Observation"}],
)
codes = sampled(
    [{"coding": [coding(*each.split("|"))]} for each in CODES], [{"text": "sodium"}, {"coding": [{"code": "1"}]}]
)
data = sampled(
    [
        {"meaning": "instance", "reference": {"reference": "Observation/1"}},
        {"meaning": "authoredby", "reference": {"reference": "Practitioner/Dr1"}},
    ],
    [{"meaning": "related", "reference": {"reference": "Observation/1"}}, {"meaning": "instance", "reference": {}}],
)
periods = st.fixed_dictionaries({}, optional={name: sampled(DATES, ["soon"]) for name in ("start", "end")})

optional = {
    "actor": some(actors),
    "purpose": some(purposes),
    "action": some(actions),
    "securityLabel": some(labels),
    "class": some(classes),
    "code": some(codes),
    "data": some(data),
    "period": periods,
    "dataPeriod": periods,
}


@st.composite
def provisions(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(sorted(optional)), max_size=2, unique=True))
    found: dict[str, Any] = {name: draw(optional[name]) for name in chosen}
    if chosen and draw(sampled([False], [True])):
        found[chosen[0]] = []  # not allowed in FHIR, and not the same as absent
    if draw(sampled([True], [False])):
        found["type"] = draw(st.sampled_from(["permit", "deny"]))
    surprise = draw(sampled([None], ["extension", "modifierExtension", "expression"]))
    if surprise:
        found[surprise] = [{"url": "urn:x"}]
    if depth < 3:
        nested = draw(st.lists(provisions(depth + 1), max_size=2 if depth else 3))
        found.update({"provision": nested} if nested else {})
    return found


rules = [coding(ACT_CODE, code) for code in ("OPTIN", "OPTINR", "OPTOUT", "OPTOUTE", "HIPAANOPP")] + [
    {"code": "OPTOUT"}
]


@st.composite
def consents(draw: st.DrawFn) -> dict[str, Any]:
    scope = draw(sampled(["patient-privacy"], ["research", "treatment"]))
    found = {"status": draw(sampled(["active"], ["inactive"])), "scope": {"coding": [coding(SCOPE, scope)]}}
    if draw(sampled([True], [False])):
        found["provision"] = draw(provisions())
    if draw(st.integers(0, 3)) == 3:
        found["policyRule"] = {"coding": draw(st.lists(st.sampled_from(rules), min_size=1, max_size=2))}
        if draw(st.booleans()):
            found.get("provision", {}).pop("type", None)
    if draw(sampled([False], [True])):
        found["modifierExtension"] = [{"url": "urn:x"}]
    return found


requests = st.builds(
    AccessRequest,
    st.frozensets(st.sampled_from(PEOPLE), min_size=1, max_size=3),
    sampled(["TREAT", "ETREAT", "BTG", "HRESCH", "CLINTRCH"], ["mine"]),
    st.sampled_from(["access", "access", "access", "correct"]),
    st.booleans(),
)
instants = st.sampled_from(
    [datetime(2026, 6, 15, 12, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC), datetime(2026, 6, 16, tzinfo=UTC)]
)
records = st.builds(
    record,
    st.sampled_from(["Observation/1", "Observation/2", "Condition/1"]),
    labels=st.lists(st.sampled_from([(CONFIDENTIALITY, code) for code in "LNRV"] + SENSITIVITIES), max_size=2),
    codes=st.lists(st.sampled_from(CODES), max_size=2),
    profiles=st.lists(st.just(PROFILE), max_size=1),
    authors=st.lists(st.sampled_from(PEOPLE[:2]), max_size=1),
    custodian=st.sampled_from(["Org1", "Org2"]),
    date=st.sampled_from(DATES),
)
authorities = st.sampled_from([None, None, "Org1", "Org2"])
