"""FHIR R4 OperationDefinition "Composition-document"; Documents, "Document Bundle"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.consent_engine.build import HIV, LOINC, actor, coding, concept, consent, permit
from tests.live import Live
from tests.noninterference.test_found import denial, patient, record

Json = dict[str, Any]


def observation(id: str, patient: str, **elements: Any) -> Json:
    subject = {"reference": f"Patient/{patient}"}
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "subject": subject,
        **elements,
    }


def composition(id: str, *entries: str, **elements: Any) -> Json:
    return {
        "resourceType": "Composition",
        "id": id,
        "status": "final",
        "type": {"text": "summary"},
        "date": "2026-01-01",
        "title": "Summary",
        "subject": {"reference": "Patient/p"},
        "author": [{"reference": "Practitioner/dr"}],
        # What cannot be seen, or is not there, takes the section with it that refers to it (tests/redaction).
        "section": [{"title": "One", "entry": [{"reference": each}]} for each in entries] or [{"title": "None"}],
        **elements,
    }


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    server.put(
        {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/o"}},
        {"resourceType": "Patient", "id": "q"},
        {"resourceType": "Organization", "id": "o", "name": "A"},
        {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "张"}]},
        observation("o1", "p", hasMember=[{"reference": "Observation/o2"}], focus=[{"reference": "Patient/q"}]),
        observation("o2", "p"),
        observation("of-q", "q", focus=[{"reference": "Patient/q"}]),
        composition("c", "Observation/o1", "Observation/of-q", "Observation/never", f"{server.base}/Observation/o2"),
    )
    with server.system() as client:
        yield client


def shown(bundle: Json) -> list[str]:
    return [f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in bundle["entry"]]


DOCUMENT = [
    "Composition/c",
    "Observation/o1",
    "Observation/o2",
    "Observation/of-q",  # of another patient, and named by the Composition itself
    "Organization/o",
    "Patient/p",
    "Practitioner/dr",
]


def test_a_document_is_the_composition_and_then_what_it_refers_to(server: Live, emr: httpx.Client) -> None:
    answer = emr.get("Composition/c/$document")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["resourceType"], found["type"]) == ("Bundle", "document")
    assert shown(found) == DOCUMENT
    assert [each["fullUrl"] for each in found["entry"]] == [f"{server.base}/{each}" for each in DOCUMENT]
    assert found["identifier"]["system"] == "urn:ietf:rfc:3986"
    assert found["identifier"]["value"].startswith("urn:uuid:")
    assert found["timestamp"]
    assert found["entry"][0]["resource"] == emr.get("Composition/c").json()


def test_no_two_documents_have_one_identifier(emr: httpx.Client) -> None:
    first, second = (emr.get("Composition/c/$document").json() for _ in range(2))
    assert first["identifier"] != second["identifier"]


@pytest.mark.parametrize("id", ["c", "Composition/c", "{base}/Composition/c"])
def test_the_composition_can_be_named_by_a_parameter(server: Live, emr: httpx.Client, id: str) -> None:
    named = id.format(base=server.base)
    assert shown(emr.get("Composition/$document", params={"id": named}).json()) == DOCUMENT
    body = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueUri": named}]}
    assert shown(emr.post("Composition/$document", json=body).json()) == DOCUMENT


def test_what_may_not_be_seen_is_left_out_as_if_it_did_not_exist(server: Live, emr: httpx.Client) -> None:
    server.put(observation("elsewhere", "p"), organization="org2")
    server.put(composition("mixed", "Observation/elsewhere", "Observation/o2"))
    assert "Observation/elsewhere" not in shown(emr.get("Composition/mixed/$document").json())
    with server.system("org2") as other:
        hidden, absent = (other.get(f"Composition/{id}/$document") for id in ("mixed", "never"))
    assert (hidden.status_code, hidden.content) == (404, absent.content)


REFUSED = [
    ("Composition/$document", 400),
    ("Composition/$document?id=never", 404),
    ("Composition/$document?id=http://elsewhere.example/fhir/Composition/c", 404),
    ("Composition/c/$document?id=c", 400),
    ("Composition/c/$document?persist=maybe", 400),
    ("Composition/c/$document?persist=true", 405),
    ("Composition/c/$document?graph=http://example.org/graph", 400),
    ("Patient/p/$document", 404),
]


@pytest.mark.parametrize(("path", "status"), REFUSED)
def test_what_is_not_offered_is_refused(emr: httpx.Client, path: str, status: int) -> None:
    assert emr.get(path).status_code == status


def persisted(client: httpx.Client, id: str) -> httpx.Response:
    body = {"resourceType": "Parameters", "parameter": [{"name": "persist", "valueBoolean": True}]}
    return client.post(f"Composition/{id}/$document", json=body)


def test_a_document_can_be_stored(server: Live, emr: httpx.Client) -> None:
    answer = persisted(emr, "c")
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert shown(made) == DOCUMENT
    assert answer.headers["Location"] == f"{server.base}/Bundle/{made['id']}/_history/1"
    assert emr.get(f"Bundle/{made['id']}").json() == made
    with server.client("practitioner", "Practitioner/dr", scope="user/*.rs") as reader:
        assert persisted(reader, "c").status_code == 403


def test_a_stored_document_is_guarded_as_the_records_in_it_are(server: Live, emr: httpx.Client) -> None:
    label = coding(*HIV)
    server.put(patient("d"), record("d1", "d", meta={"security": [label]}))
    server.put(composition("dc", "Observation/d1", subject={"reference": "Patient/d"}), denial("d2", "d"))
    made = persisted(emr, "dc").json()
    assert label in made["meta"]["security"]
    assert emr.get(f"Bundle/{made['id']}").status_code == 200
    with server.client("practitioner", "Practitioner/dr1") as denied:
        assert denied.get(f"Bundle/{made['id']}").status_code == 404
        assert denied.get("Bundle", params={"_id": made["id"]}).json()["total"] == 0
    with server.client("practitioner", "Practitioner/dr1") as other:
        assert other.get(f"Bundle/{persisted(emr, 'c').json()['id']}").status_code == 200


DENIED: list[Json] = [
    {"securityLabel": [coding(*HIV)]},
    {"class": [coding("http://hl7.org/fhir/resource-types", "Observation")]},
    {"code": [concept(LOINC, "c1")]},
    {"dataPeriod": {"start": "2020", "end": "2020"}},
]


@pytest.mark.parametrize("number", range(len(DENIED)))
def test_any_denial_hides_a_document_which_may_hold_what_was_denied(
    server: Live, emr: httpx.Client, number: int
) -> None:
    id = f"f{number}"
    server.put(patient(id), record(f"{id}-o", id, effectiveDateTime="2020-05-05"))
    server.put(composition(f"{id}-c", f"Observation/{id}-o", subject={"reference": f"Patient/{id}"}))
    made = persisted(emr, f"{id}-c").json()["id"]
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert doctor.get(f"Bundle/{made}").status_code == 200
        server.put(denial(f"{id}-d", id, **DENIED[number]))
        assert doctor.get(f"Bundle/{made}").status_code == 404
        assert doctor.get("Bundle", params={"_id": made}).json()["total"] == 0


def test_no_permission_opens_a_document_which_may_hold_more_than_was_permitted(server: Live, emr: httpx.Client) -> None:
    server.put(patient("g"), record("g1", "g"))
    server.put(composition("gc", "Observation/g1", subject={"reference": "Patient/g"}))
    made = persisted(emr, "gc").json()["id"]
    with server.client("practitioner", "Practitioner/dr7", "org7") as doctor:
        server.put(permission("g2", "g", code=[concept(LOINC, "c1")]))
        assert (doctor.get("Observation/g1").status_code, doctor.get(f"Bundle/{made}").status_code) == (200, 404)
    with server.client("patient", "Patient/g", purpose="PATRQT") as person:
        assert person.get(f"Bundle/{made}").status_code == 200


def permission(id: str, of: str, **elements: Any) -> Json:
    """Return a Consent by which a patient permits dr7 what the elements say."""
    said = permit(actor=[actor("Practitioner/dr7")], **elements)
    who = {"id": id, "patient": {"reference": f"Patient/{of}"}, "category": [concept(LOINC, "59284-0")]}
    return {**consent(said), **who, "policyRule": {"text": "-"}}
