"""Every disclosure, change and refusal has its AuditEvent before its response leaves; auditors of those concerned see it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.answers import FORM
from tests.consent_engine.build import actor, consent, permit
from tests.live import Live

Json = dict[str, Any]
SECRET = "欧阳"


@pytest.fixture
def key(server: Live) -> str:
    """A key of a Patient p… and an Observation o… of org1."""
    key = secrets.token_hex(4)
    subject = {"reference": f"Patient/p{key}"}
    server.put(
        {"resourceType": "Patient", "id": f"p{key}", "name": [{"family": SECRET}]},
        {"resourceType": "Observation", "id": f"o{key}", "status": "final", "code": {"text": "x"}, "subject": subject},
    )
    return key


@pytest.fixture
def doctor(server: Live, key: str) -> Iterator[httpx.Client]:
    with server.client("practitioner", f"Practitioner/dr{key}") as client:
        yield client


def events(server: Live, organization: str = "org1", **asked: str) -> list[Json]:
    """Return the AuditEvents that an institution's auditor finds, newest first."""
    with server.client("auditor", "Practitioner/auditor", organization) as auditor:
        answer = auditor.get("AuditEvent", params={"_sort": "-_lastUpdated", "_count": "100", **asked})
        assert answer.status_code == 200, answer.text
        return [each["resource"] for each in answer.json().get("entry", ())]


def entities(event: Json, role: str) -> list[str]:
    return [
        each.get("what", {}).get("reference") or base64.b64decode(each["query"]).decode()
        for each in event.get("entity", ())
        if each["role"]["code"] == role
    ]


def of(client: str, server: Live, **more: str) -> list[Json]:
    return events(server, agent=f"Practitioner/dr{client}", **more)


DONE = [
    ("GET", "Patient/p{}", 200, "read", "R", ["Patient/p{}/_history/1"]),
    ("HEAD", "Patient/p{}", 200, "read", "R", ["Patient/p{}/_history/1"]),
    ("GET", "Observation/o{}/_history/1", 200, "vread", "R", ["Observation/o{}/_history/1"]),
    ("GET", "Observation/o{}/_history", 200, "history-instance", "R", ["Observation/o{}/_history/1"]),
    ("GET", "Observation?patient=Patient/p{}", 200, "search-type", "E", ["Observation/o{}/_history/1"]),
    ("GET", "Observation?_id=o{}&_include=Observation:subject", 200, "search-type", "E",
     ["Observation/o{}/_history/1", "Patient/p{}/_history/1"]),
    ("GET", "Observation?patient=Patient/p{}&_summary=count", 200, "search-type", "E", ["Patient/p{}"]),
    ("GET", "Observation?patient=Patient/none", 200, "search-type", "E", ["Patient/none"]),
    ("DELETE", "Observation/o{}", 204, "delete", "D", ["Observation/o{}/_history/2"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status", "interaction", "action", "resources"), DONE, ids=[row[1] for row in DONE]
)
def test_what_was_done_is_recorded_with_agent_purpose_and_entity(
    server: Live,
    doctor: httpx.Client,
    key: str,
    method: str,
    path: str,
    status: int,
    interaction: str,
    action: str,
    resources: list[str],
) -> None:
    asked = path.format(key)
    assert doctor.request(method, asked).status_code == status
    (event,) = of(key, server)
    assert (event["subtype"][0]["code"], event["action"], event["outcome"]) == (interaction, action, "0")
    assert event["agent"][0]["who"]["reference"] == f"Practitioner/dr{key}"
    assert event["agent"][0]["requestor"] is True
    assert event["agent"][1]["who"]["reference"] == "Organization/org1"
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    assert sorted(entities(event, "4")) == sorted(each.format(key) for each in resources)
    whose = "Patient/none" if "none" in asked else f"Patient/p{key}"
    assert entities(event, "1") == [whose]
    if "?" in asked:
        assert entities(event, "24")[0].startswith(asked.split("?")[0])
    assert [each["id"] for each in of(key, server, patient=whose)] == [event["id"]]


def test_a_posted_search_is_recorded_with_what_was_asked(server: Live, doctor: httpx.Client, key: str) -> None:
    assert doctor.post("Patient/_search", data={"family": SECRET}, headers=FORM).status_code == 200
    (event,) = of(key, server)
    assert unquote(entities(event, "24")[0]) == f"Patient?family={SECRET}"


def test_creates_updates_and_transactions_are_recorded_with_what_they_stored(
    server: Live, doctor: httpx.Client, key: str
) -> None:
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/p{key}"},
    }
    made = doctor.post("Observation", json=body).json()
    place = f"Observation/{made['id']}"
    assert doctor.put(place, json={**made, "status": "amended"}).status_code == 200
    entry = {"resource": body, "request": {"method": "POST", "url": "Observation"}}
    stored = doctor.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry, entry]}).json()
    both = [f"Observation/{each['resource']['id']}/_history/1" for each in stored["entry"]]
    found = {each["subtype"][0]["code"]: each for each in of(key, server)}
    assert [entities(found[each], "4") for each in ("create", "update")] == [
        [f"{place}/_history/1"],
        [f"{place}/_history/2"],
    ]
    assert sorted(entities(found["transaction"], "4")) == sorted(both)
    assert [found[each]["action"] for each in ("create", "update", "transaction")] == ["C", "U", "E"]


