"""An operator's own search parameters over HTTP: put in force, built while all goes on, changed, taken away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.live import Live, live

OPERATOR = "Device/emr-org1"
ETHNIC = "Patient.extension.where(url='urn:ethnic').value"


@pytest.fixture
def operated(mongo_uri: str, database_name: str, tmp_path: Path) -> Iterator[Live]:
    with live(mongo_uri, tmp_path, database=database_name, operators=OPERATOR) as server:
        yield server


def parameter(**said: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "id": "ethnic", "url": "urn:sp:ethnic", "name": "Ethnic", "status": "active",
        "description": "Ethnic group.", "code": "ethnic", "base": ["Patient"], "type": "token", "expression": ETHNIC, **said,
    }  # fmt: skip


def patient(id: str, group: str = "han") -> dict[str, Any]:
    extension = {"url": "urn:ethnic", "valueCoding": {"system": "urn:groups", "code": group}}
    return {"resourceType": "Patient", "id": id, "extension": [extension]}


def built(client: httpx.Client, query: str) -> dict[str, Any]:
    """Return the answer to a search as soon as its parameters are built; until then it is refused with the reason."""
    until = time.monotonic() + 60
    while (answer := client.get(query)).status_code != 200 and time.monotonic() < until:
        assert answer.status_code == 400, answer.text
        assert "being built" in answer.text
        time.sleep(0.05)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(bundle: dict[str, Any]) -> set[str]:
    return {each["resource"]["id"] for each in bundle.get("entry", ())}


def test_what_is_stored_already_is_found_once_it_is_built_and_what_comes_later_at_once(operated: Live) -> None:
    operated.put(patient("p1"), patient("p2", "hui"))
    with operated.system() as client:
        assert client.get("Patient?ethnic=han").status_code == 400
        operated.put(parameter())
        assert ids(built(client, "Patient?ethnic=han")) == {"p1"}
        operated.put(patient("p3"))
        assert ids(client.get("Patient?ethnic=han").json()) == {"p1", "p3"}
        assert ids(client.get("Patient?ethnic=urn:groups|hui").json()) == {"p2"}
        assert ids(client.get("Patient?ethnic:not=han").json()) == {"p2"}
        operated.put(patient("p1", "hui"))
        assert ids(client.get("Patient?ethnic=han").json()) == {"p3"}


@pytest.mark.parametrize("status", ["retired", "draft"])
def test_a_parameter_that_is_not_active_is_not_answered(operated: Live, status: str) -> None:
    operated.put(patient("p1"), parameter())
    with operated.system() as client:
        built(client, "Patient?ethnic=han")
        operated.put(parameter(status=status))
        refused = client.get("Patient?ethnic=han")
        assert refused.status_code == 400
        assert "no search parameter" in refused.text


def test_deleting_it_takes_it_away_and_another_may_have_its_name(operated: Live) -> None:
    operated.put(patient("p1"), parameter())
    with operated.system() as client:
        built(client, "Patient?ethnic=han")
        assert client.delete("SearchParameter/ethnic").status_code == 204
        assert client.get("Patient?ethnic=han").status_code == 400
        operated.put(parameter(id="other", url="urn:sp:other", type="uri", expression="Patient.extension.url"))
        assert ids(built(client, "Patient?ethnic=urn:ethnic")) == {"p1"}
        assert ids(client.get("Patient?ethnic=han").json()) == set()


def test_a_new_meaning_is_built_anew_and_what_means_the_same_stays(operated: Live) -> None:
    operated.put(patient("p1"), parameter())
    with operated.system() as client:
        built(client, "Patient?ethnic=han")
        operated.put(parameter(description="Said otherwise."))
        assert client.get("Patient?ethnic=han").json()["total"] == 1
        operated.put(parameter(type="uri", expression="Patient.extension.url"))
        assert ids(built(client, "Patient?ethnic=urn:ethnic")) == {"p1"}


def test_others_search_parameters_are_resources_without_effect(operated: Live) -> None:
    operated.put(parameter(), organization="org2")
    operated.put(patient("p1"))
    with operated.system("org2") as client, operated.system() as operator:
        assert client.get("SearchParameter/ethnic").status_code == 200
        assert client.get("Patient?ethnic=han").status_code == 400
        other = parameter(id="mine", url="urn:sp:mine")
        operated.put(other)
        built(operator, "Patient?ethnic=han")
        # Another user of the same institution may not change what is in force.
        with operated.client("system", "Device/clerk", scope="system/*.cruds") as clerk:
            assert clerk.put("SearchParameter/mine", json=other | {"status": "retired"}).status_code == 403
            assert clerk.delete("SearchParameter/mine").status_code == 403
        assert operator.get("Patient?ethnic=han").json()["total"] == 1


def test_two_of_one_name_are_not_put_in_force_together(operated: Live) -> None:
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"SearchParameter/{each['id']}"}}
        for each in (parameter(), parameter(id="other", url="urn:sp:other"))
    ]
    with operated.system() as client:
        refused = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert refused.status_code == 422, refused.text
        assert refused.json()["issue"][0]["code"] == "duplicate"
        assert client.get("SearchParameter/ethnic").status_code == 404
        entries[1]["resource"]["code"] = "group"
        stored = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert stored.status_code == 200, stored.text


def test_what_cannot_be_answered_is_refused_with_the_reason_and_not_stored(operated: Live) -> None:
    with operated.system() as client:
        refused = client.put("SearchParameter/ethnic", json=parameter(expression="Patient.nowhere"))
        assert refused.status_code == 422
        assert refused.json()["issue"][0]["expression"] == ["SearchParameter.expression"]
        assert client.get("SearchParameter/ethnic").status_code == 404
        operated.put(parameter())
        again = client.put("SearchParameter/again", json=parameter(id="again", url="urn:sp:again"))
        assert again.status_code == 422
        assert again.json()["issue"][0]["code"] == "duplicate"


@pytest.mark.parametrize(
    ("said", "query", "found"),
    [
        ({"type": "string", "expression": "Patient.multipleBirth.toString()"}, "Patient?ethnic=2", {"b"}),
        ({"type": "number", "expression": "Patient.multipleBirth as integer"}, "Patient?ethnic=ge2", {"b"}),
        ({"type": "number", "expression": "Patient.multipleBirth as integer"}, "Patient?_sort=-ethnic&ethnic:missing=false",
         {"a", "b"}),
        ({"type": "date", "expression": "Patient.birthDate"}, "Patient?ethnic=lt1980", {"a"}),
        ({"type": "reference", "expression": "Patient.generalPractitioner", "target": ["Practitioner"]},
         "Patient?ethnic.family=li", {"a"}),
        ({"type": "reference", "expression": "Patient.generalPractitioner", "target": ["Practitioner"]},
         "Patient?_id=a&_include=Patient:ethnic", {"a", "dr"}),
        ({"type": "quantity", "expression": "Patient.extension.where(url='urn:w').value as Quantity"},
         "Patient?ethnic=gt60|http://unitsofmeasure.org|kg", {"b"}),
        ({"type": "composite", "expression": "Patient.contact", "component": [
            {"definition": "http://hl7.org/fhir/SearchParameter/individual-gender", "expression": "gender"},
            {"definition": "http://hl7.org/fhir/SearchParameter/individual-family", "expression": "name.family"}]},
         "Patient?ethnic=female$wu", {"a"}),
    ],
)  # fmt: skip
def test_parameters_of_every_type_are_answered(
    operated: Live, said: dict[str, Any], query: str, found: set[str]
) -> None:
    def weight(kilograms: int) -> dict[str, Any]:
        unit = {"value": kilograms, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
        return {"extension": [{"url": "urn:w", "valueQuantity": unit}]}

    contact = [{"gender": "female", "name": {"family": "Wu"}}, {"gender": "male", "name": {"family": "Li"}}]
    operated.put(
        {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Li"}]},
        {"resourceType": "Patient", "id": "a", "multipleBirthInteger": 1, "birthDate": "1970-01-01", "contact": contact,
         "generalPractitioner": [{"reference": "Practitioner/dr"}], **weight(50)},
        {"resourceType": "Patient", "id": "b", "multipleBirthInteger": 2, "birthDate": "1990-01-01", **weight(70)},
        parameter(**said),
    )  # fmt: skip
    with operated.system() as client:
        built(client, "Patient?ethnic:missing=true")
        assert ids(client.get(query).json()) == found


def test_the_capability_statement_names_it_once_it_is_built(operated: Live) -> None:
    def offered() -> set[str]:
        (rest,) = httpx.get(f"{operated.base}/metadata").json()["rest"]
        (patients,) = [each for each in rest["resource"] if each["type"] == "Patient"]
        return {f"{each['name']} {each['definition']}" for each in patients["searchParam"]}

    assert "ethnic urn:sp:ethnic" not in offered()
    operated.put(parameter())
    with operated.system() as client:
        built(client, "Patient?ethnic=han")
    assert "ethnic urn:sp:ethnic" in offered()


def test_values_of_the_parameter_obey_the_gate_like_all_others(operated: Live) -> None:
    operated.put(patient("p1"))
    operated.put(patient("p2"), organization="org2")
    operated.put(parameter())
    with operated.system() as ours, operated.system("org2") as theirs:
        built(ours, "Patient?ethnic=han")
        assert ids(ours.get("Patient?ethnic=han").json()) == {"p1"}
        assert ids(theirs.get("Patient?ethnic=han").json()) == {"p2"}
        assert theirs.get("Patient?ethnic=han&_summary=count").json()["total"] == 1


def test_the_history_is_left_alone_and_no_version_is_made(operated: Live, mongo_uri: str, database_name: str) -> None:
    operated.put(patient("p1", "hui"), patient("p1"))
    with MongoClient[dict[str, Any]](mongo_uri) as mongo, operated.system() as client:
        before = list(mongo[database_name]["Patient_history"].find())
        read = client.get("Patient/p1")
        operated.put(parameter())
        built(client, "Patient?ethnic=han")
        assert list(mongo[database_name]["Patient_history"].find()) == before
        again = client.get("Patient/p1")
        assert (again.content, again.headers["ETag"]) == (read.content, read.headers["ETag"])
        assert client.get("Patient?ethnic=hui").json()["total"] == 0
