"""Introspection: RFC 7662; SMART App Launch 2.2, "Token introspection"."""

from __future__ import annotations

from typing import Any

import httpx

from fhir_server.auth.server.clients import Kind
from tests.auth.server.apps import App, Desk, app, doctor

INACTIVE = {"active": False}


def asked(by: App, token: str) -> Any:
    answer = by.desk.post("introspect", {"token": token, **by.proof()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()


def test_a_client_learns_what_a_token_of_its_institution_says(backend: App, public_app: App) -> None:
    said = public_app.signed_in(doctor("openid fhirUser patient/*.rs", encounter="e1"))
    found = asked(backend, said["access_token"])
    assert found["active"] is True
    assert (found["client_id"], found["scope"]) == (public_app.client.id, said["scope"])
    assert (found["patient"], found["encounter"]) == ("p1", "e1")
    assert found["fhirUser"] == f"{backend.desk.server.base}/Practitioner/dr-zhang"
    assert found["exp"] > found["iat"]
    assert {"iss", "sub", "aud"} <= found.keys()


def test_a_token_that_bears_itself_may_ask(backend: App, public_app: App) -> None:
    token, bearing = public_app.signed_in()["access_token"], backend.backend().json()["access_token"]
    url = f"{backend.desk.origin}/auth/introspect"
    answer = httpx.post(url, data={"token": token}, headers={"Authorization": f"Bearer {bearing}"})
    assert (answer.status_code, answer.json()["active"]) == (200, True)
    backend.desk.post("revoke", {"token": bearing, **backend.proof()})
    for wrong in (bearing, "x", backend.desk.server.token("system", "Device/emr-org1")):
        refused = httpx.post(url, data={"token": token}, headers={"Authorization": f"Bearer {wrong}"})
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


def test_what_is_not_the_askers_or_not_good_is_inactive_and_no_more(desk: Desk, backend: App, public_app: App) -> None:
    stranger = app(desk, Kind.BACKEND, organization="org2", system_user="Device/emr-org2")
    said = public_app.signed_in()
    ended = public_app.signed_in()
    public_app.desk.post("revoke", {"token": ended["access_token"], **public_app.proof()})
    assert asked(stranger, said["access_token"]) == INACTIVE
    assert asked(backend, said["refresh_token"]) == INACTIVE  # it is another client's
    assert asked(backend, ended["access_token"]) == INACTIVE
    for text in ("x", "a.b.c", said["id_token"], desk.server.token("system", "Device/emr-org1")):
        assert asked(backend, text) == INACTIVE


def test_a_refresh_token_is_active_for_its_own_client_until_it_is_used(desk: Desk) -> None:
    client = app(desk, Kind.SYMMETRIC)
    token = client.signed_in()["refresh_token"]
    found = asked(client, token)
    assert (found["active"], found["client_id"]) == (True, client.client.id)
    client.refresh(token)
    assert asked(client, token) == INACTIVE


def test_a_public_client_and_a_stranger_learn_nothing(desk: Desk, public_app: App) -> None:
    token = public_app.signed_in()["access_token"]
    answer = desk.post("introspect", {"token": token, **public_app.proof()})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert desk.post("introspect", {"token": token}).json()["error"] == "invalid_client"