REFUSED = [
    ("GET", "Patient/none", {}, 404, "read"), ("GET", "Patient?foo=1", {}, 400, "search-type"),
    ("GET", "Patient?birthdate=x", {}, 400, "search-type"), ("GET", "Nonsense/1", {}, 404, "read"),
    ("DELETE", "Patient/none", {}, 404, "delete"), ("POST", "Patient", {}, 422, "create"),
    ("PUT", "Patient/none", {}, 422, "update"), ("GET", "Patient/none/_history", {}, 404, "history-instance"),
    ("GET", "Patient/none/_history/1", {}, 404, "vread"), ("POST", "", {}, 400, "batch"),
    ("POST", "Patient", {"If-None-Exist": "x=1"}, 400, "create"), ("PUT", "Patient/none", {"If-Match": "x"}, 400, "update"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "headers", "status", "interaction"), REFUSED)
def test_a_refusal_is_recorded(
    server: Live,
    doctor: httpx.Client,
    key: str,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    interaction: str,
) -> None:
    answer = doctor.request(method, path, json={} if method in ("POST", "PUT") else None, headers=headers)
    assert answer.status_code == status, answer.text
    (event,) = of(key, server)
    assert (event["subtype"][0]["code"], event["outcome"]) == (interaction, "4")
    assert str(status) in event["outcomeDesc"]
    if "?" in path:
        assert entities(event, "24")


def test_a_refused_posted_search_is_recorded_with_what_was_asked(server: Live, doctor: httpx.Client, key: str) -> None:
    assert doctor.post("Patient/_search", data={"birthdate": "x"}, headers=FORM).status_code == 400
    (event,) = of(key, server)
    assert "birthdate=x" in entities(event, "24")[0]


def test_a_refusal_by_scope_is_recorded(server: Live, key: str) -> None:
    with server.client("practitioner", f"Practitioner/dr{key}", scope="user/Patient.rs") as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 403
    (event,) = of(key, server)
    assert (event["outcome"], entities(event, "4")) == ("4", [f"Observation/o{key}"])


def test_each_entry_of_a_batch_is_recorded(server: Live, doctor: httpx.Client, key: str) -> None:
    urls = [f"Patient/p{key}", "Patient/none", f"Observation?patient=Patient/p{key}"]
    entries = [{"request": {"method": "GET", "url": each}} for each in urls]
    doctor.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
    found = sorted((each["subtype"][0]["code"], each["outcome"]) for each in of(key, server))
    assert found == [("read", "0"), ("read", "4"), ("search-type", "0")]


def test_what_is_hidden_is_recorded_for_those_whose_record_it_is(server: Live, key: str) -> None:
    with server.client("practitioner", f"Practitioner/dr{key}", "org2") as stranger:
        assert stranger.get(f"Observation/o{key}").status_code == 404
    (event,) = of(key, server)
    assert (event["outcome"], entities(event, "1")) == ("4", [f"Patient/p{key}"])


def test_an_auditor_of_those_who_asked_does_not_learn_whether_it_was_hidden_or_absent(server: Live, key: str) -> None:
    told = []
    for id in (f"o{key}", f"x{key}"):
        with server.client("practitioner", f"Practitioner/of-{id}", "org2") as stranger:
            assert stranger.get(f"Observation/{id}").status_code == 404
        (event,) = events(server, "org2", agent=f"Practitioner/of-{id}")
        told.append([each["role"]["code"] for each in event["entity"]])
    assert told[0] == told[1]


