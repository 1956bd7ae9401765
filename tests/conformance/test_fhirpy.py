"""fhirpy, a client for Python, against the running server: what its users do in a day."""

from __future__ import annotations

from typing import Any

import pytest
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

from tests.live import Live

SYSTEM = "http://example.org/mrn"


@pytest.fixture(scope="module")
def client(server: Live) -> SyncFHIRClient:
    token = server.token("system", "Device/emr", scope="system/*.cruds")
    made = SyncFHIRClient(server.base, authorization=f"Bearer {token}")
    for number in range(12):
        patient = made.resource(
            "Patient",
            name=[{"family": f"Family{number:02}", "given": ["Ann" if number % 2 else "Bo"]}],
            identifier=[{"system": SYSTEM, "value": f"p{number}"}],
            birthDate=f"19{50 + number}-01-01",
        )
        patient.save()
        for value in (number, 100 + number):
            made.resource(
                "Observation", status="final", code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                subject=patient.to_reference(), valueQuantity={"value": value, "unit": "/min"},
            ).save()  # fmt: skip
    return made


def patient(client: SyncFHIRClient, number: int) -> Any:
    return client.resources("Patient").search(identifier=f"{SYSTEM}|p{number}").get()


def test_create_read_update_and_delete(client: SyncFHIRClient) -> None:
    made = client.resource("Basic", code={"text": "first"})
    made.save()
    assert made.id
    read = client.reference("Basic", made.id).to_resource()
    assert read.serialize() == made.serialize()
    read["code"] = {"text": "second"}
    read.save()
    assert read.meta.versionId == "2"
    made.refresh()
    assert made.code.text == "second"
    read.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Basic", made.id).to_resource()


def test_a_resource_that_is_wrong_is_refused_with_an_outcome(client: SyncFHIRClient) -> None:
    with pytest.raises(OperationOutcome) as refused:
        client.resource("Observation", status="final").save()
    assert refused.value.resource["issue"][0]["code"] == "required"


def test_search_by_several_kinds_of_parameters(client: SyncFHIRClient) -> None:
    patients = client.resources("Patient")
    assert len(patients.search(given="ann").fetch_all()) == 6
    assert [each.birthDate for each in patients.search(birthdate__ge="1958", given="bo").sort("birthdate").fetch()] == [
        "1958-01-01", "1960-01-01",
    ]  # fmt: skip
    assert patients.search(family__exact="Family03").first().identifier[0].value == "p3"
    assert patients.search(family__exact="family03").first() is None
    with pytest.raises(MultipleResourcesFound):
        patients.search(given="ann").get()


def test_paging_goes_over_all_matches_once(client: SyncFHIRClient) -> None:
    found = client.resources("Observation").search(code="http://loinc.org|8867-4").sort("-_lastUpdated").limit(5)
    ids = [each.id for each in found]
    assert len(ids) == len({*ids}) == 24


def test_chains_reverse_chains_and_includes(client: SyncFHIRClient) -> None:
    observations = client.resources("Observation")
    assert len(observations.search(subject__Patient__family="Family07").fetch()) == 2
    assert [
        each.id for each in client.resources("Patient").has("Observation", "subject", value_quantity="105").fetch()
    ] == [patient(client, 5).id]
    page = observations.search(subject=patient(client, 4).to_reference().reference).include("Observation", "subject")
    assert sorted(each.resource.resourceType for each in page.fetch_raw().entry) == [
        "Observation",
        "Observation",
        "Patient",
    ]
    page = client.resources("Patient").search(_id=patient(client, 4).id).revinclude("Observation", "subject")
    assert sorted(each.resource.resourceType for each in page.fetch_raw().entry) == [
        "Observation",
        "Observation",
        "Patient",
    ]


def test_summaries_and_elements(client: SyncFHIRClient) -> None:
    found = client.resources("Patient").search(identifier=f"{SYSTEM}|p1").elements("birthDate").get()
    assert found.get("name") is None
    assert found.birthDate == "1951-01-01"


def test_counting_needs_lenient_handling_since_it_sends_a_parameter_of_its_own(
    server: Live, client: SyncFHIRClient
) -> None:
    with pytest.raises(OperationOutcome):  # _totalMethod is none of R4's
        client.resources("Patient").search(given="ann").count()
    lenient = SyncFHIRClient(
        server.base, authorization=client.authorization, extra_headers={"Prefer": "handling=lenient"}
    )
    assert lenient.resources("Patient").search(given="ann").count() == 6


def test_conditional_update_and_delete(client: SyncFHIRClient) -> None:
    named = client.resources("Patient").search(identifier=f"{SYSTEM}|new")
    resource = client.resource("Patient", identifier=[{"system": SYSTEM, "value": "new"}], gender="female")
    made, created = named.update(resource)
    assert (created, made.gender) == (True, "female")
    resource["gender"] = "male"
    changed, created = named.update(resource)
    assert (created, changed.id, changed.gender) == (False, made.id, "male")
    assert named.delete()[1] in (200, 204)
    assert named.first() is None


def test_creating_by_a_query_is_refused_rather_than_doubled(client: SyncFHIRClient) -> None:
    """get_or_create() sends POST Patient?…, which R4 does not have: it has If-None-Exist."""
    before = len(client.resources("Patient").fetch_all())
    with pytest.raises(OperationOutcome):
        client.resources("Patient").search(identifier=f"{SYSTEM}|p1").get_or_create(client.resource("Patient"))
    assert len(client.resources("Patient").fetch_all()) == before


def test_a_merge_patch_is_refused_since_r4_has_none(client: SyncFHIRClient) -> None:
    with pytest.raises(OperationOutcome):
        patient(client, 2).patch(gender="female")
    assert patient(client, 2).get("gender") is None


def test_history_and_everything(client: SyncFHIRClient) -> None:
    found = patient(client, 6)
    found["gender"] = "other"
    found.save()
    history = client.execute(f"Patient/{found.id}/_history", method="get")
    assert [each["resource"]["meta"]["versionId"] for each in history["entry"]] == ["2", "1"]
    everything = found.execute("$everything", method="get")
    assert sorted(each["resource"]["resourceType"] for each in everything["entry"]) == [
        "Observation",
        "Observation",
        "Patient",
    ]


def test_bundles(client: SyncFHIRClient) -> None:
    made = client.resource("Bundle", type="transaction", entry=[
        {"fullUrl": "urn:uuid:4b3a1c9e-51f0-4f0e-9a53-2f9d5ad0a001", "resource": {"resourceType": "Patient", "active": True},
         "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                      "subject": {"reference": "urn:uuid:4b3a1c9e-51f0-4f0e-9a53-2f9d5ad0a001"}},
         "request": {"method": "POST", "url": "Observation"}},
    ])  # fmt: skip
    answer = client.execute("", data=made.serialize())
    assert [each["response"]["status"][:3] for each in answer["entry"]] == ["201", "201"]
