"""Signing in: password, second factor, lock-out, sessions; and what nobody learns by trying."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from argon2 import PasswordHasher
from pymongo import MongoClient

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.browser import name_of
from fhir_server.auth.accounts.flows import Flow
from fhir_server.auth.accounts.sessions import Session
from fhir_server.auth.accounts.steps import Signed
from fhir_server.auth.accounts.users import Kept
from fhir_server.auth.requester import Role
from tests.auth.accounts.house import PASSWORD, SECRET, Browser, House, app
from tests.smart.forms import forms

COOKIE = name_of(False)


def test_a_doctor_signs_in_with_password_and_code_and_approves(house: House) -> None:
    back = house.browser(house.doctor()).ask().sign_in().press("allow").back
    assert back["state"] == "st4te"
    assert back["iss"] == house.origin
    said = house.tokens(back["code"])
    assert set(said["scope"].split()) == {"openid", "user/*.rs"}


def test_a_patient_needs_a_password_only(house: House) -> None:
    browser = house.browser(house.account(Role.PATIENT, "Patient/own")).ask(scope="patient/*.rs")
    browser.press("sign-in", login=browser.account.login, password=PASSWORD)  # type: ignore[union-attr]
    assert not browser.has("code")


def test_who_is_signed_in_is_not_asked_again(house: House) -> None:
    browser = house.browser(house.doctor()).ask().sign_in()
    assert browser.ask().has("allow")


def test_a_wrong_password_and_an_unknown_login_are_answered_alike(house: House) -> None:
    doctor = house.doctor()

    def tried(login: str) -> str:
        page = house.browser().ask().press("sign-in", login=login, password="not the password at all").page
        assert page.status_code == 400
        return re.sub(r'value="[^"]*"|flow=[^&"]*', "", page.text)

    assert tried(doctor.login) == tried("nobody-of-this-name")


def test_login_names_are_compared_without_case_and_width(house: House) -> None:
    doctor = house.doctor(login="Dr.Zhang")
    browser = house.browser(doctor).ask()
    assert browser.press("sign-in", login="ｄｒ.zhang ", password=PASSWORD).has("code")


@pytest.mark.parametrize("known", [True, False])
def test_after_five_failures_even_the_right_password_has_to_wait(house: House, known: bool) -> None:
    login = house.doctor().login if known else f"nobody-{secrets.token_hex(4)}"
    browser = house.browser().ask()
    said = [browser.press("sign-in", login=login, password=f"wrong password {n}").text for n in range(5)]
    assert not any("秒后重试" in each for each in said)
    late = browser.press("sign-in", login=login, password=PASSWORD)
    assert "秒后重试" in late.text
    assert not late.has("code")


def test_the_wait_grows_and_ends(house: House) -> None:
    doctor, clock = house.doctor(), house.server.clock
    browser = house.browser(doctor).ask()
    clock.now = datetime.now(UTC)
    for _ in range(5):
        browser.press("sign-in", login=doctor.login, password="a wrong password")
    waits = []
    for _ in range(3):
        text = browser.press("sign-in", login=doctor.login, password="a wrong password").text
        waits.append(int(re.search(r"(\d+) 秒后重试", text)[1]))  # type: ignore[index]
        clock.now += timedelta(seconds=waits[-1])
        browser.press("sign-in", login=doctor.login, password="a wrong password")
    assert waits == [30, 60, 120]
    clock.now += timedelta(minutes=15)
    assert browser.press("sign-in", login=doctor.login, password=PASSWORD).has("code")


def test_a_code_is_taken_once(house: House) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD)
    code = browser.code()
    assert browser.press("code", code=code).has("allow")
    again = house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD)
    assert not again.press("code", code=code).has("allow")
    assert again.page.status_code == 400


def test_codes_cannot_be_guessed_on_and_on(house: House) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD)
    for _ in range(5):
        browser.press("code", code="000000")
    assert "秒后重试" in browser.press("code", code=browser.code()).text


def test_who_has_to_wait_with_a_new_second_factor_is_in_the_log(house: House) -> None:
    doctor = house.doctor(enrolled=False)
    browser = house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD)
    for _ in range(5):
        browser.press("enrol", code="000000")
    assert "秒后重试" in browser.press("enrol", code="000000").text
    with house.server.client("auditor", "Practitioner/auditor", "org1", "HOPERAT", scope="user/*.rs") as auditor:
        about = {"agent": doctor.user, "subtype": "110122", "_count": "100"}
        found = auditor.get("AuditEvent", params=about).json()["entry"]
    told = [
        each["resource"]["outcomeDesc"] for each in found if "enrolment, waiting" in each["resource"]["outcomeDesc"]
    ]
    assert told == ["HTTP 401 second factor, enrolment, waiting"]


def test_a_doctor_without_a_second_factor_sets_one_up(house: House) -> None:
    doctor = house.doctor(enrolled=False)
    browser = house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD)
    assert browser.has("enrol")
    assert "<svg" in browser.text
    secret = re.search(r'class="key">([A-Z2-7]+)<', browser.text)[1]  # type: ignore[index]
    assert "请先解决" in browser.press("enrol", code="000000").text
    assert browser.press("enrol", code=browser.code(secret)).has("allow")
    later = house.browser(doctor).ask().press("sign-in", login=doctor.login, password=PASSWORD)
    assert later.has("code")
    assert not later.has("enrol")
    assert later.press("code", code=later.code(secret, ahead=1)).has("allow")


def test_a_second_factor_cannot_be_put_in_place_of_another(house: House) -> None:
    doctor = house.doctor(enrolled=False)
    slow, quick = (house.browser(doctor).ask() for _ in range(2))
    for browser in (slow, quick):
        browser.press("sign-in", login=doctor.login, password=PASSWORD)
    secrets_of = [re.search(r'class="key">([A-Z2-7]+)<', each.text)[1] for each in (slow, quick)]  # type: ignore[index]
    assert quick.press("enrol", code=quick.code(secrets_of[1])).has("allow")
    assert not slow.press("enrol", code=slow.code(secrets_of[0])).has("allow")


def test_a_form_without_its_token_does_nothing(house: House) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask()
    for token in ("", "0" * 64):
        assert "表单已失效" in browser.press("sign-in", login=doctor.login, password=PASSWORD, form=token).text
    assert not house.browser(doctor).ask().has("code")
    assert browser.sign_in().has("allow")


def test_a_form_of_another_browser_does_nothing(house: House) -> None:
    doctor = house.doctor()
    theirs, mine = house.browser(doctor).ask(), house.browser(doctor).ask()
    form, _ = theirs.form("sign-in")
    values = {each.name: each.value for each in form.of_kind("hidden")}
    assert mine.press("sign-in", login=doctor.login, password=PASSWORD, **values).page.status_code == 400
    assert not mine.has("code")


def test_the_cookie_is_new_with_each_step(house: House) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor)
    browser.http.cookies.set(COOKIE, "planted-by-somebody-else", domain="127.0.0.1", path="/auth")
    seen = [cookie_of(browser.ask())]
    seen.append(cookie_of(browser.press("sign-in", login=doctor.login, password=PASSWORD)))
    seen.append(cookie_of(browser.press("code", code=browser.code())))
    assert len(set(seen)) == 3
    for old in seen[:2]:
        stranger = house.browser()
        stranger.http.cookies.set(COOKIE, old, domain="127.0.0.1", path="/auth")
        assert stranger.ask().has("sign-in")


def test_the_cookie_is_for_this_server_alone(house: House) -> None:
    header = house.browser().ask().page.headers["set-cookie"]
    assert {each.strip().lower() for each in header.split(";")[1:]} == {"httponly", "path=/auth", "samesite=lax"}


def test_a_session_ends_by_itself(house: House) -> None:
    browser = house.browser(house.doctor()).ask().sign_in()
    house.server.clock.now = datetime.now(UTC) + timedelta(minutes=house.server.settings.session_minutes)
    assert browser.ask().has("sign-in")


def test_a_disabled_account_is_out_at_once_and_cannot_come_back(house: House) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask().sign_in()
    house.run(lambda desk, authority: desk.users.set_disabled(doctor.id, True))
    assert browser.ask().has("sign-in")
    assert not browser.press("sign-in", login=doctor.login, password=PASSWORD).has("code")


def test_an_old_hash_is_made_anew(house: House) -> None:
    doctor = house.doctor()
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    house.run(lambda desk, authority: desk.users.set_password(doctor.id, weak))
    assert house.browser(doctor).ask().sign_in().has("allow")
    kept = house.run(lambda desk, authority: desk.users.by_id(doctor.id))
    assert kept
    assert kept.password != weak
    assert "m=65536,t=3,p=4" in str(kept.password)


PROMPTS = [({"prompt": "login"}, True), ({"max_age": "0"}, True), ({"max_age": "3600"}, False), ({}, False)]


@pytest.mark.parametrize(("asked", "again"), PROMPTS)
def test_an_app_can_ask_to_sign_in_again(house: House, asked: dict[str, str], again: bool) -> None:
    browser = house.browser(house.doctor())
    house.server.clock.now = datetime.now(UTC)
    browser.ask().sign_in()
    house.server.clock.now += timedelta(minutes=1)
    assert browser.ask(**asked).has("sign-in") is again
    if again:
        assert browser.sign_in().has("allow")


def test_prompt_none_never_shows_a_page(house: House) -> None:
    browser = house.browser(house.doctor())
    assert browser.ask(prompt="none").back["error"] == "login_required"
    browser.ask().sign_in()
    assert browser.ask(prompt="none").back["error"] == "consent_required"


def test_nothing_of_a_person_is_in_the_clear(house: House) -> None:
    word = secrets.token_hex(8)
    doctor = house.doctor(login=f"login-{word}", name=f"name-{word}", phone=f"phone-{word}")
    house.browser(doctor).ask(login_hint=f"hint-{word}").sign_in()
    with MongoClient(house.uri) as mongo:
        database = mongo[house.server.settings.database]
        rows = [repr(row) for name in database.list_collection_names() for row in database[name].find()]
    assert len(rows) > 5
    assert not [row for row in rows if word in row or doctor.user in row or SECRET in row]


def test_sign_in_without_an_app_ends_at_home(house: House) -> None:
    browser = house.browser(house.doctor()).open("/auth/sign-in").sign_in()
    assert "您已登录" in browser.text


def cookie_of(browser: Browser) -> str:
    found = [each.value for each in browser.http.cookies.jar if each.name == COOKIE]
    return str(found[-1])


def test_a_page_that_is_gone_says_so(house: House) -> None:
    browser = house.browser(house.doctor()).ask()
    form = forms(browser.page)[0]
    answer = httpx.post(form.action, data={"step": "sign-in", "flow": "gone", "form": "x"}, timeout=60)
    assert answer.status_code == 400
    assert "已过期" in answer.text


def test_what_is_secret_stays_out_of_what_an_error_could_print() -> None:
    account = Account("", "login-x", "name-x", Role.PRACTITIONER, "Practitioner/x", "org1", ("TREAT",), phone="138-x")
    kept = Kept(account, "hash-x", "seed-x")
    asked = (("login_hint", "138-x"),)
    flow = Flow("token-x", 0, asked, secret="seed-x", provider={"verifier": "verifier-x"})
    said = repr(
        (kept, flow, Signed(kept, Session("s", "a", 0, frozenset()), "cookie-x"), app("a", secret_hash="hash-x"))
    )
    assert "-x" not in said
