"""$replay: a past decision is made again with the Consents as they were (consent.md, D20)."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.app import assemble, keyring_of
from fhir_server.store.keys import KEYS
from tests.consent_engine.build import HIV, T0, actor, coding, consent, deny, permit
from tests.live import Live
from tests.operations.test_explain_access import plain

Json = dict[str, Any]
ORG2 = "Organization/org2"


@pytest.fixture
def key(timed: Live) -> str:
    """A key of a Patient p… and an Observation o… of org1."""
    key = secrets.token_hex(4)
    later(timed)
    timed.put({"resourceType": "Patient", "id": f"p{key}"}, observation(key))
    later(timed)
    return key


def observation(key: str, **more: Any) -> Json:
    to = {"reference": f"Patient/p{key}"}
    return {
        "resourceType": "Observation",
        "id": f"o{key}",
        "status": "final",
        "code": {"text": "x"},
        "subject": to,
        **more,
    }


def later(timed: Live, by: timedelta = timedelta(seconds=1)) -> None:
    timed.clock.now = (timed.clock.now or T0) + by


def given(timed: Live, key: str, provision: Json, **elements: Any) -> Json:
    """Store a Consent by the patient's own hand; return it as stored."""
    later(timed)
    body = {**consent(provision), "category": [{"text": "x"}], "patient": {"reference": f"Patient/p{key}"}, **elements}
    with timed.client("patient", f"Patient/p{key}") as own:
        answer = own.post("Consent", json=body)
    assert answer.status_code == 201, answer.text
    later(timed)
    return dict(answer.json())


def changed(timed: Live, key: str, made: Json, **elements: Any) -> Json:
    later(timed)
    with timed.client("patient", f"Patient/p{key}") as own:
        answer = own.put(f"Consent/{made['id']}", json={**made, **elements})
    assert answer.status_code == 200, answer.text
    later(timed)
    return dict(answer.json())


def stranger(timed: Live, key: str, **claims: Any) -> httpx.Client:
    return timed.client("practitioner", f"Practitioner/dr{key}", "org2", **claims)


def replayed(timed: Live, key: str, auditor: str = "org1") -> list[Json]:
    """Return the replays of the doctor's events, newest first."""
    with timed.client("auditor", "Practitioner/auditor", auditor) as client:
        asked = {"agent": f"Practitioner/dr{key}", "_sort": "-_lastUpdated"}
        ids = [each["resource"]["id"] for each in client.get("AuditEvent", params=asked).json().get("entry", ())]
        answers = [client.get(f"AuditEvent/{id}/$replay") for id in ids]
    for each in answers:
        assert each.status_code == 200, each.text
    return [dict(plain(each.json()["parameter"])) for each in answers]


def test_a_disclosure_comes_out_again_after_the_consent_was_withdrawn(timed: Live, key: str) -> None:
    made = given(timed, key, permit(actor=[actor(ORG2)]))
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
        changed(timed, key, made, status="inactive")
        assert doctor.get(f"Observation/o{key}").status_code == 404
    refused, shown = replayed(timed, key)
    assert shown["same"] is refused["same"] is True
    ground = {"consent": f"Consent/{made['id']}/_history/1", "provision": "provision"}
    assert shown["then"] == shown["recomputed"] == {"effect": "permit", "ground": ground}
    assert shown["record"]["resource"] == f"Observation/o{key}/_history/1"
    assert (shown["record"]["because"], "规则2" in shown["record"]["text"]) == ("rule-2", True)
    assert refused["then"] == refused["recomputed"] == {"effect": "deny"}
    assert (refused["record"]["resource"], refused["record"]["because"]) == (f"Observation/o{key}", "rule-2-missing")


