"""An account that is closed in the middle of a request: what begins at that moment ends with the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.passwords import Passwords
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.sessions import Sessions
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.authorizations import Authorizations
from tests.auth.accounts.house import PASSWORD, House, hashed

NEW = "another good password"


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, of: type, name: str, house: House, account: Account, change: str
) -> None:
    """Have the operator change an account just before a step of the server is carried out."""
    carried_out = getattr(of, name)
    hashed(NEW)

    async def changed(desk: Reception, authority: Authority) -> None:
        match change:
            case "disabled":
                await desk.users.set_disabled(account.id, True)
            case "password":
                await desk.users.set_password(account.id, hashed(NEW))
            case "second factor":
                await desk.users.drop_secret(account.id)
        await desk.sessions.end_all(account.id)
        await authority.end_all("revocation", account=account.id)

    async def after(self: Any, *given: Any, **more: Any) -> Any:
        await asyncio.to_thread(house.run, changed)
        return await carried_out(self, *given, **more)

    monkeypatch.setattr(of, name, after)


@pytest.mark.parametrize("change", ["disabled", "password", "second factor", "sessions"])
def test_an_approval_stands_only_as_long_as_its_session_does(
    house: House, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask(scope="offline_access user/*.rs").sign_in()
    assert browser.has("allow")
    meanwhile(monkeypatch, Authorizations, "grant", house, doctor, change)
    assert browser.press("allow").back["error"] == "access_denied"
    assert house.run(lambda desk, authority: authority.grants.ids(account=doctor.id)) == []


@pytest.mark.parametrize("change", ["disabled", "password"])
def test_nobody_comes_in_by_a_password_that_is_void_by_then(
    house: House, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask()
    with monkeypatch.context() as patched:
        meanwhile(patched, Sessions, "begin", house, doctor, change)
        assert browser.sign_in().has("sign-in")
    assert browser.ask().has("sign-in")


@pytest.mark.parametrize("change", ["disabled", "password", "second factor"])
def test_nobody_comes_in_by_a_second_factor_that_is_void_by_then(
    house: House, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask()
    browser.press("sign-in", login=doctor.login, password=PASSWORD)
    with monkeypatch.context() as patched:
        meanwhile(patched, Sessions, "begin", house, doctor, change)
        assert not browser.press("code", code=browser.code()).has("allow")
    assert browser.ask().has("sign-in")


def test_a_new_password_stays_though_the_old_one_was_about_to_be_hashed_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask()
    with monkeypatch.context() as patched:
        patched.setattr(Passwords, "outdated", lambda self, kept: True)
        meanwhile(patched, Passwords, "hashed", house, doctor, "password")
        assert browser.sign_in().has("sign-in")
    assert browser.ask().press("sign-in", login=doctor.login, password=NEW).has("code")
