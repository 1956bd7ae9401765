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
    OBLIGATION,
    PARTICIPATION,
    SCOPE,
    TYPES,
    coding,
    obligation,
    record,
)

PEOPLE = ["Practitioner/Dr1", "Practitioner/Dr2", "Organization/Org1", "Organization/Org2"]
TEAMS = ["Group/1", "CareTeam/1"]
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
    [*PEOPLE, *TEAMS, "https://example.org/fhir/Practitioner/Dr1/_history/3"],
    ["#contained", "Practitioner?identifier=1"],
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
        {"meaning": meaning, "reference": {"reference": reference}}
        for meaning, reference in [
            ("instance", "Observation/1"),
            ("authoredby", "Practitioner/Dr1"),
            ("dependents", "Encounter/1"),
            ("dependents", "Observation/2"),
            ("related", "Encounter/1"),
        ]
    ],
    [{"meaning": "derived", "reference": {"reference": "Observation/1"}}, {"meaning": "instance", "reference": {}}],
)
obligations = sampled(
    [obligation("REDACT", "Patient.telecom"), obligation("MASK", "Observation.value")],
    [
        {"url": "urn:x"},
        obligation("ENCRYPT", "Patient.name"),
        obligation("REDACT", "telecom"),
        obligation("REDACT", "Patient.meta"),
        {**obligation("MASK", "Patient.name"), "valueBoolean": True},
        {"url": OBLIGATION, "extension": obligation("MASK", "Patient.name")["extension"] * 2},
    ],
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
    "extension": some(obligations),
}


@st.composite
def provisions(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(sorted(optional)), max_size=2, unique=True))
    found: dict[str, Any] = {name: draw(optional[name]) for name in chosen}
    if chosen and draw(sampled([False], [True])):
        found[chosen[0]] = []  # not allowed in FHIR, and not the same as absent
    if draw(sampled([True], [False])):
        found["type"] = draw(st.sampled_from(["permit", "deny"]))
    surprise = draw(sampled([None], ["_type", "modifierExtension", "expression"]))
    if surprise:
        found[surprise] = [{"url": "urn:x"}]
    if draw(st.integers(0, 7)) == 7:
        found["extension"] = draw(some(obligations))
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
    if draw(st.booleans()):
        found["dateTime"] = draw(sampled(DATES, ["yesterday"]))
    if draw(st.booleans()):
        found |= {"patient": {"reference": PATIENT}, "performer": draw(st.lists(performers, max_size=2))}
    return found


PATIENT = "Patient/p"
performers = sampled(
    [f"RelatedPerson/{name}" for name in ("mother", "guardian", "former", "attorney")]
    + [PATIENT, "Practitioner/Dr1", "RelatedPerson/mother"],
    ["Patient/other", "#contained", "RelatedPerson/of-another"],
).map(lambda text: {"reference": text})


def related_person(of: str = PATIENT, relationship: str = "MTH", **more: Any) -> dict[str, Any]:
    kind = {"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-RoleCode", relationship)]}
    return {"resourceType": "RelatedPerson", "patient": {"reference": of}, "relationship": [kind], **more}


def _members(element: str, *references: str) -> list[dict[str, Any]]:
    return [{element: {"reference": each}} for each in references]


def group(*members: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Group", "actual": True, "member": _members("entity", *members), **more}


def team(*members: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "CareTeam", "status": "active", "participant": _members("member", *members), **more}


DR1 = "Practitioner/Dr1"
BIRTHS = ["2010-01-01", "2008-06-15", "2008-06-16", "2008", "2008-06", "2004-02-29", "soon"]
# Of every resource that the random Consents may rest on, the forms in which it may be found; None: it is not there.
FACTS: dict[str, list[dict[str, Any] | None]] = {
    "Group/1": [group(DR1), group(DR1), group(DR1, active=False), group(DR1, actual=False), group("Group/2"), None],
    "CareTeam/1": [team(DR1), team(DR1, PEOPLE[2]), team(DR1, status="inactive"), team(), None],
    "Encounter/1": [{"resourceType": "Encounter", "partOf": {"reference": "Observation/2"}}] * 4 + [None],
    PATIENT: [{"resourceType": "Patient", "birthDate": each} for each in BIRTHS] + [{"resourceType": "Patient"}, None],
    "RelatedPerson/mother": [related_person()] * 4 + [related_person(implicitRules="urn:x"), None],
    "RelatedPerson/guardian": [related_person(relationship="GUARD")] * 4 + [None],
    "RelatedPerson/former": [related_person(active=False), related_person(active="no")],
    "RelatedPerson/attorney": [
        related_person(relationship="POWATT", period={"start": start, "end": end})
        for start in ("2025-02", "2026-06-15")
        for end in ("2026-06-15", "2026-06-15T12:00:00Z", "2027", "soon")
    ],
    "RelatedPerson/of-another": [related_person("Patient/other")],
}
facts = st.fixed_dictionaries({name: st.sampled_from(forms) for name, forms in FACTS.items()}).map(
    lambda found: {name: each for name, each in found.items() if each is not None}
)

requests = st.builds(
    AccessRequest,
    st.frozensets(st.sampled_from(PEOPLE + TEAMS), min_size=1, max_size=3),
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
    refers=st.lists(st.sampled_from(["Encounter/1", "Observation/2"]), max_size=1),
    custodian=st.sampled_from(["Org1", "Org2"]),
    date=st.sampled_from(DATES),
)
authorities = st.sampled_from([None, None, "Org1", "Org2"])
