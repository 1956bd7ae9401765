"""Refresh tokens: RFC 6749 section 6; RFC 9700, 4.14; SMART App Launch 2.2, "Refresh access token"."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fhir_server.auth.server.clients import Kind
from tests.auth.server.apps import App, Desk, app, doctor


def test_a_refresh_brings_new_tokens_and_the_context_again(public_app: App) -> None:
    first = public_app.signed_in()
    answer = public_app.refresh(first["refresh_token"])
    assert answer.headers["Cache-Control"] == "no-store"
    second = answer.json()
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert (second["patient"], second["scope"]) == ("p1", first["scope"])
    assert public_app.desk.read(second["access_token"]) == 200
    assert public_app.refresh(second["refresh_token"]).status_code == 200


def test_only_offline_and_online_access_bring_refresh_tokens(public_app: App) -> None:
    for scope, brings in [
        ("patient/*.rs", False),
        ("patient/*.rs online_access", True),
        ("patient/*.rs offline_access", True),
    ]:
        assert ("refresh_token" in public_app.signed_in(scope=scope)) is brings


def test_a_refresh_token_that_comes_again_ends_the_whole_grant(public_app: App) -> None:
    first = public_app.signed_in()
    second = public_app.refresh(first["refresh_token"]).json()
    assert public_app.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert public_app.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
    assert public_app.desk.read(first["access_token"]) == 401
    assert public_app.desk.read(second["access_token"]) == 401


def test_of_many_who_use_one_refresh_token_at_once_at_most_one_gets_tokens(public_app: App) -> None:
    token = public_app.signed_in()["refresh_token"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: public_app.refresh(token), range(8)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) <= 1
    assert all(public_app.desk.read(each["access_token"]) == 401 for each in won)


def test_scopes_narrow_and_never_widen(public_app: App) -> None:
    first = public_app.signed_in(scope="openid offline_access patient/*.rs")
    narrow = public_app.refresh(first["refresh_token"], scope="patient/Observation.rs").json()
    assert narrow["scope"] == "patient/Observation.rs"
    assert public_app.desk.read(narrow["access_token"], "Observation") == 200
    whole = public_app.refresh(narrow["refresh_token"]).json()
    assert whole["scope"] == first["scope"]  # the grant itself is as it was
    for wider in ("patient/*.cruds", "user/*.rs", "patient/*.rs user/*.rs", "launch/patient patient/*.rs", "x"):
        assert public_app.refresh(whole["refresh_token"], scope=wider).json()["error"] == "invalid_scope"
    assert public_app.refresh(whole["refresh_token"]).status_code == 200  # a refused one is not used up


def test_a_refresh_token_of_another_client_or_of_nobody_brings_nothing(desk: Desk, public_app: App) -> None:
    token = public_app.signed_in()["refresh_token"]
    other = app(desk)
    for wrong in (token[:-4] + "AAAA", "x", "é", f"{token}.x", ""):
        assert public_app.refresh(wrong).json()["error"] in ("invalid_grant", "invalid_request")
    assert other.refresh(token).json()["error"] == "invalid_grant"
    assert public_app.refresh(token).status_code == 200


def test_a_public_app_need_not_name_itself_and_a_confidential_one_has_to_prove_itself(
    desk: Desk, public_app: App
) -> None:
    token = public_app.signed_in()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert desk.post("token", form | {"client_id": "another"}).json()["error"] == "invalid_client"
    answer = desk.post("token", form)
    assert answer.status_code == 200, answer.text
    assert desk.post("token", form).json()["error"] == "invalid_grant"  # used: all is ended
    again = desk.post("token", form | {"refresh_token": answer.json()["refresh_token"]})
    assert again.json()["error"] == "invalid_grant"
    for kind in (Kind.SYMMETRIC, Kind.ASYMMETRIC):
        confidential = app(desk, kind).signed_in()["refresh_token"]
        assert desk.post("token", form | {"refresh_token": confidential}).json()["error"] == "invalid_client"


def test_a_confidential_app_refreshes_only_with_its_secret(desk: Desk) -> None:
    client = app(desk, Kind.SYMMETRIC)
    token = client.signed_in()["refresh_token"]
    assert client.refresh(token, client_secret="").json()["error"] == "invalid_client"
    assert client.refresh(token, client_secret="wrong").json()["error"] == "invalid_client"
    assert client.refresh(token).status_code == 200


def test_a_sign_out_ends_what_was_granted_for_the_session_and_nothing_for_offline_access(public_app: App) -> None:
    online = public_app.signed_in(
        doctor("patient/*.rs online_access", session="s1"), scope="patient/*.rs online_access"
    )
    offline = public_app.signed_in(
        doctor("patient/*.rs offline_access", session="s1"), scope="patient/*.rs offline_access"
    )
    other = public_app.signed_in(doctor("patient/*.rs online_access", session="s2"), scope="patient/*.rs online_access")
    assert public_app.desk.run(lambda authority: authority.end_all("sign-out", session="s1")) == 1
    assert public_app.desk.read(online["access_token"]) == 401
    assert public_app.refresh(online["refresh_token"]).json()["error"] == "invalid_grant"
    assert public_app.desk.read(offline["access_token"]) == 200
    assert public_app.refresh(offline["refresh_token"]).status_code == 200
    assert public_app.refresh(other["refresh_token"]).status_code == 200


def test_an_account_that_is_closed_loses_all_that_it_granted(public_app: App) -> None:
    said = public_app.signed_in()
    assert public_app.desk.run(lambda authority: authority.end_all("revocation", account="account-1")) > 0
    assert public_app.desk.read(said["access_token"]) == 401
    assert public_app.refresh(said["refresh_token"]).json()["error"] == "invalid_grant"
