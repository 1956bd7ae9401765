"""The page that a booking opens: what is asked, how it is answered, and where it leads back to."""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.revocation import revoke_token
from fhir_server.pages.prompt.prompts import PROMPTS, Prompts
from fhir_server.store.commit import Unit
from tests.auth.accounts.house import PASSWORD, Browser
from tests.pages.ward import BACK, FRAMES, Ward, number, observation, phone

Json = dict[str, Any]


def answered(browser: Browser) -> Json:
    """Return what the caller is told at its URL."""
    assert browser.page.status_code == 303, browser.text
    location = browser.page.headers["location"]
    assert location.startswith(BACK.split("?")[0] + "?"), location
    said = dict(parse_qsl(urlsplit(location).query))
    assert said.pop("from") == "page"
    return said


def status_of(ward: Ward, consent: str) -> str:
    with ward.server.system() as system:
        return str(system.get(f"Consent/{consent}").json()["status"])


@pytest.fixture
def shared(ward: Ward) -> tuple[str, str, str]:
    """Somebody whom both hospitals know: their Patient at the first, their phone, their Observation at the second."""
    known = number(secrets.randbelow(300_000))
    to = f"138{secrets.randbelow(10**8):08}"
    mine, there = (ward.person(number=known, organization=each, **phone(to)) for each in ("org1", "org2"))
    ward.server.put(observation(f"o-{there}", there), organization="org2")
    return mine, to, f"o-{there}"


def test_who_signs_in_is_asked_in_plain_words_and_agrees(ward: Ward, shared: tuple[str, str, str]) -> None:
    id, _, there = shared
    account = ward.account(id)
    browser = ward.at_prompt(id, account, type=["Observation"])
    for sentence in (
        "第一人民医院请求查阅您的健康记录",
        "检验结果与观察、患者基本信息",
        "2027年3月9日",
        "不同意不影响您就医",
    ):
        assert sentence in browser.text
    assert "王小明" not in browser.text  # nobody has signed in
    browser.open("/consent-prompt", **dict(browser.page.url.params), step="sign-in").sign_in()
    assert "以“王小明”的身份答复" in browser.text
    browser.press("agree")
    said = answered(browser)
    assert (said["status"], said["state"]) == ("agreed", "s1")
    assert status_of(ward, said["consent"]) == "active"
    with ward.server.system() as system:
        found = system.get(f"Consent/{said['consent']}").json()
    assert found["performer"] == [{"reference": f"Patient/{id}"}]
    assert found["verification"][0]["verified"] is True
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"Observation/{there}").status_code == 200


def test_without_an_account_a_code_from_a_text_message_says_yes(ward: Ward, shared: tuple[str, str, str]) -> None:
    id, to, there = shared
    browser = ward.at_prompt(id).press("send")
    assert browser.has("verify")
    assert to not in browser.text
    code = ward.code(to)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    browser.press("verify", code=wrong)
    assert "验证码不正确" in browser.text
    assert "还可尝试 4 次" in browser.text
    said = answered(browser.press("verify", code=f" {code[:3]} {code[3:]}"))
    assert said["status"] == "agreed"
    assert status_of(ward, said["consent"]) == "active"
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"Observation/{there}").status_code == 200


def test_a_code_is_sent_again_for_the_same_question(ward: Ward, shared: tuple[str, str, str]) -> None:
    id, to, _ = shared
    browser = ward.at_prompt(id).press("send")
    first = ward.code(to)
    browser.press("send")
    second = ward.code(to, besides=first)
    browser.press("verify", code=first)
    assert browser.has("verify")
    assert answered(browser.press("verify", code=second))["status"] == "agreed"
    with ward.server.client("patient", f"Patient/{id}", purpose="PATRQT") as own:
        assert own.get("Consent", params={"patient": f"Patient/{id}"}).json()["total"] == 1


def test_a_code_that_is_guessed_too_often_opens_nothing(ward: Ward, shared: tuple[str, str, str]) -> None:
    id, to, _ = shared
    browser = ward.at_prompt(id).press("send")
    code = ward.code(to)
    for _ in range(5):
        browser.press("verify", code=f"{(int(code) + 1) % 10**6:06}")
    browser.press("verify", code=code)
    assert "验证码已失效" in browser.text
    assert not browser.page.is_redirect


@pytest.mark.parametrize(
    ("step", "status", "consent"), [("decline", "declined", "rejected"), ("later", "later", "proposed")]
)
def test_no_and_not_now_lead_back_as_well(ward: Ward, step: str, status: str, consent: str) -> None:
    id = ward.person()
    account = ward.account(id)
    browser = ward.signed_in(account)
    token = ward.prompt(id).json()["request"]
    said = answered(browser.open("/consent-prompt", request=token).press(step))
    assert said["status"] == status
    assert status_of(ward, said["consent"]) == consent
    if step == "later":
        assert browser.open(f"/my/authorizations/{said['consent']}").has("agree")


