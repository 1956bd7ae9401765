"""What the store keeps beside a sealed body so that references can be followed backwards."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import registry
from fhir_server.store.drafts import earlier
from fhir_server.store.shadow import Membership, Shadows
from fhir_server.store.terms import contained_term, self_term
from tests.search.reading import BASE, PROJECT

TOKENS = Tokens(bytes(32))
SHADOWS = Shadows(registry(), PROJECT, TOKENS, TOKENS.of("label"), base_url=BASE)
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"versionId": "1"},
    "contained": [{"resourceType": "Practitioner", "id": "a"}, {"resourceType": "Practitioner", "id": "b"}],
    "subject": {"reference": f"{BASE}/Patient/1"},
    "performer": [{"reference": "Practitioner/9"}, {"reference": "#a"}, {"reference": "Practitioner/8/_history/1"}],
}


def shadow(resource: dict[str, Any]) -> dict[str, Any]:
    return SHADOWS.of(resource, at=0, custodian="org1", members=Membership(), labels=(), extra=())


def test_a_resource_is_filed_under_itself_and_under_what_it_contains() -> None:
    found = shadow(OBSERVATION)["ix"]
    assert {TOKENS(self_term("Observation/o1")), TOKENS(contained_term("Practitioner"))} <= set(found)
    assert TOKENS(contained_term("Patient")) not in found
    assert shadow(OBSERVATION)["ix"] == SHADOWS.index(OBSERVATION)["ix"]


def test_what_a_resource_leads_to_bears_the_term_of_what_it_leads_to() -> None:
    patient = TOKENS(self_term("Patient/1"))
    performers = sorted(TOKENS(self_term(f"Practitioner/{id}")) for id in (8, 9))
    assert shadow(OBSERVATION)["to"] == {"subject": [patient], "patient": [patient], "performer": performers}
    assert patient in shadow({"resourceType": "Patient", "id": "1", "meta": {"versionId": "1"}})["ix"]


def test_an_audit_event_is_not_filed_under_itself_but_leads_on() -> None:
    event = {
        "resourceType": "AuditEvent",
        "id": "e1",
        "meta": {"versionId": "1"},
        "entity": [{"what": {"reference": "Patient/1"}}],
    }
    assert TOKENS(self_term("AuditEvent/e1")) not in shadow(event)["ix"]
    assert shadow(event)["to"]["entity"] == [TOKENS(self_term("Patient/1"))]


@pytest.mark.parametrize("id", ["o1", "o2"])
def test_the_history_keeps_nothing_that_only_searches_look_at(id: str) -> None:
    document = shadow({**OBSERVATION, "id": id, "effectiveDateTime": "2024", "valueQuantity": {"value": 1}})
    assert {"ix", "has", "r", "s", "to"} <= document.keys()
    assert not earlier(document).keys() & {"ix", "has", "r", "s", "to", "g"}


def test_positions_and_second_stretches_are_kept_as_numbers() -> None:
    place = {
        "resourceType": "Location",
        "id": "l",
        "meta": {"versionId": "1"},
        "position": {"latitude": 1, "longitude": 2},
    }
    assert shadow(place)["g"] == {"near": [[2.0, 1.0]]}
    sequence = {
        "resourceType": "MolecularSequence",
        "id": "m",
        "meta": {"versionId": "1"},
        "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}, "windowStart": 3, "windowEnd": 7},
    }
    (span,) = shadow(sequence)["r"]["chromosome-window-coordinate"]
    assert {name: span[name] for name in ("lo", "hi", "lo2", "hi2")} == {"lo": 3, "hi": 3, "lo2": 7, "hi2": 7}
