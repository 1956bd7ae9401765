"""AuditEvents follow the patterns of IHE BALP 1.1, and auditors find them by every search parameter of R4."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from fhir_server.audit.event import Outcome, Touched, audit_event
from fhir_server.audit.happenings import Direction, Step, consent_step, consent_step_refused, transfer
from fhir_server.definitions.registry import registry
from fhir_server.validation.structure import check
from tests.audit.logs import DOCTOR
from tests.consent_engine.build import actor, consent, permit
from tests.live import Live

Json = dict[str, Any]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
SOURCE, DESTINATION, USER, INSTITUTION = "110153", "110152", "IRCP", "PROV"
LOOPBACK = "127.0.0.1"

# The interaction; its action; whether the client is where the data goes; the roles of what is told of as System Object.
PATTERNS = {
    "read": ("R", True, ["4"]),
    "vread": ("R", True, ["4"]),
    "search-type": ("E", False, ["24"]),
    "create": ("C", False, ["4"]),
    "update": ("U", False, ["4"]),
    "delete": ("D", False, ["4"]),
}


@pytest.fixture(scope="module")
def told(server: Live) -> dict[str, Json]:
    """By interaction, the event of a request that org2's doctor makes, whom a Consent lets in."""
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": "张"}]}
    server.put(patient)
    let_in = consent(permit(actor=[actor("Organization/org2")]))
    let_in |= {"id": "c1", "patient": {"reference": "Patient/p1"}, "category": [{"text": "x"}]}
    server.put(let_in)
    with server.system() as emr:
        made = emr.post("Patient", json={**patient, "id": "x"}).json()
        emr.put(f"Patient/{made['id']}", json={**made, "gender": "male"})
        emr.delete(f"Patient/{made['id']}")
    with server.client("practitioner", "Practitioner/guest", "org2", client_id="chart") as guest:
        assert guest.get("Patient/p1").status_code == 200
        assert guest.get("Patient/p1/_history/1").status_code == 200
        assert guest.get("Patient?_id=p1").json()["total"] == 1
    found = [*events(server, "org1", agent="Device/emr-org1"), *events(server, "org2", agent="Practitioner/guest")]
    return {each["subtype"][0]["code"]: each for each in found}


def events(server: Live, organization: str, **asked: str) -> list[Json]:
    with auditor(server, organization) as client:
        return [each["resource"] for each in client.get("AuditEvent", params=asked).json().get("entry", ())]


def auditor(server: Live, organization: str = "org1", user: str = "Practitioner/auditor") -> httpx.Client:
    return server.client("auditor", user, organization)


def agents(event: Json) -> dict[str, Json]:
    """Return the agents by the code of their type; there is one of each."""
    found = {each["type"]["coding"][0]["code"]: each for each in event["agent"]}
    assert len(found) == len(event["agent"])
    return found


@pytest.mark.parametrize("interaction", PATTERNS)
def test_an_interaction_names_user_institution_client_and_server(told: dict[str, Json], interaction: str) -> None:
    event, (action, receives, _) = told[interaction], PATTERNS[interaction]
    assert (event["type"]["code"], event["action"], event["outcome"]) == ("rest", action, "0")
    found = agents(event)
    client, server = found[DESTINATION if receives else SOURCE], found[SOURCE if receives else DESTINATION]
    assert set(found) == {USER, INSTITUTION, SOURCE, DESTINATION}
    assert client["network"] == {"address": LOOPBACK, "type": "2"}
    assert client["who"]
    assert server["who"]
    assert server["network"]
    assert [each["requestor"] for each in event["agent"]] == [True, False, False, False]
    assert "network" not in found[USER]
    assert "media" not in str(event["agent"])


@pytest.mark.parametrize("interaction", PATTERNS)
def test_an_interaction_has_one_system_object_and_one_patient(told: dict[str, Json], interaction: str) -> None:
    entities = told[interaction]["entity"]
    objects = [each for each in entities if each["type"]["code"] == "2"]
    assert [each["role"]["code"] for each in objects] == PATTERNS[interaction][2]
    assert [each["role"]["code"] for each in entities if each["type"]["code"] == "1"] == ["1"]
    if interaction == "search-type":
        assert base64.b64decode(objects[0]["query"]) == b"Patient?_id=p1"
        assert "what" not in objects[0]


def test_the_client_is_named_as_it_is_registered(told: dict[str, Json]) -> None:
    assert agents(told["search-type"])[SOURCE]["who"] == {"identifier": {"value": "chart"}}


def test_the_consent_that_decided_is_an_entity_of_its_type(told: dict[str, Json]) -> None:
    (found,) = [each for each in told["read"]["entity"] if each["type"]["code"] == "Consent"]
    assert found["what"]["reference"] == "Consent/c1/_history/1"
    assert found["role"]["code"] == "12"


