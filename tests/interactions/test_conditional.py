"""FHIR R4 RESTful API: conditional create, update, patch and delete; updates that change nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.live import Live, live

Json = dict[str, Any]
SYSTEM = "urn:mrn"
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def patient(number: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": number}], **more}


def stored(client: httpx.Client, number: str, **more: Any) -> Json:
    answer = client.post("Patient", json=patient(number, **more))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def total(client: httpx.Client, number: str) -> int:
    return int(client.get("Patient", params={"identifier": f"{SYSTEM}|{number}"}).json()["total"])


def create(client: httpx.Client, condition: str, resource: Json, **headers: str) -> httpx.Response:
    return client.post("Patient", json=resource, headers={"If-None-Exist": condition, **headers})


def issue(answer: httpx.Response) -> str:
    return str(answer.json()["issue"][0]["code"])


# Conditional create


def test_a_conditional_create_that_matches_nothing_creates(server: Live, emr: httpx.Client) -> None:
    answer = create(emr, f"identifier={SYSTEM}|c1", patient("c1"))
    assert (answer.status_code, answer.headers["ETag"]) == (201, 'W/"1"')
    assert answer.headers["Location"] == f"{server.base}/Patient/{answer.json()['id']}/_history/1"
    assert total(emr, "c1") == 1


@pytest.mark.parametrize("form", ["{}", "?{}", "Patient?{}", "http://any.example/fhir/Patient?{}"])
def test_a_conditional_create_that_matches_one_answers_with_it(emr: httpx.Client, form: str) -> None:
    number = f"c2-{len(form)}"
    first = stored(emr, number)
    answer = create(emr, form.format(f"identifier={SYSTEM}|{number}"), patient(number, gender="male"))
    assert (answer.status_code, answer.headers["ETag"], answer.json()) == (200, 'W/"1"', first)
    assert answer.headers["Location"].endswith(f"/Patient/{first['id']}/_history/1")
    assert total(emr, number) == 1


@pytest.mark.parametrize(("wanted", "type"), [("minimal", None), ("OperationOutcome", "OperationOutcome")])
def test_prefer_holds_for_what_a_conditional_create_finds(emr: httpx.Client, wanted: str, type: str | None) -> None:
    stored(emr, f"c3-{wanted}")
    answer = create(emr, f"identifier=c3-{wanted}", patient("x"), Prefer=f"return={wanted}")
    assert answer.status_code == 200
    assert (answer.json()["resourceType"] if answer.content else None) == type


def test_a_conditional_create_that_matches_several_is_412(emr: httpx.Client) -> None:
    stored(emr, "c4")
    stored(emr, "c4")
    answer = create(emr, "identifier=c4", patient("c4"))
    assert (answer.status_code, issue(answer)) == (412, "multiple-matches")
    assert total(emr, "c4") == 2


BAD = ["", "_format=json", "nonsense=x", "identifier=x&_count=1", "_sort=_id", "birthdate=never", "Observation?code=x",
       "_include=Patient:link", "_summary=count", "identifier=%ff"]  # fmt: skip


@pytest.mark.parametrize("condition", BAD)
def test_400_for_a_condition_that_cannot_be_one(emr: httpx.Client, condition: str) -> None:
    answers = [create(emr, condition, patient("c5"), Prefer="handling=lenient")]
    if not condition.startswith("Observation"):
        answers += [
            emr.put(f"Patient?{condition}", json=patient("c5")),
            emr.patch(f"Patient?{condition}", json=[], headers={"Content-Type": "application/json-patch+json"}),
            emr.delete(f"Patient?{condition}"),
        ]
    assert [each.status_code for each in answers] == [400] * len(answers), [each.text for each in answers]
    assert total(emr, "c5") == 0


def test_a_condition_may_be_written_in_utf_8(emr: httpx.Client) -> None:
    found = stored(emr, "c7", name=[{"family": "张"}])
    headers = [b"identifier=c7&family:exact=" + name for name in ("张".encode(), b"%E5%BC%A0")]
    for condition in headers:
        answer = emr.post("Patient", json=patient("c7"), headers={b"If-None-Exist": condition})
        assert (answer.status_code, answer.json()["id"]) == (200, found["id"])
    answer = emr.post("Patient", json=patient("c7"), headers={b"If-None-Exist": b"family=\xff"})
    assert answer.status_code == 400


def test_a_condition_may_be_a_chain(server: Live, emr: httpx.Client) -> None:
    found = stored(emr, "c6")
    made = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{found['id']}"},
    }
    for status in (201, 200):
        answer = emr.post(
            "Observation", json=made, headers={"If-None-Exist": f"subject:Patient.identifier={SYSTEM}|c6"}
        )
        assert answer.status_code == status, answer.text


def test_of_many_equal_conditional_creates_at_once_one_creates(mongo_uri: str, server: Live) -> None:
    asked = [f"identifier={SYSTEM}|race", "gender=male"]

    def send(running: Live, condition: str) -> tuple[int, str]:
        with running.system() as client:
            answer = create(client, condition, patient("race", gender="male"))
            return answer.status_code, answer.json().get("id", answer.text)

    with (
        live(mongo_uri, server.settings.data, database=server.settings.database) as other,
        ThreadPoolExecutor(12) as pool,
    ):
        # What is asked is the same in whatever order.
        conditions = ["&".join(asked), "&".join(reversed(asked))]
        answers = list(pool.map(send, [server, other] * 6, conditions * 6))
        assert sorted(status for status, _ in answers) == [200] * 11 + [201]
        assert len({id for _, id in answers}) == 1
    with server.system() as client:
        assert total(client, "race") == 1


def test_of_many_equal_conditional_updates_at_once_one_creates(server: Live, emr: httpx.Client) -> None:
    def send(n: int) -> int:
        with server.system() as client:
            return client.put("Patient?identifier=race2", json=patient("race2", birthDate=f"19{n + 10}")).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    assert total(emr, "race2") == 1


def test_what_a_condition_says_is_not_in_the_store(mongo_uri: str, server: Live, emr: httpx.Client) -> None:
    create(emr, "identifier=very-secret-number", patient("very-secret-number"))
    with MongoClient[Json](mongo_uri) as client:
        rows = list(client[server.settings.database]["conditions"].find())
    assert rows
    assert all(set(row) == {"_id", "n", "at"} and isinstance(row["_id"], int) for row in rows)


# Conditional update: R4's table of matches and ids


def test_a_conditional_update_without_match_and_id_creates(emr: httpx.Client) -> None:
    answer = emr.put("Patient", params={"identifier": "u1"}, json=patient("u1"))
    assert (answer.status_code, answer.headers["ETag"]) == (201, 'W/"1"')
    assert total(emr, "u1") == 1


def test_a_conditional_update_without_match_and_with_an_id_creates_under_it(emr: httpx.Client) -> None:
    answer = emr.put("Patient", params={"identifier": "u2"}, json=patient("u2", id="u2-chosen"))
    assert (answer.status_code, answer.json()["id"]) == (201, "u2-chosen")


def test_a_conditional_update_without_match_does_not_change_another_resource(emr: httpx.Client) -> None:
    emr.put("Patient/u3", json=patient("u3-other", id="u3"))
    answer = emr.put("Patient", params={"identifier": "u3"}, json=patient("u3", id="u3"))
    assert answer.status_code == 409
    assert emr.get("Patient/u3").headers["ETag"] == 'W/"1"'


def test_only_an_institutions_system_chooses_ids_in_a_conditional_update_too(server: Live) -> None:
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        answer = doctor.put("Patient", params={"identifier": "u4"}, json=patient("u4", id="u4-chosen"))
        assert answer.status_code == 404


@pytest.mark.parametrize("with_id", [False, True])
def test_a_conditional_update_that_matches_one_updates_it(emr: httpx.Client, with_id: bool) -> None:
    number = f"u5-{with_id}"
    first = stored(emr, number)
    more = {"id": first["id"]} if with_id else {}
    answer = emr.put("Patient", params={"identifier": number}, json=patient(number, gender="male", **more))
    assert (answer.status_code, answer.headers["ETag"], answer.json()["id"]) == (200, 'W/"2"', first["id"])
    assert emr.get(f"Patient/{first['id']}").json()["gender"] == "male"


def test_a_conditional_update_with_the_id_of_another_resource_is_400(emr: httpx.Client) -> None:
    first = stored(emr, "u6")
    answer = emr.put("Patient", params={"identifier": "u6"}, json=patient("u6", id="u6-other"))
    assert answer.status_code == 400
    assert emr.get(f"Patient/{first['id']}").headers["ETag"] == 'W/"1"'
    assert emr.get("Patient/u6-other").status_code == 404


def test_a_conditional_update_that_matches_several_is_412(emr: httpx.Client) -> None:
    for _ in range(2):
        stored(emr, "u7")
    answer = emr.put("Patient", params={"identifier": "u7"}, json=patient("u7", gender="male"))
    assert (answer.status_code, issue(answer)) == (412, "multiple-matches")


@pytest.mark.parametrize(("version", "status"), [("1", 200), ("2", 412)])
def test_if_match_holds_for_what_the_condition_matches(emr: httpx.Client, version: str, status: int) -> None:
    stored(emr, f"u8-{version}")
    answer = emr.put(
        f"Patient?identifier=u8-{version}",
        json=patient(f"u8-{version}", gender="male"),
        headers={"If-Match": f'W/"{version}"'},
    )
    assert answer.status_code == status


def test_if_match_without_a_match_is_412(emr: httpx.Client) -> None:
    answer = emr.put("Patient?identifier=u9", json=patient("u9"), headers={"If-Match": 'W/"1"'})
    assert answer.status_code == 412
    assert total(emr, "u9") == 0


def test_a_match_of_another_institution_is_not_changed(server: Live) -> None:
    organization = {"resourceType": "Organization", "identifier": [{"value": "u10"}], "name": "First"}
    with server.system("org1") as first, server.system("org2") as second:
        assert first.post("Organization", json=organization).status_code == 201
        answer = second.put("Organization?identifier=u10", json={**organization, "name": "Second"})
        assert (answer.status_code, issue(answer)) == (403, "forbidden")
        assert second.delete("Organization?identifier=u10").status_code == 403


@pytest.mark.parametrize("scope", ["system/Patient.cud", "system/Patient.rs"])
def test_a_conditional_write_needs_the_scopes_of_a_search_and_of_the_write(server: Live, scope: str) -> None:
    with server.client("system", "Device/emr-org1", scope=scope) as client:
        answers = [
            create(client, "identifier=none", patient("s1")),
            client.put("Patient?identifier=none", json=patient("s1")),
            client.patch("Patient?identifier=none", json=[], headers={"Content-Type": "application/json-patch+json"}),
            client.delete("Patient?identifier=none"),
        ]
        assert [each.status_code for each in answers] == [403] * 4


# Conditional delete


def test_a_conditional_delete_deletes_what_it_matches_and_then_nothing(emr: httpx.Client) -> None:
    first = stored(emr, "d1")
    answers = [emr.delete("Patient", params={"identifier": "d1"}) for _ in range(2)]
    assert [(each.status_code, each.content) for each in answers] == [(204, b"")] * 2
    assert emr.get(f"Patient/{first['id']}").status_code == 410


def test_a_conditional_delete_of_several_is_412_unless_it_is_set(
    mongo_uri: str, server: Live, emr: httpx.Client
) -> None:
    for _ in range(4):
        stored(emr, "d2")
    assert emr.delete("Patient", params={"identifier": "d2"}).status_code == 412
    with (
        live(mongo_uri, server.settings.data, database=server.settings.database, most_conditional_deletes=3) as other,
        other.system() as more,
    ):
        assert more.delete("Patient", params={"identifier": "d2"}).status_code == 412
        assert total(emr, "d2") == 4
        assert more.delete("Patient?identifier=d2&_id:missing=false").status_code == 412
        one = emr.get("Patient?identifier=d2").json()["entry"][0]["resource"]["id"]
        assert emr.delete(f"Patient/{one}").status_code == 204
        assert more.delete("Patient", params={"identifier": "d2"}).status_code == 204
    assert total(emr, "d2") == 0


# What every conditional write leaves in the log


def test_a_conditional_write_is_recorded_with_its_condition_and_what_it_found(server: Live, emr: httpx.Client) -> None:
    first = stored(emr, "log1")
    create(emr, "identifier=log1", patient("log1"))
    with server.client("auditor", "Practitioner/auditor", scope="user/AuditEvent.rs") as auditor:
        found = auditor.get("AuditEvent", params={"entity": f"Patient/{first['id']}", "_sort": "-date"}).json()
    codes = [each["resource"]["subtype"][0]["code"] for each in found["entry"]]
    assert sorted(codes) == ["create", "search-type"]


# An update that changes nothing


def test_an_update_that_changes_nothing_makes_no_version(server: Live, emr: httpx.Client) -> None:
    first = stored(emr, "n1", extension=[{"url": "urn:x", "valueDecimal": 1.5}])
    place = f"Patient/{first['id']}"
    for resource in (first, {**first, "meta": {"versionId": "9", "lastUpdated": "2000-01-01T00:00:00Z"}}):
        answer = emr.put(place, json=resource)
        assert (answer.status_code, answer.headers["ETag"], answer.json()) == (200, 'W/"1"', first)
        assert answer.headers["Location"].endswith(f"{place}/_history/1")
    assert emr.get(f"{place}/_history").json()["total"] == 1
    with server.client("auditor", "Practitioner/auditor", scope="user/AuditEvent.rs") as auditor:
        found = auditor.get("AuditEvent", params={"entity": place, "subtype": "update"}).json()
    assert found["total"] == 2


def test_an_update_that_changes_a_digit_or_a_tag_makes_a_version(emr: httpx.Client) -> None:
    place = f"Patient/{stored(emr, 'n2', extension=[{'url': 'urn:x', 'valueDecimal': 1.5}])['id']}"
    body = emr.get(place).content.replace(b"1.5", b"1.50")
    assert emr.put(place, content=body).headers["ETag"] == 'W/"2"'
    changed = emr.get(place).json()
    changed["meta"]["tag"] = [{"system": "urn:tag", "code": "a"}]
    assert emr.put(place, json=changed).headers["ETag"] == 'W/"3"'


def test_a_consent_that_another_vouches_for_is_a_version_though_it_says_the_same(server: Live) -> None:
    server.put({"resourceType": "Patient", "id": "n3"})
    consent = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": "Patient/n3"},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "policyRule": {"text": "-"},
    }  # fmt: skip
    with server.client("patient", "Patient/n3") as patient_, server.system() as system:
        made = patient_.post("Consent", json=consent)
        assert made.status_code == 201, made.text
        place = f"Consent/{made.json()['id']}"
        answers = [client.put(place, json=made.json()) for client in (patient_, system, system)]
    assert [each.headers["ETag"] for each in answers] == ['W/"1"', 'W/"2"', 'W/"2"']


def test_if_match_holds_for_an_update_that_changes_nothing(emr: httpx.Client) -> None:
    first = stored(emr, "n4")
    answers = [
        emr.put(f"Patient/{first['id']}", json=first, headers={"If-Match": f'W/"{version}"'}) for version in (1, 2)
    ]
    assert [each.status_code for each in answers] == [200, 412]


def test_if_none_match_star_lets_a_put_only_create(emr: httpx.Client) -> None:
    answers = [
        emr.put("Patient/n5", json=patient("n5", id="n5"), headers={"If-None-Match": "*"}).status_code for _ in range(2)
    ]
    assert answers == [201, 412]


def test_a_part_of_a_resource_cannot_take_the_place_of_the_whole(emr: httpx.Client) -> None:
    first = stored(emr, "n6", gender="male")
    part = {**patient("n6", id=first["id"]), "meta": {"tag": [SUBSETTED]}}
    for answer in (emr.put(f"Patient/{first['id']}", json=part), emr.put("Patient?identifier=n6", json=part)):
        assert answer.status_code == 422
        assert answer.json()["issue"][0]["expression"] == ["Patient.meta.tag"]
    assert emr.get(f"Patient/{first['id']}").json() == first
