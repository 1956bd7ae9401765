"""Signing out: the session ends, online access of apps ends, and nobody is signed out by another site."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.auth.accounts.house import BACK, Browser, House

OUT = f"{BACK}?out=1"


def signed_in(house: House, scope: str = "openid online_access user/*.rs") -> tuple[Browser, dict[str, Any]]:
    browser = house.browser(house.doctor()).ask(scope=scope).sign_in()
    return browser, house.tokens(browser.press("allow").back["code"])


def reads(house: House, said: dict[str, Any]) -> bool:
    with house.server.bearing(said["access_token"]) as client:
        return client.get("Organization").status_code == 200


def refreshed(house: House, said: dict[str, Any]) -> int:
    data = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"], "client_id": house.client.id}
    return httpx.post(f"{house.origin}/auth/token", data=data, timeout=60).status_code


def test_an_app_signs_its_user_out_with_their_id_token(house: House) -> None:
    browser, said = signed_in(house)
    assert reads(house, said)
    query = {"id_token_hint": said["id_token"], "post_logout_redirect_uri": OUT, "state": "s"}
    page = browser.open("/auth/sign-out", **query).page
    assert page.headers["location"] == f"{OUT}&state=s"
    assert not reads(house, said)
    assert refreshed(house, said) == 400
    assert browser.ask().has("sign-in")


def test_offline_access_outlives_the_session(house: House) -> None:
    browser, said = signed_in(house, "openid offline_access user/*.rs")
    browser.open("/auth/sign-out", id_token_hint=said["id_token"])
    assert "已退出登录" in browser.text
    assert refreshed(house, said) == 200


def test_without_an_id_token_the_user_is_asked(house: House) -> None:
    browser, said = signed_in(house)
    browser.open("/auth/sign-out", client_id=house.client.id, post_logout_redirect_uri=OUT)
    assert browser.has("sign-out")
    assert reads(house, said)
    assert browser.press("sign-out").page.headers["location"] == OUT
    assert not reads(house, said)


def test_the_id_token_of_somebody_else_signs_nobody_out(house: House) -> None:
    browser, said = signed_in(house)
    _, other = signed_in(house)
    assert browser.open("/auth/sign-out", id_token_hint=other["id_token"]).has("sign-out")
    damaged = said["id_token"][:-6] + "AAAAAA"
    assert browser.open("/auth/sign-out", id_token_hint=damaged).has("sign-out")
    assert reads(house, said)


def test_a_form_without_its_token_signs_nobody_out(house: House) -> None:
    browser, said = signed_in(house)
    browser.http.post(f"{house.origin}/auth/sign-out", data={"step": "sign-out", "form": "x"})
    assert reads(house, said)
    assert browser.ask().has("allow")


@pytest.mark.parametrize("target", ["https://evil.example.org/", BACK, f"{OUT}&more", ""])
def test_nobody_is_sent_to_an_address_that_is_not_registered(house: House, target: str) -> None:
    browser, said = signed_in(house)
    page = browser.open("/auth/sign-out", id_token_hint=said["id_token"], post_logout_redirect_uri=target).page
    assert page.status_code == 200
    assert "location" not in page.headers
    assert "evil" not in page.text


def test_an_apps_form_is_turned_into_a_question_without_the_id_token(house: House) -> None:
    _, said = signed_in(house)
    data = {"id_token_hint": said["id_token"], "post_logout_redirect_uri": OUT}
    answer = httpx.post(f"{house.origin}/auth/sign-out", data=data, timeout=60)
    assert answer.status_code == 303
    assert said["id_token"] not in answer.headers["location"]
    assert f"client_id={house.client.id}" in answer.headers["location"]


def test_signing_out_twice_is_no_error(house: House) -> None:
    browser, _ = signed_in(house)
    browser.open("/auth/sign-out").press("sign-out")
    assert "已退出登录" in browser.open("/auth/sign-out").text