def test_where_a_request_came_from_is_found_by_the_address(server: Live, told: dict[str, Json]) -> None:
    assert told["read"]["id"] in [each["id"] for each in events(server, "org2", address="127.0.")]
    assert events(server, "org2", address="10.") == []


# By parameter: what finds the event of the guest's read. Those that no event has a value for are found missing.
ASKED = {
    "_id": "{id}",
    "_lastUpdated": "{recorded}",
    "action": "R",
    "address": LOOPBACK,
    "agent": "Practitioner/guest",
    "agent-role": "practitioner",
    "altid": "{token}",
    "date": "{recorded}",
    "entity": "Patient/p1",
    "entity-role": "http://terminology.hl7.org/CodeSystem/object-role|4",
    "entity-type": "http://terminology.hl7.org/CodeSystem/audit-entity-type|2",
    "outcome": "0",
    "patient": "Patient/p1",
    "subtype": "http://hl7.org/fhir/restful-interaction|read",
    "type": "http://terminology.hl7.org/CodeSystem/audit-event-type|rest",
}
OTHER = {"date": "1999-01-01", "_lastUpdated": "1999-01-01", "agent": "Practitioner/other", "patient": "Patient/other"}
MISSING = {"agent-name", "entity-name", "policy", "site"}
OF_EVERY_RESOURCE = {"_profile", "_security", "_source", "_tag"}


def test_every_parameter_of_r4_is_asked() -> None:
    assert set(registry().parameters("AuditEvent")) == {*ASKED, *MISSING, *OF_EVERY_RESOURCE, "source"}


@pytest.mark.parametrize("param", ASKED)
def test_an_auditor_finds_an_event_by_each_parameter(server: Live, told: dict[str, Json], param: str) -> None:
    event = told["read"]
    value = ASKED[param].format(id=event["id"], recorded=event["recorded"], token=event["agent"][0]["altId"])
    assert [each["id"] for each in events(server, "org2", **{param: value, "_id": event["id"]})] == [event["id"]]
    if param != "_id":
        assert events(server, "org2", **{param: OTHER.get(param, "another"), "_id": event["id"]}) == []


@pytest.mark.parametrize("param", sorted(MISSING))
def test_what_no_event_tells_is_missing(server: Live, told: dict[str, Json], param: str) -> None:
    event = told["read"]
    assert events(server, "org2", **{f"{param}:missing": "true", "_id": event["id"]})
    assert not events(server, "org2", **{f"{param}:missing": "false", "_id": event["id"]})


def test_the_source_of_every_event_is_this_server_which_is_no_resource(server: Live, told: dict[str, Json]) -> None:
    event = told["read"]
    assert events(server, "org2", **{"source:missing": "false", "_id": event["id"]})
    assert not events(server, "org2", source="Device/other", _id=event["id"])


def test_what_an_auditor_reads_is_audited(server: Live, told: dict[str, Json]) -> None:
    user, event = "Practitioner/curious", told["read"]["id"]
    with auditor(server, "org2", user) as client:
        client.get("AuditEvent", params={"patient": "Patient/p1"})
        client.get(f"AuditEvent/{event}")
        client.get("AuditEvent/nowhere")
    found = events(server, "org2", agent=user, _sort="date")
    assert [(each["subtype"][0]["code"], each["outcome"]) for each in found] == [
        ("search-type", "0"),
        ("read", "0"),
        ("read", "4"),
    ]
    (query,) = [each["query"] for each in found[0]["entity"] if "query" in each]
    assert base64.b64decode(query) == b"AuditEvent?patient=Patient%2Fp1"
    assert f"AuditEvent/{event}" in str(found[1]["entity"])


CONSENT = Touched("Consent/c1/_history/2", "org1", ("p1",))
RECORD = Touched("Observation/o1/_history/1", "org1", ("p1",))
HAPPENINGS = {
    **{f"consent-{step}": consent_step(step, CONSENT, note="sms") for step in Step},
    "refused": consent_step_refused(Step.VERIFIED, CONSENT, 422),
    "transfer": transfer(Direction.OUT, [RECORD], "province"),
    "transfer-in": transfer(Direction.IN, [RECORD], "province", done=False, note="timeout"),
}


@pytest.mark.parametrize("name", HAPPENINGS)
def test_steps_of_authorizations_and_transfers_are_events_of_their_kind(name: str) -> None:
    event = audit_event(HAPPENINGS[name], DOCTOR, id="e1", at=1_000_000)
    check(event, served=registry().types)
    expected = {
        "transfer": ("110106", "disclose"),
        "transfer-in": ("110107", "disclose"),
        "refused": ("110113", "consent-verified"),
    }
    assert (event["type"]["code"], event["subtype"][0]["code"]) == expected.get(name, ("110113", name))
    assert event["entity"][1]["what"]["reference"] == "Patient/p1"
    if name.startswith("transfer"):
        assert "partner province" in event["outcomeDesc"]
        assert event["outcome"] == (Outcome.DONE if name == "transfer" else Outcome.FAILED).value