def test_a_denial_comes_out_again_on_its_grounds_after_it_was_deleted(timed: Live, key: str) -> None:
    made = given(timed, key, deny())
    with timed.client("practitioner", f"Practitioner/dr{key}") as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 404
        later(timed)
        with timed.client("patient", f"Patient/p{key}") as own:
            assert own.delete(f"Consent/{made['id']}").status_code == 204
        later(timed)
        assert doctor.get(f"Observation/o{key}").status_code == 200
    shown, refused = replayed(timed, key)
    assert (refused["same"], refused["recomputed"]["effect"], refused["record"]["because"]) == (True, "deny", "rule-3")
    assert refused["recomputed"]["ground"]["consent"] == f"Consent/{made['id']}/_history/1"
    assert (shown["same"], shown["recomputed"], shown["record"]["because"]) == (True, {"effect": "permit"}, "rule-1")


def test_a_search_is_made_again_on_the_versions_that_it_showed(timed: Live, key: str) -> None:
    given(timed, key, permit(actor=[actor(ORG2)], provision=[deny(securityLabel=[coding(*HIV)])]))
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation?_id=o{key}&_include=Observation:subject").json()["total"] == 1
    later(timed)
    timed.put(observation(key, meta={"security": [coding(*HIV)]}))
    later(timed)
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation?_id=o{key}").json()["total"] == 0
    empty, found = replayed(timed, key, "org2")
    assert found["same"] is empty["same"] is True
    assert found["recomputed"]["effect"] == "permit"
    with timed.client("practitioner", f"Practitioner/dr{key}") as own:
        assert own.get(f"Observation/o{key}/_history/1").status_code == 200
    assert replayed(timed, key)[0]["same"] is True


def test_a_consent_that_became_another_persons_says_nothing_any_more(timed: Live, key: str) -> None:
    timed.put({"resourceType": "Patient", "id": f"q{key}"})
    said = {**consent(deny(actor=[actor(f"Practitioner/dr{key}")])), "category": [{"text": "x"}]}
    body = {**said, "patient": {"reference": f"Patient/p{key}"}, "id": f"c{key}"}
    timed.put(body)
    later(timed)
    timed.put({**body, "patient": {"reference": f"Patient/q{key}"}})
    later(timed)
    with timed.client("practitioner", f"Practitioner/dr{key}") as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
    (shown,) = replayed(timed, key)
    assert (shown["same"], shown["record"]["because"]) == (True, "rule-1")


def test_time_in_force_is_that_of_the_decision(timed: Live, key: str) -> None:
    end = (timed.clock.now or T0) + timedelta(minutes=5)
    given(timed, key, permit(actor=[actor(ORG2)], period={"end": end.isoformat()}))
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
        later(timed, timedelta(hours=1))
        assert doctor.get(f"Observation/o{key}").status_code == 404
    refused, shown = replayed(timed, key)
    assert [each["recomputed"]["effect"] for each in (shown, refused)] == ["permit", "deny"]
    assert [each["same"] for each in (shown, refused)] == [True, True]


def test_breaking_the_glass_comes_out_again_for_both_institutions(timed: Live, key: str) -> None:
    claims = {"purpose": "ETREAT", "patient": f"Patient/p{key}", "reason": "昏迷抢救"}
    with stranger(timed, key, **claims) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
    for institution in ("org1", "org2"):
        (shown,) = replayed(timed, key, institution)
        assert (shown["same"], shown["record"]["because"]) == (True, "rule-4")


def test_who_keeps_a_record_learns_only_the_membership_that_its_consent_names(timed: Live, key: str) -> None:
    doctor = {"reference": f"Practitioner/dr{key}"}
    later(timed)
    for name in ("named", "other"):
        group = {"resourceType": "Group", "id": f"{name}{key}", "type": "practitioner", "actual": True}
        timed.put({**group, "member": [{"entity": doctor}]}, organization="org2")
    given(timed, key, permit(actor=[actor(f"Group/named{key}")]))
    with timed.client("practitioner", doctor["reference"], "org2") as reader:
        assert reader.get(f"Observation/o{key}").status_code == 200
    for organization, learns in (("org2", {f"Group/named{key}", f"Group/other{key}"}), ("org1", set())):
        with timed.client("auditor", "Practitioner/auditor", organization) as auditor:
            asked = {"agent": doctor["reference"], "subtype": "read"}
            (entry,) = auditor.get("AuditEvent", params=asked).json()["entry"]
            details = [each for entity in entry["resource"]["entity"] for each in entity.get("detail", ())]
            told = {each["valueString"] for each in details if each["type"] == "membership"}
            answer = auditor.get(f"AuditEvent/{entry['resource']['id']}/$replay")
            again = dict(plain(answer.json()["parameter"]))
        assert len(told) == 2
        assert {each for each in told if each.startswith("Group/")} == learns
        assert again["same"] is True


