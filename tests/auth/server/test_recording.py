"""Every token, refusal and revocation is an AuditEvent that auditors find: consent.md, D19; IHE IUA."""

from __future__ import annotations

from typing import Any

from fhir_server.auth.server.clients import Kind
from tests.auth.server.apps import App, Desk, app

Json = dict[str, Any]


def events(desk: Desk, **asked: str) -> list[Json]:
    """Return the AuditEvents that an auditor of org1 finds, newest first."""
    with desk.server.client("auditor", "Practitioner/auditor", "org1") as auditor:
        answer = auditor.get("AuditEvent", params={"_sort": "-date", "_count": "20", **asked})
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]


def test_a_token_is_an_event_of_its_user_and_client(desk: Desk) -> None:
    client = app(desk)
    client.signed_in()
    token, authorized = events(desk, subtype="ITI-71")[:2]
    for event in (token, authorized):
        assert event["type"]["code"] == "110114"
        assert event["outcome"] == "0"
        assert event["agent"][0]["who"]["reference"] == "Practitioner/dr-zhang"
        assert client.client.id in event["outcomeDesc"]


def test_a_refusal_is_an_event_and_names_the_client_if_it_is_a_registered_one(desk: Desk) -> None:
    client = app(desk, Kind.BACKEND)
    client.backend(client_assertion=client.assertion(exp=1))
    refused = next(each for each in events(desk, subtype="110126") if client.client.id in each["outcomeDesc"])
    assert (refused["outcome"], refused["type"]["code"]) == ("4", "110114")
    assert "invalid_client" in refused["outcomeDesc"]
    desk.post("token", {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "13812345678"})
    assert not any("13812345678" in str(each) for each in events(desk, subtype="110126"))


def test_a_second_use_of_a_code_and_a_revocation_are_alerts(desk: Desk, public_app: App) -> None:
    code = public_app.code()
    public_app.redeem(code)
    public_app.redeem(code)
    said = public_app.signed_in()
    public_app.desk.post("revoke", {"token": said["refresh_token"], **public_app.proof()})
    alerts = events(desk, type="110113")
    assert len(alerts) >= 2
    assert all(each["agent"][0]["who"]["reference"] == "Practitioner/dr-zhang" for each in alerts[:2])


def test_an_event_holds_neither_token_nor_code(desk: Desk, public_app: App) -> None:
    code = public_app.code()
    said = public_app.redeem(code).json()
    text = str(events(desk))
    assert [each for each in (code, said["access_token"], said["refresh_token"]) if each in text] == []