def test_whoever_has_not_signed_in_can_put_it_off_but_not_speak_for_the_patient(ward: Ward) -> None:
    id = ward.person()
    assert answered(ward.at_prompt(id).press("decline")) == {"state": "s1", "status": "declined"}
    with ward.server.client("patient", f"Patient/{id}", purpose="PATRQT") as own:
        assert own.get("Consent", params={"patient": f"Patient/{id}"}).json()["total"] == 0
    browser = ward.at_prompt(id)
    form, _ = browser.form("later")
    sent = dict(form.pairs({}, None)) | {"step": "agree"}
    answer = browser.http.post(form.action, data=sent)
    assert "step=sign-in" in answer.headers["location"]
    assert answered(browser.press("later"))["status"] == "later"


def test_somebody_elses_account_cannot_answer(ward: Ward) -> None:
    id, other = ward.person(), ward.person("刘小红")
    browser = ward.signed_in(ward.account(other, "刘小红"))
    token = ward.prompt(id).json()["request"]
    for step in ("agree", "decline"):
        browser.open("/consent-prompt", request=token).press(step)
        assert "不是发给您的账户的" in browser.text
    assert browser.press("leave").has("send")
    account = ward.account(id)
    browser.account = account
    browser.open("/consent-prompt", request=token, step="sign-in").sign_in()
    assert answered(browser.press("agree"))["status"] == "agreed"


def test_a_doctor_cannot_answer_for_a_patient(ward: Ward) -> None:
    doctor = ward.house.doctor("Practitioner/dr-org1")
    browser = ward.at_prompt(ward.person())
    browser.open("/consent-prompt", **dict(browser.page.url.params), step="sign-in")
    browser.press("sign-in", login=doctor.login, password=PASSWORD)
    assert "不是患者或监护人的账户" in browser.text
    assert not browser.has("agree")


def test_a_guardian_answers_for_a_minor(ward: Ward) -> None:
    born = (datetime.now(UTC) - timedelta(days=3_000)).strftime("%Y-%m-%d")
    id, related = ward.person(birthDate=born), f"r{secrets.token_hex(4)}"
    father = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "FTH"}]}
    said = {"patient": {"reference": f"Patient/{id}"}, "relationship": [father]}
    ward.server.put({"resourceType": "RelatedPerson", "id": related, "active": True, **said})
    account = ward.house.account(Role.RELATED_PERSON, f"RelatedPerson/{related}", name="王大明")
    browser = ward.signed_in(account)
    browser.open("/consent-prompt", request=ward.prompt(id).json()["request"])
    found = answered(browser.press("agree"))
    with ward.server.system() as system:
        consent = system.get(f"Consent/{found['consent']}").json()
    assert consent["status"] == "active"
    assert consent["performer"] == [{"reference": f"RelatedPerson/{related}"}]


def test_a_second_factor_is_asked_for_here_too(ward: Ward) -> None:
    id = ward.person()
    account = ward.account(id, enrolled=True)
    browser = ward.at_prompt(id, account)
    browser.open("/consent-prompt", **dict(browser.page.url.params), step="sign-in")
    browser.press("sign-in", login=account.login, password="wrong wrong wrong")
    assert "用户名或密码不正确" in browser.text
    browser.press("sign-in", login=account.login, password=PASSWORD)
    assert browser.has("code")
    assert not browser.has("agree")
    browser.press("code", code="000000")
    assert "动态验证码不正确" in browser.text
    browser.press("code", code=browser.code())
    assert answered(browser.press("agree"))["status"] == "agreed"


def test_going_back_shows_the_answer_and_not_the_question(ward: Ward) -> None:
    id = ward.person()
    browser = ward.signed_in(ward.account(id))
    browser.open("/consent-prompt", request=ward.prompt(id).json()["request"])
    url, (form, agree) = browser.page.url, browser.form("agree")
    before = answered(browser.press("agree"))
    assert browser.open(url.path, **dict(url.params)).page.status_code == 200
    assert "您已同意" in browser.text
    assert not browser.has("agree")
    assert f"status=agreed&amp;consent={before['consent']}" in browser.text
    for step in ("agree", "decline", "later", "send"):  # the question, sent again from the browser's memory
        again = browser.http.post(form.action, data=dict(form.pairs({}, agree)) | {"step": step})
        assert again.status_code == 303
        assert dict(parse_qsl(urlsplit(again.headers["location"]).query))["status"] == "agreed"
    assert status_of(ward, before["consent"]) == "active"
    with ward.server.client("patient", f"Patient/{id}", purpose="PATRQT") as own:
        assert own.get("Consent", params={"patient": f"Patient/{id}"}).json()["total"] == 1


