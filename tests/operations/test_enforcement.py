"""$enforcement, and what those who keep a Consent are told of it (consent.md, D1 and D2; scenarios A8, C7, H2)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from fhir_server.operations import enforcement
from tests.consent_engine.build import ACT_CODE, SCOPE, T0, actor, codings, concept, consent, deny, permit
from tests.live import Live
from tests.operations.test_explain_access import plain

Json = dict[str, Any]
ORG2 = "Organization/org2"
AMBIGUOUS = {"policyRule": concept(ACT_CODE, "OPTOUT")}
UNKNOWN: Json = {"purpose": codings("urn:x", "unknown")}


@pytest.fixture
def key(timed: Live) -> str:
    """A key of an institution org… with a Patient p… who was born in 2010 and an Observation o…."""
    key, to = secrets.token_hex(4), {}
    to = {"reference": f"Patient/p{key}"}
    timed.clock.now = T0
    timed.put(
        {"resourceType": "Patient", "id": f"p{key}", "birthDate": "2010-01-01"},
        {"resourceType": "RelatedPerson", "id": f"r{key}", "patient": to},
        {"resourceType": "Observation", "id": f"o{key}", "status": "final", "code": {"text": "x"}, "subject": to},
        organization=f"org{key}",
    )
    return key


def given(timed: Live, key: str, provision: Json, **elements: Any) -> str:
    """Store a Consent by the patient's own hand; return its id."""
    body = {**consent(provision), "category": [{"text": "x"}], "patient": {"reference": f"Patient/p{key}"}, **elements}
    with timed.client("patient", f"Patient/p{key}", f"org{key}") as own:
        answer = own.post("Consent", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def keeper(timed: Live, key: str) -> httpx.Client:
    return timed.system(f"org{key}")


def told(answer: httpx.Response) -> list[tuple[str, str]]:
    """Return resource and status of each Consent."""
    assert answer.status_code == 200, answer.text
    found = plain(answer.json().get("parameter", []))
    return [(each["resource"], each["status"]) for name, each in found if name == "consent"]


def messages(timed: Live, key: str) -> list[Json]:
    """Return the Communications that an institution's own system finds."""
    with keeper(timed, key) as client:
        bundle = client.get("Communication", params={"recipient": f"Organization/org{key}"}).json()
    return [each["resource"] for each in bundle.get("entry", ())]


FAULTY = [
    (permit(), AMBIGUOUS, "contradictory", "Consent.policyRule"),
    (permit(**UNKNOWN), {}, "unsupported", "provision.purpose"),
    (permit(period={"end": "2020"}), {}, "lapsed", "provision.period"),
    (permit(), {"scope": concept(SCOPE, "treatment")}, "ignored", "Consent.scope"),
]  # fmt: skip


@pytest.mark.parametrize(("provision", "elements", "status", "path"), FAULTY)
def test_the_keeper_and_the_patient_are_told_what_is_at_fault(
    timed: Live, key: str, provision: Json, elements: Json, status: str, path: str
) -> None:
    id = given(timed, key, provision, **elements)
    sound = given(timed, key, permit(actor=[actor(ORG2)]))
    place = f"Consent/{id}/_history/1"
    auditor = timed.client("auditor", "Practitioner/auditor", f"org{key}")
    own = timed.client("patient", f"Patient/p{key}", f"org{key}")
    for client in (keeper(timed, key), auditor, own):
        with client:
            one = client.get(f"Consent/{id}/$enforcement")
            assert told(one) == [(place, status)]
            ((_, said),) = plain(one.json()["parameter"])
            assert said["reason"]["path"] == path
            assert told(client.get(f"Consent/{sound}/$enforcement")) == [(f"Consent/{sound}/_history/1", "enforced")]
            assert told(client.get("Consent/$enforcement")) == [(place, status)]


def test_what_was_ended_is_not_at_fault(timed: Live, key: str) -> None:
    given(timed, key, permit(), status="inactive")
    with keeper(timed, key) as client:
        assert told(client.get("Consent/$enforcement")) == []


@pytest.mark.parametrize("role", ["practitioner", "system", "patient", "auditor"])
def test_nobody_else_is_told(timed: Live, key: str, role: str) -> None:
    id = given(timed, key, permit(**UNKNOWN))
    user = {"system": "Device/d", "patient": f"Patient/other{key}"}.get(role, "Practitioner/x")
    scope = {"system": "system/*.cruds"}.get(role, "user/*.cruds")
    organization = f"org{key}" if role == "practitioner" else "org9"
    with timed.client(role, user, organization, scope=scope) as client:
        there, never = (client.get(f"Consent/{each}/$enforcement") for each in (id, "never"))
        assert (there.status_code, there.content) == (404, never.content)
        every = client.get("Consent/$enforcement")
        assert every.status_code == 404 if role == "practitioner" else told(every) == []


def test_the_consents_at_fault_come_page_by_page(timed: Live, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {given(timed, key, permit(**UNKNOWN)) for _ in range(5)}
    monkeypatch.setattr(enforcement, "MOST_READ", 2)
    found: list[str] = []
    with keeper(timed, key) as client:
        url: str | None = "Consent/$enforcement"
        while url:
            answer = client.get(url)
            page = told(answer)
            assert len(page) <= 2
            found += [each.split("/")[1] for each, _ in page]
            url = dict(plain(answer.json()["parameter"])).get("next")
    assert (len(found), set(found)) == (5, ids)


STORED = [(permit(), AMBIGUOUS, "自相矛盾"), (permit(**UNKNOWN), {}, "用途未知")]


@pytest.mark.parametrize(("provision", "elements", "words"), STORED)
def test_the_keeper_is_told_once_when_it_is_stored(
    timed: Live, key: str, provision: Json, elements: Json, words: str
) -> None:
    """Scenarios A8 and C7. A contradictory Consent forbids all, also to its keeper: the message is not the patient's."""
    id = given(timed, key, provision, **elements)
    with timed.client("practitioner", "Practitioner/dr", f"org{key}") as doctor:
        doctor.get(f"Observation/o{key}")
    (message,) = messages(timed, key)
    assert message["about"] == [{"reference": f"Consent/{id}/_history/1"}]
    assert words in message["payload"][0]["contentString"]
    assert "subject" not in message
    assert f"p{key}" not in str(message)


def test_nobody_is_told_of_what_does_what_it_says(timed: Live, key: str) -> None:
    given(timed, key, permit(actor=[actor(ORG2)]))
    given(timed, key, deny(actor=[actor(ORG2)]), status="inactive", **AMBIGUOUS)
    assert messages(timed, key) == []


def test_what_a_consent_rests_on_may_be_stored_with_it(timed: Live, key: str) -> None:
    group: Json = {
        "resourceType": "Group", "id": f"g{key}", "type": "practitioner", "actual": True,
        "member": [{"entity": {"reference": "Practitioner/dr"}}],
    }  # fmt: skip
    made = {**consent(permit(actor=[actor(f"Group/g{key}")])), "category": [{"text": "x"}], "id": f"c{key}"}
    made["patient"] = {"reference": f"Patient/p{key}"}
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in (made, group)
    ]
    with keeper(timed, key) as client:
        answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
    assert messages(timed, key) == []
    with keeper(timed, key) as client:
        assert client.delete(f"Group/g{key}").status_code == 204
        assert told(client.get("Consent/$enforcement")) == [(f"Consent/c{key}/_history/1", "unsupported")]


@pytest.mark.parametrize("door", ["Observation/o{}", "Observation?_id=o{}", "Observation?_id=o{}&_summary=count"])
def test_the_keeper_is_told_when_a_request_first_meets_a_proxy_that_lapsed(timed: Live, key: str, door: str) -> None:
    """Scenario H2: the patient comes of age on 2028-01-01."""
    proxy = [{"reference": f"RelatedPerson/r{key}"}]
    id = given(timed, key, permit(actor=[actor(ORG2)]), performer=proxy)
    with timed.client("practitioner", "Practitioner/dr", "org2") as doctor:
        timed.clock.now = datetime(2027, 12, 31, 12, tzinfo=UTC)
        assert doctor.get(f"Observation/o{key}").status_code == 200
        assert messages(timed, key) == []
        timed.clock.now = datetime(2028, 1, 1, 12, tzinfo=UTC)
        for _ in range(2):
            assert str(key) not in doctor.get(door.format(key)).text.replace(f"_id=o{key}", "")
    (message,) = messages(timed, key)
    assert message["about"] == [{"reference": f"Consent/{id}/_history/1"}]
    assert "代理权已终止" in message["payload"][0]["contentString"]
    with keeper(timed, key) as client:
        assert told(client.get("Consent/$enforcement")) == [(f"Consent/{id}/_history/1", "lapsed")]
