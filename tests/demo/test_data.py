"""Demo data: valid, closed under its references, the same on every call, and about nobody real."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.demo import DEMO_PATIENT_A, DEMO_PATIENT_B, HOSPITAL_A, HOSPITAL_B, consent, resources
from fhir_server.resident_id import resident_id
from fhir_server.validation.structure import check

DATA = {institution: list(resources(institution)) for institution in (HOSPITAL_A, HOSPITAL_B)}
ALL = [resource for made in DATA.values() for resource in made]
PERMIT = consent(start=datetime(2026, 6, 1, tzinfo=UTC), end=datetime(2027, 6, 1, tzinfo=UTC))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(found := value.get("reference"), str):
            yield found
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def key(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def test_every_resource_is_valid() -> None:
    for resource in [*ALL, PERMIT]:
        check(resource, served=registry().types)


def test_it_is_of_a_size_to_show_and_has_every_kind() -> None:
    assert 1500 <= len(ALL) <= 2500
    kinds = Counter(resource["resourceType"] for resource in ALL)
    assert kinds["Patient"] == 24
    assert kinds.keys() >= {
        "Organization", "Practitioner", "PractitionerRole", "Encounter", "Condition", "Observation", "DiagnosticReport",
        "MedicationRequest", "AllergyIntolerance", "Immunization", "RelatedPerson", "Composition", "DocumentReference",
    }  # fmt: skip


def test_ids_are_unique_over_both_hospitals() -> None:
    assert len({key(resource) for resource in ALL}) == len(ALL)


@pytest.mark.parametrize("institution", DATA)
def test_references_stay_within_the_hospital_and_look_back(institution: str) -> None:
    there: set[str] = set()
    for resource in DATA[institution]:
        assert set(references(resource)) <= there, key(resource)
        there.add(key(resource))
    assert {f"Practitioner/{id}" for id in {HOSPITAL_A: ["dr-zhang"], HOSPITAL_B: ["dr-li"]}[institution]} <= there


def test_it_is_the_same_on_every_call() -> None:
    assert {institution: list(resources(institution)) for institution in DATA} == DATA


def test_some_persons_are_known_to_both_hospitals() -> None:
    numbers = {
        at: {r["id"]: resident_id(r) for r in made if r["resourceType"] == "Patient"} for at, made in DATA.items()
    }
    assert all(len(set(of.values())) == len(of) and all(of.values()) for of in numbers.values())
    assert len(set(numbers[HOSPITAL_A].values()) & set(numbers[HOSPITAL_B].values())) == 6
    assert numbers[HOSPITAL_A][DEMO_PATIENT_A] == numbers[HOSPITAL_B][DEMO_PATIENT_B]
    assert DEMO_PATIENT_A not in json.dumps(DATA[HOSPITAL_B])


def test_nobody_real_can_be_meant() -> None:
    numbers = [str(resident_id(resource)) for resource in ALL if resource["resourceType"] == "Patient"]
    telephones = [telecom["value"] for resource in ALL for telecom in resource.get("telecom", ())]
    assert len(numbers) == 24
    assert all(number.startswith("110000") for number in numbers)
    assert telephones
    assert all(number.startswith("100") for number in telephones)


def test_sensitive_records_are_labelled_and_the_demo_patient_has_some() -> None:
    labels = Counter(
        label["code"]
        for resource in ALL
        for label in resource.get("meta", {}).get("security", ())
        if label["code"] != "R"
    )
    assert labels.keys() == {"HIV", "PSY"}
    for resource in ALL:
        if resource["resourceType"] == "Condition" and resource["code"]["coding"][0]["code"] in ("F32.9", "B24"):
            assert {label["code"] for label in resource["meta"]["security"]} & {"HIV", "PSY"}
    assert any(DEMO_PATIENT_A in json.dumps(resource) and "meta" in resource for resource in ALL)


def test_the_consent_permits_the_other_hospital_to_treat() -> None:
    assert PERMIT["status"] == "active"
    assert PERMIT["patient"] == {"reference": f"Patient/{DEMO_PATIENT_A}"}
    provision = PERMIT["provision"]
    assert provision["type"] == "permit"
    assert provision["actor"][0]["reference"] == {"reference": f"Organization/{HOSPITAL_B}"}
    assert provision["period"] == {"start": "2026-06-01T00:00:00+00:00", "end": "2027-06-01T00:00:00+00:00"}


def test_an_unknown_institution_has_nothing() -> None:
    with pytest.raises(KeyError):
        list(resources("hospital-c"))


def test_measurements_fit_the_person() -> None:
    child = [
        r for r in DATA[HOSPITAL_A] if r["resourceType"] == "Observation" and "pat-a-012" in r["subject"]["reference"]
    ]
    weights = [r["valueQuantity"]["value"] for r in child if r["code"]["coding"][0]["code"] == "29463-7"]
    assert weights
    assert max(weights) < 60