def test_of_two_answers_at_once_the_first_stands(ward: Ward) -> None:
    token = ward.prompt(ward.person()).json()["request"]

    async def both(desk: Reception, authority: Authority) -> list[str | None]:
        prompts = Prompts(ward.house.database, desk.vault, desk.clock)
        kept = await prompts.of(token)
        assert kept
        return [(await prompts.note(kept, result=each)).progress.result for each in ("declined", "agreed")]

    assert ward.house.run(both) == ["declined", "declined"]


def test_a_form_from_elsewhere_does_nothing(ward: Ward) -> None:
    id = ward.person()
    browser = ward.signed_in(ward.account(id))
    token = ward.prompt(id).json()["request"]
    browser.open("/consent-prompt", request=token)
    forged = {"flow": token, "step": "agree", "form": "made-up"}
    answer = browser.http.post(f"{ward.house.origin}/consent-prompt/answer", data=forged)
    assert "said=form_expired" in answer.headers["location"]
    stranger = httpx.post(f"{ward.house.origin}/consent-prompt/answer", data=forged)
    assert stranger.status_code == 400
    assert "Cookie" in stranger.text
    assert browser.open("/consent-prompt", request=token).has("agree")


def test_a_prompt_ends_by_itself(ward: Ward) -> None:
    id = ward.person()
    token = ward.prompt(id).json()["request"]
    browser = ward.house.browser().open("/consent-prompt", request=token)
    ward.server.clock.now = datetime.now(UTC) + timedelta(minutes=31)
    gone = browser.open("/consent-prompt", request=token)
    never = ward.house.browser().open("/consent-prompt", request="made-up")
    assert gone.page.status_code == never.page.status_code == 404
    assert gone.text == never.text
    assert "已过期或不存在" in gone.text
    assert browser.open("/consent-prompt").page.status_code == 404


def test_whose_token_was_revoked_asks_nobody_any_more(ward: Ward) -> None:
    id, token = ward.person(), ward.booking()
    browser = ward.signed_in(ward.account(id))
    browser.open("/consent-prompt", request=ward.prompt(id, token).json()["request"])

    async def revoke(desk: Reception, authority: Authority) -> None:
        unit = Unit()
        revoke_token(jti_of(token), unit)
        await desk.use.committer.commit(unit)

    ward.house.run(revoke)
    assert "操作没有完成" in browser.press("agree").text
    with ward.server.client("patient", f"Patient/{id}", purpose="PATRQT") as own:
        assert own.get("Consent", params={"patient": f"Patient/{id}"}).json()["total"] == 0
    assert ward.prompt(id, token).status_code == 401
    (event, *_) = ward.events(altid=jti_of(token), outcome="4")
    assert event["agent"][0]["who"]["reference"] == "Device/booking"
    assert event["outcomeDesc"] == "HTTP 401 consent prompt: login"


def jti_of(token: str) -> str:
    part = token.split(".")[1]
    return str(json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))["jti"])


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "an address that is not registered": ({}, {"return_url": "https://evil.example.org/"}, 400),
    "a registered address and more": ({}, {"return_url": BACK + "&x=1"}, 400),
    "a registered address without its query": ({}, {"return_url": BACK.split("?")[0]}, 400),
    "no address": ({}, {"return_url": None}, 400),
    "another institution": ({}, {"organization": "org2"}, 400),
    "a client that is not set to ask": ({"client": "stranger"}, {}, 403),
    "no client": ({"client": None}, {}, 403),
    "a client that was never registered": ({"client": "nobody"}, {}, 403),
    "a client of another institution": ({"organization": "org2"}, {}, 403),
    "a doctor": ({"role": "practitioner", "fhirUser": "Practitioner/dr-org1"}, {}, 403),
    "no right to read patients": ({"scope": "system/Observation.rs"}, {}, 403),
    "a purpose that nobody may be asked for": ({}, {"purpose": "HMARKT"}, 400),
    "an end that has passed": ({}, {"expires": "2020-01-01"}, 400),
    "an end that is none": ({}, {"expires": "soon"}, 400),
    "no end": ({}, {"expires": None}, 400),
    "a day that is none": ({}, {"since": "2026"}, 400),
    "a type that is none": ({}, {"type": ["Everything"]}, 400),
    "types that are no list": ({}, {"type": "Observation"}, 400),
    "a patient that is none": ({}, {"patient": "Practitioner/dr-org1"}, 400),
    "a language that is none": ({}, {"lang": "fr"}, 400),
    "a state without end": ({}, {"state": "x" * 513}, 400),
    "a number for a text": ({}, {"state": 7}, 400),
    "something else": ({}, {"colour": "red"}, 400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_booking_asks_for_what_it_may(ward: Ward, what: str) -> None:
    claims, said, status = REFUSED[what]
    token = ward.booking(**claims)
    answer = ward.prompt(ward.person(), token, **said)
    assert answer.status_code == status, answer.text
    assert answer.json()["error_description"]
    events = ward.events("org2" if claims.get("organization") else "org1", altid=jti_of(token))
    assert [(each["outcome"], each["outcomeDesc"].split()[1]) for each in events] == [("4", str(status))]


def test_a_token_is_needed(ward: Ward) -> None:
    answer = httpx.post(f"{ward.house.origin}/consent-prompt", json={})
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]
    assert ward.prompt("x", "not-a-token").status_code == 401


