"""Masked elements (consent.md, D18 and T22; FHIR R4 data-absent-reason)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.redaction.elements import masked
from fhir_server.redaction.marks import REDACTED

Json = dict[str, Any]
REASON = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
LABELLED = {"meta": {"security": [REDACTED]}}
TEXT = {"status": "generated", "div": "<div>555</div>"}


def of(type: str, **elements: Any) -> Json:
    return {"resourceType": type, "id": "1", **elements}


# element; resource before; after, the label aside
CASES = [
    ("Patient.telecom", of("Patient", telecom=[{"value": "555"}]), of("Patient", telecom=[REASON])),
    ("Patient.telecom", of("Patient"), of("Patient", telecom=[REASON])),
    ("Patient.telecom", of("Patient", text=TEXT, active=True), of("Patient", active=True, telecom=[REASON])),
    (
        "Patient.birthDate",
        of("Patient", birthDate="1980-01-01", _birthDate={"extension": [{"url": "urn:time", "valueTime": "10:00:00"}]}),
        of("Patient", _birthDate=REASON),
    ),
    ("Patient.deceased", of("Patient", deceasedDateTime="2020"), of("Patient", _deceasedBoolean=REASON)),
    ("Patient.deceasedDateTime", of("Patient", deceasedBoolean=False), of("Patient", _deceasedBoolean=REASON)),
    (
        "Patient.contact.telecom",
        of("Patient", contact=[{"telecom": [{"value": "1"}], "gender": "male"}, {"gender": "female"}]),
        of("Patient", contact=[{"gender": "male", "telecom": [REASON]}, {"gender": "female", "telecom": [REASON]}]),
    ),
    (
        "Patient.name.given",
        of("Patient", name=[{"family": "张", "given": ["三"], "_given": [{"id": "g"}]}]),
        of("Patient", name=[{"family": "张", "_given": [REASON]}]),
    ),
    (
        "Patient.extension",
        of("Patient", extension=[{"url": "urn:race", "valueString": "x"}]),
        of("Patient"),
    ),
    ("Patient.text", of("Patient", text=TEXT), of("Patient")),
    ("Patient.contained", of("Patient", contained=[of("Organization")]), of("Patient")),
    ("Patient.managingOrganization", of("Patient"), of("Patient", managingOrganization=REASON)),
    ("Observation.status", of("Observation", status="final"), of("Observation", _status=REASON)),
    (
        "Observation.component.value.code",
        of("Observation", component=[{"valueQuantity": {"value": 1, "code": "mg"}}, {"valueString": "x"}]),
        of("Observation", component=[{"valueQuantity": {"value": 1, "_code": REASON}}, {"valueString": "x"}]),
    ),
    (
        "Questionnaire.item.item.text",
        of("Questionnaire", item=[{"text": "1", "item": [{"text": "2", "item": [{"text": "3"}]}]}]),
        of("Questionnaire", item=[{"text": "1", "item": [{"_text": REASON, "item": [{"text": "3"}]}]}]),
    ),
]


@pytest.mark.parametrize(("element", "before", "after"), CASES)
def test_an_element_leaves_and_says_why(element: str, before: Json, after: Json) -> None:
    assert masked(registry(), before, [element]) == {**after, **LABELLED}


@pytest.mark.parametrize(("element", "before", "after"), CASES)
def test_what_is_masked_twice_is_masked(element: str, before: Json, after: Json) -> None:
    once = masked(registry(), before, [element])
    assert masked(registry(), once, [element]) == once


def test_a_value_leaves_for_the_reason_that_the_resource_has_for_it() -> None:
    before = of("Observation", valueQuantity={"value": 3}, component=[{"code": {"text": "x"}, "valueString": "y"}])
    after = masked(registry(), before, ["Observation.value", "Observation.component.value"])
    reason = after["dataAbsentReason"]["coding"][0]
    assert (reason["system"].rpartition("/")[2], reason["code"]) == ("data-absent-reason", "masked")
    assert "valueQuantity" not in after
    assert after["component"] == [{"code": {"text": "x"}, "dataAbsentReason": after["dataAbsentReason"]}]


@pytest.mark.parametrize("order", [1, -1])
def test_overlapping_elements_leave_whatever_their_order(order: int) -> None:
    """medplum#3332: of two rules that overlap the wrong one won."""
    elements = ["Patient.contact", "Patient.contact.telecom"][::order]
    before = of("Patient", contact=[{"telecom": [{"value": "1"}], "name": {"text": "A"}}])
    assert masked(registry(), before, elements)["contact"] == [REASON]


def test_what_a_resource_of_another_type_contains_is_masked_and_its_container_says_so() -> None:
    held = {"resourceType": "Patient", "id": "p", "telecom": [{"value": "555"}], "text": TEXT}
    before = of("Observation", text=TEXT, contained=[held, {"resourceType": "Device", "id": "d"}], status="final")
    after = masked(registry(), before, ["Patient.telecom"])
    assert after == {
        **of("Observation", status="final", **LABELLED),
        "contained": [
            {"resourceType": "Patient", "id": "p", "telecom": [REASON]},
            {"resourceType": "Device", "id": "d"},
        ],
    }


def test_what_was_contained_for_the_sake_of_what_is_withheld_goes_with_it() -> None:
    maker, medicine, other = (
        {"resourceType": "Organization", "id": "maker"},
        {"resourceType": "Medication", "id": "m", "manufacturer": {"reference": "#maker"}},
        {"resourceType": "Practitioner", "id": "dr"},
    )
    said = {"medicationReference": {"reference": "#m"}, "requester": {"reference": "#dr"}}
    before = of("MedicationRequest", contained=[medicine, maker, other], **said)
    after = masked(registry(), before, ["MedicationRequest.medication"])
    assert after["contained"] == [other]
    assert "contained" not in masked(registry(), after, ["MedicationRequest.requester"])
    # One to which something else refers as well stays.
    before["reasonReference"] = [{"reference": "#maker"}]
    assert masked(registry(), before, ["MedicationRequest.medication"])["contained"] == [maker, other]


@pytest.mark.parametrize("resource", [of("Observation"), of("Observation", contained=[of("Device")])])
def test_what_no_element_bears_on_stays_the_same_object(resource: Json) -> None:
    assert masked(registry(), resource, ["Patient.telecom"]) is resource
    assert masked(registry(), resource, []) is resource


def test_the_resource_that_was_given_is_not_changed_and_its_labels_stay() -> None:
    label = {"system": "urn:s", "code": "R"}
    before = of("Patient", meta={"versionId": "3", "security": [label]}, contact=[{"telecom": [{"value": "1"}]}])
    copy = {**before, "contact": [{"telecom": [{"value": "1"}]}]}
    after = masked(registry(), before, ["Patient.contact.telecom"])
    assert before == copy
    assert after["meta"] == {"versionId": "3", "security": [label, REDACTED]}