def test_the_grounds_are_the_version_and_provision_of_the_consent(server: Live, key: str) -> None:
    nested = permit(actor=[actor("Organization/org2")])
    body = {**consent({"type": "deny", "provision": [nested]}), "category": [{"text": "x"}]}
    with server.client("patient", f"Patient/p{key}") as own:
        given = own.post("Consent", json={**body, "patient": {"reference": f"Patient/p{key}"}}).json()
        given = own.put(f"Consent/{given['id']}", json={**given, "language": "zh"}).json()
    with server.client("practitioner", f"Practitioner/dr{key}", "org2") as guest:
        assert guest.get(f"Observation/o{key}").status_code == 200
        assert guest.get(f"Observation?_id=o{key}").json()["total"] == 1
    with server.client("practitioner", f"Practitioner/dr{key}") as denied:
        assert denied.get(f"Observation/o{key}").status_code == 404
    found = of(key, server)
    assert [each["outcome"] for each in found] == ["4", "0", "0"]
    for event in found:
        grounds = [each for each in event["entity"] if each["role"]["code"] == "12"]
        assert [each["what"]["reference"] for each in grounds] == [f"Consent/{given['id']}/_history/2"]
        assert grounds[0]["detail"][0]["type"] == "provision"
    paths = [
        each["detail"][0]["valueString"] for event in found for each in event["entity"] if each["role"]["code"] == "12"
    ]
    assert paths[0] != paths[1] == paths[2]


def test_only_auditors_of_those_concerned_see_an_event(server: Live, doctor: httpx.Client, key: str) -> None:
    doctor.get(f"Patient/p{key}")
    (event,) = of(key, server)
    place = f"AuditEvent/{event['id']}"
    assert events(server, "org2", agent=f"Practitioner/dr{key}") == []
    users = [("practitioner", f"Practitioner/dr{key}"), ("system", "Device/emr"), ("patient", f"Patient/p{key}")]
    for role, user in [*users, ("related-person", "RelatedPerson/r"), ("auditor", "Practitioner/elsewhere")]:
        organization = "org2" if role == "auditor" else "org1"
        scope = {"patient": "patient/*.cruds", "system": "system/*.cruds"}.get(role, "user/*.cruds")
        with server.client(role, user, organization, scope=scope) as client:
            for path in (place, f"{place}/_history", f"{place}/_history/1"):
                assert client.get(path).status_code == 404, (role, path)
            assert client.get("AuditEvent", params={"_id": event["id"]}).json()["total"] == 0
    with server.client("auditor", "Practitioner/auditor") as auditor:
        assert auditor.get(place).json() == event
        assert auditor.get(f"Patient/p{key}").status_code == 404
        assert auditor.get("Observation").json()["total"] == 0


@pytest.mark.parametrize(
    ("role", "user"),
    [("auditor", "Practitioner/auditor"), ("system", "Device/emr"), ("practitioner", "Practitioner/x")],
)
def test_nobody_writes_an_audit_event_over_http(
    server: Live, doctor: httpx.Client, key: str, role: str, user: str
) -> None:
    doctor.get(f"Patient/p{key}")
    (event,) = of(key, server)
    place = f"AuditEvent/{event['id']}"
    scope = "system/*.cruds" if role == "system" else "user/*.cruds"
    with server.client(role, user, scope=scope) as client:
        for kind in ("batch", "transaction"):
            for request, body in (("PUT", event), ("DELETE", None), ("POST", event)):
                url = "AuditEvent" if request == "POST" else place
                made: Json = {"request": {"method": request, "url": url}, **({"resource": body} if body else {})}
                answer = client.post("", json={"resourceType": "Bundle", "type": kind, "entry": [made]})
                status = (
                    answer.status_code
                    if kind == "transaction"
                    else int(answer.json()["entry"][0]["response"]["status"])
                )
                assert status in (403, 404, 409), answer.text
        for answer in (client.post("AuditEvent", json=event), client.put(place, json=event), client.delete(place)):
            assert answer.status_code in (403, 404, 409), answer.text
    with server.client("auditor", "Practitioner/auditor") as auditor:
        assert auditor.get(place).headers["ETag"] == 'W/"1"'