def test_bad_tokens_and_links_are_recorded_and_gathered(ward: Ward) -> None:
    def told(why: str) -> list[str]:
        return [
            each["outcomeDesc"] for each in ward.events(subtype="operation", outcome="4") if why in each["outcomeDesc"]
        ]

    page = f"{ward.house.origin}/consent-prompt"
    for _ in range(20):
        assert ward.prompt("x", "not-a-token").status_code == 401
        assert httpx.get(page, params={"request": "none"}).status_code == 404
    assert "HTTP 401 consent prompt: login" in told("login")
    assert "HTTP 404 consent prompt: link" in told("link")
    assert max(len(told(why)) for why in ("prompt: login", "prompt: link")) < 20


def test_a_hidden_patient_is_answered_as_an_absent_one(ward: Ward) -> None:
    hidden = ward.person(organization="org2")
    answers = [ward.prompt(each) for each in (hidden, "never")]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].content == answers[1].content


def test_only_named_origins_may_frame_the_page(ward: Ward) -> None:
    plain, framed = (
        ward.at_prompt(ward.person(), token=ward.booking(each)).page.headers for each in ("booking", "framed")
    )
    assert "frame-ancestors 'none'" in plain["content-security-policy"]
    assert plain["x-frame-options"] == "DENY"
    assert f"frame-ancestors {FRAMES}" in framed["content-security-policy"].split("; ")
    assert "x-frame-options" not in framed
    for each in (plain, framed):
        assert "form-action 'self' https://booking.hospital.example" in each["content-security-policy"].split("; ")
        assert "default-src 'none'" in each["content-security-policy"].split("; ")


def test_the_page_needs_no_script_and_no_window(ward: Ward) -> None:
    text = ward.at_prompt(ward.person(), lang="en").text
    assert "asks to see your health records" in text
    assert "<script" not in text
    assert "target=" not in text
    assert "width=device-width" in text


def test_what_is_kept_of_a_prompt_names_nobody(ward: Ward, shared: tuple[str, str, str]) -> None:
    id, *_ = shared
    token = ward.prompt(id, state="my-state").json()["request"]
    with MongoClient[dict[str, Any]](ward.uri) as mongo:
        rows = mongo[ward.server.settings.database][PROMPTS].find().to_list()
    kept = str(rows)
    assert rows
    assert not [each for each in (id, token, "my-state", "org1", "booking", "Patient") if each in kept]


def test_every_step_is_recorded_with_who_took_it(ward: Ward) -> None:
    id = ward.person()
    browser = ward.signed_in(ward.account(id))
    browser.open("/consent-prompt", request=ward.prompt(id).json()["request"])
    consent = answered(browser.press("agree"))["consent"]
    events = ward.events(entity=f"Consent/{consent}")
    agents = [each["agent"][0]["who"]["reference"] for each in reversed(events)]
    assert agents[0] == "Device/booking"
    assert agents[-1] == f"Patient/{id}"
    assert any("consent prompt" in each.get("outcomeDesc", "") for each in events)


def test_no_page_tells_more_of_a_patient_who_is_known_elsewhere(ward: Ward) -> None:
    """The pages of two patients, of whom one has records and authorizations in another hospital, are the same."""
    known = number(secrets.randbelow(300_000))
    alone, elsewhere = ward.person(), ward.person(number=known)
    there = ward.person(number=known, organization="org2")
    ward.server.put(observation(f"o-{there}", there), organization="org2")
    ward.granted(there, to="org2")
    pages = []
    for id in (alone, elsewhere):
        browser = ward.at_prompt(id)
        texts = [browser.text, browser.press("send").text, browser.press("verify", code="000000").text]
        pages.append([re.sub(r'(name="(form|flow)" value=|request=)"?[^"&]*', "", each) for each in texts])
    assert pages[0] == pages[1]
