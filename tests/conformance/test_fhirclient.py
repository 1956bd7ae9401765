"""fhirclient, SMART's own client for Python, against the running server: its models read what the server writes."""

from __future__ import annotations

import pytest
from fhirclient.models.bundle import Bundle
from fhirclient.models.condition import Condition
from fhirclient.models.fhirsearch import FHIRSearch
from fhirclient.models.humanname import HumanName
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRServer
from requests import HTTPError

from tests.live import Live


@pytest.fixture(scope="module")
def remote(server: Live) -> FHIRServer:
    """The library's view of the server, with some records in it."""
    made = FHIRServer(None, base_uri=server.base)
    made.session.headers["Authorization"] = f"Bearer {server.token('system', 'Device/emr', scope='system/*.cruds')}"
    for number in range(7):
        name = {"family": f"Wang{number}", "given": ["Li"]}
        patient = Patient({"name": [name], "birthDate": f"198{number}-06-01", "gender": "female"}).create(made)
        reference = {"reference": f"Patient/{patient['id']}"}
        code = {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]}
        Condition({"subject": reference, "code": code, "onsetDateTime": f"202{number}-01-01"}).create(made)
        Observation({"status": "final", "code": {"text": "note"}, "subject": reference, "valueString": "well"}).create(
            made
        )
    return made


def test_the_capability_statement_is_read_by_its_model(remote: FHIRServer) -> None:
    statement = remote.capabilityStatement
    assert statement.fhirVersion == "4.0.1"
    assert {each.type for each in statement.rest[0].resource} >= {"Patient", "Observation"}


def test_create_read_update_and_delete(remote: FHIRServer) -> None:
    made = Patient({"name": [{"family": "Zhang", "given": ["San"]}], "birthDate": "1990"}).create(remote)
    read = Patient.read(made["id"], remote)
    assert read.as_json() == made
    assert (read.name[0].family, read.birthDate.as_json()) == ("Zhang", "1990")
    read.name.append(HumanName({"text": "张三"}))
    assert read.update(remote)["meta"]["versionId"] == "2"
    assert Patient.read(made["id"], remote).name[1].text == "张三"
    read.delete()
    with pytest.raises(HTTPError, match="410"):
        Patient.read(made["id"], remote)
    with pytest.raises(FHIRNotFoundException):
        Patient.read("none", remote)


def test_search_goes_over_all_pages(remote: FHIRServer) -> None:
    search = Patient.where({"name": "wang", "_count": "3", "_sort": "-birthdate"})
    years = [each.birthDate.as_json()[:4] for each in search.perform_resources_iter(remote)]
    assert years == [f"198{number}" for number in reversed(range(7))]


def test_search_with_several_conditions(remote: FHIRServer) -> None:
    between = {"birthdate": {"$and": ["ge1982", "lt1985"]}, "gender": "female"}
    assert len([*Patient.where(between).perform_resources_iter(remote)]) == 3
    either = {"family": {"$or": ["Wang1", "Wang2"]}}
    assert len([*Patient.where(either).perform_resources_iter(remote)]) == 2


def test_chains_and_includes(remote: FHIRServer) -> None:
    chained = Condition.where({"subject:Patient.family": "Wang3"}).perform_resources_iter(remote)
    assert [each.onsetDateTime.as_json() for each in chained] == ["2023-01-01"]
    found = FHIRSearch(Condition, {"onset-date": "2024-01-01"}).include("subject").perform_resources_iter(remote)
    assert sorted(each.resource_type for each in found) == ["Condition", "Patient"]
    back = FHIRSearch(Patient, {"family": "Wang5"}).include("subject", Observation, reverse=True)
    assert sorted(each.resource_type for each in back.perform_resources_iter(remote)) == ["Observation", "Patient"]


def test_history_and_everything_are_read_as_bundles(remote: FHIRServer) -> None:
    (patient,) = Patient.where({"family": "Wang6"}).perform_resources_iter(remote)
    history = Bundle.read_from(f"Patient/{patient.id}/_history", remote)
    assert (history.type, history.total, len(history.entry)) == ("history", 1, 1)
    everything = Bundle.read_from(f"Patient/{patient.id}/$everything", remote)
    assert sorted(each.resource.resource_type for each in everything.entry) == ["Condition", "Observation", "Patient"]