def test_what_does_not_follow_from_the_consents_is_told(timed: Live, key: str, mongo_uri: str) -> None:
    """Somebody has changed the store behind the server's back: the record says what the Consents do not."""
    made = given(timed, key, permit(actor=[actor(ORG2)]))
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
    with MongoClient[Json](mongo_uri) as client:
        assert client[timed.settings.database]["Consent"].delete_one({"_id": made["id"]}).deleted_count == 1
    (shown,) = replayed(timed, key)
    assert (shown["same"], shown["complete"]) == (False, True)
    assert (shown["then"]["effect"], shown["recomputed"]["effect"]) == ("permit", "deny")


def test_an_auditor_of_those_who_asked_does_not_learn_whether_it_was_hidden(timed: Live, key: str) -> None:
    told = []
    for id in (f"o{key}", f"x{key}"):
        with timed.client("practitioner", f"Practitioner/dr{id}", "org2") as doctor:
            assert doctor.get(f"Observation/{id}").status_code == 404
        (found,) = replayed(timed, id, "org2")
        del found["event"]
        told.append(str(found).replace(id, "?"))
    assert told[0] == told[1]


STRANGERS = [("practitioner", "org1"), ("system", "org1"), ("patient", "org1"), ("auditor", "org3")]


@pytest.mark.parametrize(("role", "organization"), STRANGERS)
def test_only_auditors_of_those_concerned_replay(timed: Live, key: str, role: str, organization: str) -> None:
    with stranger(timed, key) as doctor:
        doctor.get(f"Observation/o{key}")
    with timed.client("auditor", "Practitioner/auditor") as auditor:
        found = auditor.get("AuditEvent", params={"agent": f"Practitioner/dr{key}"}).json()["entry"][0]["resource"]
    user = {"system": "Device/d", "patient": f"Patient/p{key}"}.get(role, "Practitioner/x")
    scope = {"system": "system/*.cruds"}.get(role, "user/*.cruds")
    with timed.client(role, user, organization, scope=scope) as client:
        assert client.get(f"AuditEvent/{found['id']}/$replay").status_code == 404


def test_a_refusal_for_another_reason_is_no_decision(timed: Live, key: str) -> None:
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation/o{key}?_summary=nonsense").status_code == 400
    with timed.client("auditor", "Practitioner/auditor", "org2") as auditor:
        found = auditor.get("AuditEvent", params={"agent": f"Practitioner/dr{key}"}).json()["entry"][0]["resource"]
        assert auditor.get(f"AuditEvent/{found['id']}/$replay").status_code == 422


def test_what_is_no_decision_cannot_be_made_again(timed: Live, key: str) -> None:
    with timed.client("auditor", "Practitioner/auditor") as auditor:
        found = auditor.get("AuditEvent", params={"patient": f"Patient/p{key}", "subtype": "update"}).json()
        answer = auditor.get(f"AuditEvent/{found['entry'][0]['resource']['id']}/$replay")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "processing")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_was_purged_is_named(timed: Live, key: str, mongo_uri: str) -> None:
    made = given(timed, key, permit(actor=[actor(ORG2)]))
    with stranger(timed, key) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
    with MongoClient[Json](mongo_uri) as client:
        database = client[timed.settings.database]
        stored = database["Consent"].find_one({"_id": made["id"]})
        assert stored is not None
        database[KEYS].delete_one({"_id": stored["k"]})
    parts = assemble(timed.settings, keyring_of(timed.settings), uri=mongo_uri)
    found = await parts.services.past.consents([stored["pat"]], 2**62)
    assert found.purged == (f"Consent/{made['id']}/_history/1",)
    assert found.by_person == {stored["pat"]: ()}
    await parts.client.close()
