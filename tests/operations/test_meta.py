"""FHIR R4 OperationDefinition "Resource-meta", "Resource-meta-add", "Resource-meta-delete"."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.consent_engine.build import HIV, coding
from tests.live import Live
from tests.noninterference.test_found import denial, patient, record

Json = dict[str, Any]
TAG = {"system": "urn:tag", "code": "a", "display": "A"}
OTHER = {"system": "urn:tag", "code": "b"}
PROFILE = "http://example.org/StructureDefinition/p"


def meta_of(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["resourceType"] == "Parameters"
    (said,) = found["parameter"]
    assert said["name"] == "return"
    return dict(said["valueMeta"])


def parameters(**meta: Any) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def test_the_meta_of_a_resource_and_of_a_version_is_the_one_it_carries(server: Live, emr: httpx.Client) -> None:
    server.put(patient("a1"), {**patient("a1"), "meta": {"tag": [TAG]}})
    assert meta_of(emr.get("Patient/a1/$meta")) == emr.get("Patient/a1").json()["meta"]
    assert meta_of(emr.post("Patient/a1/$meta")) == emr.get("Patient/a1").json()["meta"]
    assert meta_of(emr.get("Patient/a1/_history/1/$meta")) == emr.get("Patient/a1/_history/1").json()["meta"]
    assert emr.get("Patient/a1/$meta").headers["ETag"] == 'W/"2"'
    assert emr.get("Patient/a1/_history/3/$meta").status_code == 404
    assert emr.get("Patient/never/$meta").status_code == 404


def test_adding_makes_a_version_with_each_label_once(server: Live, emr: httpx.Client) -> None:
    server.put({**patient("b1"), "gender": "male", "meta": {"tag": [TAG]}})
    said = parameters(tag=[{"system": "urn:tag", "code": "a"}, OTHER], profile=[PROFILE], security=[coding(*HIV)])
    answer = emr.post("Patient/b1/$meta-add", json=said)
    found = meta_of(answer)
    assert (found["tag"], found["profile"], found["security"]) == ([TAG, OTHER], [PROFILE], [coding(*HIV)])
    stored = emr.get("Patient/b1").json()
    assert (stored["meta"], stored["gender"], stored["meta"]["versionId"]) == (found, "male", "2")
    assert emr.get("Patient?_tag=urn:tag|b&_id=b1").json()["total"] == 1
    # What is there already changes nothing.
    assert meta_of(emr.post("Patient/b1/$meta-add", json=said))["versionId"] == "2"


def test_deleting_takes_away_what_is_there(server: Live, emr: httpx.Client) -> None:
    server.put({**patient("c1"), "meta": {"tag": [TAG, OTHER], "profile": [PROFILE]}})
    gone = {"system": "urn:tag", "code": "a", "display": "called otherwise"}
    found = meta_of(
        emr.post("Patient/c1/$meta-delete", json=parameters(tag=[gone, {"code": "none"}], profile=[PROFILE]))
    )
    assert found["tag"] == [OTHER]
    assert "profile" not in found
    assert emr.get("Patient/c1").json()["meta"] == found
    assert "tag" not in meta_of(emr.post("Patient/c1/$meta-delete", json=parameters(tag=[OTHER])))


def test_a_label_that_is_deleted_still_guards_the_record(server: Live, emr: httpx.Client) -> None:
    server.put(patient("d1"), record("d2", "d1", meta={"security": [coding(*HIV)]}))
    server.put(denial("d3", "d1", securityLabel=[coding(*HIV)]))
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert doctor.get("Observation/d2/$meta").status_code == 404
        assert "security" not in meta_of(
            emr.post("Observation/d2/$meta-delete", json=parameters(security=[coding(*HIV)]))
        )
        assert doctor.get("Observation/d2/$meta").status_code == 404
        assert doctor.get("Observation/d2").status_code == 404


def test_the_meta_of_a_type_and_of_the_system_is_that_of_what_may_be_seen(server: Live) -> None:
    def device(id: str, **meta: Any) -> Json:
        return {"resourceType": "Device", "id": id, "meta": meta}

    server.put(device("e1", tag=[TAG]), device("e2", tag=[OTHER, TAG], profile=[PROFILE]), organization="org3")
    server.put(
        {
            "resourceType": "List",
            "id": "e3",
            "status": "current",
            "mode": "working",
            "meta": {"tag": [coding("u", "l")]},
        },
        organization="org3",
    )
    server.put(device("e4", tag=[{"system": "urn:tag", "code": "hidden"}]), organization="org4")
    tags = [{"system": "urn:tag", "code": each} for each in ("a", "b")]
    with server.client("practitioner", "Practitioner/dr3", "org3", scope="user/Device.rs user/List.rs") as doctor:
        assert meta_of(doctor.get("Device/$meta")) == {"profile": [PROFILE], "tag": tags}
        assert meta_of(doctor.get("$meta")) == {"profile": [PROFILE], "tag": [coding("u", "l"), *tags]}
        assert doctor.get("Patient/$meta").status_code == 403
    with server.client("practitioner", "Practitioner/dr3", "org3", scope="user/Device.cud") as doctor:
        assert doctor.get("$meta").status_code == 403


def test_what_changes_the_store_goes_by_post_and_by_who_may_write(server: Live, emr: httpx.Client) -> None:
    server.put(patient("f1"))
    for name in ("meta-add", "meta-delete"):
        answer = emr.get(f"Patient/f1/${name}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        path = f"Patient/f1/${name}"
        with server.system("org2") as other:
            assert other.post(path, json=parameters(tag=[TAG])).status_code == 404
        with server.client("practitioner", "Practitioner/dr1", scope="user/*.rs") as reader:
            assert reader.post(path, json=parameters(tag=[TAG])).status_code == 403
        with server.client("practitioner", "Practitioner/dr1", scope="user/*.u") as writer:
            assert writer.post(path, json=parameters(tag=[TAG])).status_code == 403
        with server.client("patient", "Patient/f1", purpose="PATRQT") as person:
            assert person.post(path, json=parameters(tag=[TAG])).status_code == 403
        assert emr.post(path.replace("f1", "never"), json=parameters(tag=[TAG])).status_code == 404
    assert emr.get("Patient/f1").headers["ETag"] == 'W/"1"'


BODIES: list[tuple[Any, int]] = [
    ({"resourceType": "Parameters"}, 400),
    ({"resourceType": "Parameters", "parameter": [{"name": "meta"}]}, 400),
    ({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueString": "x"}]}, 400),
    ({"resourceType": "Parameters", "parameter": {}}, 400),
    ({"resourceType": "Parameters", "parameter": [{"name": "other", "valueString": "x"}]}, 400),
    ({"resourceType": "Patient"}, 400),
    ([], 400),
    (parameters(tag="x"), 422),
    (parameters(tag=[{"code": 7}]), 422),
    (parameters(tag=["x"]), 422),
    (parameters(profile=[{"x": 1}]), 422),
    (
        parameters(tag=[{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]),
        422,
    ),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
def test_what_is_no_meta_is_refused(server: Live, emr: httpx.Client, body: Any, status: int) -> None:
    server.put(patient("g1"))
    answer = emr.post("Patient/g1/$meta-add", json=body)
    assert answer.status_code == status, answer.text
    assert emr.get("Patient/g1").headers["ETag"] == 'W/"1"'


def test_an_if_match_is_kept(server: Live, emr: httpx.Client) -> None:
    server.put(patient("h1"))
    path = "Patient/h1/$meta-add"
    assert emr.post(path, json=parameters(tag=[TAG]), headers={"If-Match": 'W/"7"'}).status_code == 412
    assert emr.post(path, json=parameters(tag=[TAG]), headers={"If-Match": 'W/"1"'}).status_code == 200


def test_a_change_is_recorded(server: Live, emr: httpx.Client) -> None:
    server.put(patient("i1"))
    emr.post("Patient/i1/$meta-add", json=parameters(tag=[TAG]))
    with server.client("auditor", "Practitioner/auditor", scope="user/*.rs") as auditor:
        (found,) = auditor.get("AuditEvent?_sort=-_lastUpdated&_count=1&subtype=operation").json()["entry"]
    told = [each["what"]["reference"] for each in found["resource"]["entity"] if "what" in each]
    assert "Patient/i1/_history/2" in told
