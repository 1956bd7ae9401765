"""What every AuditEvent of this server keeps to: IHE BALP 1.1 on FHIR R4 AuditEvent."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from fhir_server.definitions.registry import registry
from fhir_server.validation.structure import check

Json = dict[str, Any]
USER, INSTITUTION = "IRCP", "PROV"
# BALP, Basic/OAUTH patterns: a client and a server; DICOM's source, destination and application, IUA's authorization service.
CLIENTS, SERVERS = {"110150", "110152", "110153"}, {"110152", "110153", "AuthzOauthService"}
PATIENT, DATA, QUERY, CONSENT, BASIS = "1", "4", "24", "12", "13"


def code_of(agent: Mapping[str, Any]) -> str:
    return str(agent["type"]["coding"][0]["code"]) if "type" in agent else ""


def conforms(event: Json) -> None:
    """Assert that an event is built as BALP has it."""
    check(event, served=registry().types)
    assert event["type"]["system"]
    (subtype,) = event["subtype"]
    assert subtype["system"]
    assert event["action"] in "CRUDE"
    assert event["recorded"] == event["meta"]["lastUpdated"]
    assert event["outcome"] in ("0", "4", "8", "12")
    assert event["outcome"] == "0" or event["outcomeDesc"].startswith("HTTP ")
    assert event["source"]["observer"]
    _agents(event)
    for each in event.get("entity", ()):
        _entity(each)


def _agents(event: Json) -> None:
    (asked,) = [each for each in event["agent"] if each["requestor"]]
    machines = [each for each in event["agent"] if "network" in each or code_of(each) in CLIENTS | SERVERS]
    assert code_of(machines[-1]) in SERVERS
    assert all(code_of(each) in CLIENTS for each in machines[:-1])
    assert len(machines) <= 2
    assert all(each["who"] for each in event["agent"])
    if "reference" not in asked["who"]:  # nobody known: a stranger, or the command line
        assert asked["who"] == {"display": "unknown"}
        return
    assert code_of(asked) == USER
    assert asked["role"][0]["coding"][0]["code"]
    (behalf,) = [each for each in event["agent"] if code_of(each) == INSTITUTION]
    assert behalf["who"]["reference"].startswith("Organization/")
    (purpose,) = event["purposeOfEvent"]
    assert purpose["coding"][0]["code"]


def _entity(entity: Json) -> None:
    role, type = entity["role"]["code"], entity["type"]["code"]
    match role:
        case "1":
            assert type == "1"
            assert entity["what"]["reference"].startswith("Patient/")
        case "24":
            assert (type, "what" in entity) == ("2", False)
            assert base64.b64decode(entity["query"], validate=True).decode()
        case "4":
            assert type == "2" or type == entity["what"]["reference"].partition("/")[0]
        case "12":
            assert type == "Consent"
            assert entity["detail"][0]["valueString"]
        case "13":
            assert entity["detail"]
        case _:
            raise AssertionError(f"an entity of the role {role}")


def named(event: Json, role: str) -> list[str]:
    """Return what an event names in a role; of a query its text."""
    found = [each for each in event.get("entity", ()) if each["role"]["code"] == role]
    return [each["what"]["reference"] if "what" in each else base64.b64decode(each["query"]).decode() for each in found]
