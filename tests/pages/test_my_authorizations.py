"""A patient's own page of authorizations: what is shown, what is answered, what is ended, and for whom."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.auth.requester import Role
from tests.auth.accounts.house import Browser
from tests.consent_engine.build import ACT_CODE, actor, concept, consent, deny, permit
from tests.databases import fresh
from tests.live import live
from tests.pages.ward import Ward, number, observation

LIST = "/my/authorizations"
OPTOUT = concept(ACT_CODE, "OPTOUT")


def told(browser: Browser) -> str:
    """Return what a page says, without what is new on every page."""
    plain = re.sub(r"<[^>]*>", " ", browser.text)
    return re.sub(r"\s+", " ", plain)


def card(browser: Browser, id: str) -> str:
    """Return what the list says of one authorization."""
    found = next(each for each in browser.text.split('<li class="card">') if f'/my/authorizations/{id}"' in each)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found))


def sees(client: httpx.Client, path: str) -> bool:
    status = client.get(path).status_code
    assert status in (200, 404)
    return status == 200


def test_the_list_shows_each_authorization_in_words(ward: Ward) -> None:
    id = ward.person()
    dates = {"period": {"start": "2026-01-01", "end": "2030-12-31"}, "dataPeriod": {"start": "2020-01-01"}}
    types = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]}
    treat = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]
    given = ward.granted(id, provision=permit(actor=[actor("Organization/org2")], purpose=treat, **dates, **types))
    asked = ward.asked(id)
    browser = ward.signed_in(ward.account(id))
    said = card(browser, given)
    for part in (
        "允许市中心医院查阅",
        "生效中",
        "为您诊疗",
        "检验结果与观察",
        "2020-01-01 至 今后",
        "2026-01-01",
        "2030-12-31",
    ):
        assert part in said
    said = card(browser, asked)
    for part in ("第一人民医院申请查阅", "等待您答复", "全部健康", "李医生1（第一人民医院）", "2027-03-09"):
        assert part in said
    assert told(browser).index("等待您答复") < told(browser).index("生效中")
    assert "My authorizations" in browser.open(LIST, lang="en").text
    assert "May" not in browser.open(LIST, lang="zh").text


def test_what_is_asked_is_told_plainly_and_agreed_to(ward: Ward) -> None:
    shared = number(secrets.randbelow(300_000))
    id, there = ward.person(number=shared), ward.person(number=shared, organization="org2")
    record = f"o{secrets.token_hex(4)}"
    ward.server.put(observation(record, there), organization="org2")
    asked = ward.asked(id)
    browser = ward.signed_in(ward.account(id), f"{LIST}/{asked}")
    for sentence in ("第一人民医院请求查阅您的健康记录，用来为您诊断和治疗", "2027年3月9日", "不同意不影响您就医"):
        assert sentence in browser.text
    with ward.doctor("org1") as doctor:
        assert not sees(doctor, f"Observation/{record}")
        browser.press("agree")
        assert browser.page.status_code == 200
        assert "授权已生效" in browser.text
        assert "生效中" in told(browser)
        assert sees(doctor, f"Observation/{record}")
    assert "授权生效" in told(browser)
    assert not browser.has("agree")
    again = browser.page.url
    assert browser.open(again.path, **dict(again.params)).page.status_code == 200


def test_declining_leaves_everything_closed(ward: Ward) -> None:
    id = ward.person()
    asked = ward.asked(id)
    browser = ward.signed_in(ward.account(id), f"{LIST}/{asked}").press("decline")
    assert "您已拒绝，对方不能查阅" in browser.text
    assert "您已拒绝" in card(browser.open(LIST), asked)


def test_revoking_asks_first_and_then_holds_at_once(ward: Ward) -> None:
    id = ward.person()
    given = ward.granted(id)
    browser = ward.signed_in(ward.account(id), f"{LIST}/{given}")
    with ward.doctor("org2") as doctor:
        assert sees(doctor, f"Patient/{id}")
        asked = browser.open(f"{LIST}/{given}/revoke")
        assert "撤销后，以下查阅立即停止" in asked.text
        assert "允许市中心医院查阅" in asked.text
        assert sees(doctor, f"Patient/{id}")
        browser.press("revoke")
        assert "授权已撤销，立即生效" in browser.text
        assert not sees(doctor, f"Patient/{id}")
    assert "已撤销" in card(browser.open(LIST), given)
    assert not browser.open(f"{LIST}/{given}/revoke").has("revoke")


def test_a_form_that_was_left_open_says_that_the_status_has_changed(ward: Ward) -> None:
    id = ward.person()
    asked = ward.asked(id)
    account = ward.account(id)
    first, second = (ward.signed_in(account, f"{LIST}/{asked}") for _ in range(2))
    first.press("agree")
    second.press("decline")
    assert second.page.status_code == 409
    assert "操作没有完成" in second.text
    assert "生效中" in told(second)


def test_an_exception_is_shown_as_one(ward: Ward) -> None:
    id = ward.person()
    inner = deny(actor=[actor("Practitioner/dr-org2")])
    given = ward.granted(id, provision=permit(actor=[actor("Organization/org2")], provision=[inner]))
    said = told(ward.signed_in(ward.account(id), f"{LIST}/{given}"))
    assert re.search("例外 其中拒绝 查阅方 李医生2", said)


@pytest.fixture
def others(ward: Ward) -> tuple[str, str, str]:
    """Ids of another patient, of their request, and of their authorization."""
    id = ward.person("刘小红")
    return id, ward.asked(id), ward.granted(id)


def test_what_is_anothers_is_as_if_it_were_not(ward: Ward, others: tuple[str, str, str]) -> None:
    mine = ward.person()
    own = ward.asked(mine)
    browser = ward.signed_in(ward.account(mine), f"{LIST}/{own}")
    form, agree = browser.form("agree")
    for other in others[1:]:
        for path in (f"{LIST}/{other}", f"{LIST}/{other}/revoke"):
            hidden = browser.http.get(f"{ward.house.origin}{path}")
            absent = browser.http.get(f"{ward.house.origin}{path.replace(other, 'never')}")
            assert hidden.status_code == absent.status_code == 404
            assert hidden.text == absent.text
        for step in ("agree", "decline", "revoke"):
            pairs = [(name, value) for name, value in form.pairs({}, agree) if name != "step"]
            data = dict(pairs) | {"step": step}
            hidden = browser.http.post(f"{ward.house.origin}{LIST}/{other}", data=data)
            absent = browser.http.post(f"{ward.house.origin}{LIST}/never", data=data)
            assert hidden.status_code == absent.status_code == 404
            assert hidden.text == absent.text
    with ward.server.client("patient", f"Patient/{others[0]}", purpose="PATRQT") as them:
        assert [them.get(f"Consent/{each}").json()["status"] for each in others[1:]] == ["proposed", "active"]


def test_no_page_of_a_patient_differs_by_what_exists_of_others(ward: Ward) -> None:
    mine = ward.person()
    given = ward.granted(mine)
    browser = ward.signed_in(ward.account(mine))
    paths = (LIST, f"{LIST}/{given}", f"{LIST}/{given}/revoke", "/my/access?own=0")

    def pages() -> list[str]:
        return [browser.http.get(f"{ward.house.origin}{each}").text for each in paths]

    before = pages()
    other = ward.person("刘小红")
    ward.asked(other)
    ward.granted(other)
    with ward.doctor("org1") as doctor:
        assert sees(doctor, f"Patient/{other}")
    assert pages() == before


def test_a_page_of_another_site_can_send_nothing(ward: Ward) -> None:
    id = ward.person()
    given = ward.granted(id)
    browser = ward.signed_in(ward.account(id))
    for data in ({"step": "revoke"}, {"step": "revoke", "form": "made-up"}):
        answer = browser.http.post(f"{ward.house.origin}{LIST}/{given}", data=data)
        assert answer.status_code == 400
        assert "此表单已失效" in answer.text
    browser.http.post(f"{ward.house.origin}/my/sign-out", data={"step": "sign-out"})
    with ward.doctor("org2") as doctor:
        assert sees(doctor, f"Patient/{id}")
    assert browser.open(LIST).page.url.path == LIST


PATHS = [LIST, f"{LIST}/x", f"{LIST}/x/revoke", "/my/access", "/my"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_signing_in(ward: Ward, path: str) -> None:
    browser = ward.house.browser().open(path)
    assert browser.page.url.path == "/my/sign-in"
    assert browser.has("sign-in")


def test_whoever_signs_out_is_out(ward: Ward) -> None:
    browser = ward.signed_in(ward.account(ward.person()))
    cookies = dict(browser.http.cookies)
    browser.press("sign-out")
    browser.http.cookies.update(cookies)  # the session has ended, whatever the browser still has
    assert browser.open(LIST).page.url.path == "/my/sign-in"


def test_the_pages_are_for_patients_and_guardians(ward: Ward) -> None:
    doctor = ward.house.browser(ward.house.doctor("Practitioner/dr-org1")).open("/my/sign-in").sign_in()
    assert doctor.page.status_code == 403
    assert "供患者和监护人使用" in doctor.text
    assert doctor.open(LIST).page.url.path == "/my/sign-in"


def test_a_second_factor_that_was_set_up_is_asked_for(ward: Ward) -> None:
    account = ward.account(ward.person(), enrolled=True)
    browser = ward.house.browser(account).open("/my/sign-in")
    browser.press("sign-in", login=account.login, password="wrong wrong wrong")
    assert browser.page.status_code == 400
    assert "用户名或密码不正确" in browser.text
    browser.sign_in()
    assert browser.page.url.path == LIST


def test_a_guardian_sees_what_the_patient_has_opened_to_them(ward: Ward) -> None:
    id = ward.person()
    related = f"r{secrets.token_hex(4)}"
    said = {"patient": {"reference": f"Patient/{id}"}, "name": [{"text": "王大明"}]}
    ward.server.put({"resourceType": "RelatedPerson", "id": related, **said})
    account = ward.house.account(Role.RELATED_PERSON, f"RelatedPerson/{related}", name="王大明")
    browser = ward.signed_in(account)
    assert "没有可以查看的患者" in browser.text
    opened_to = ward.granted(id, provision=permit(actor=[actor(f"RelatedPerson/{related}")]))
    assert "允许您本人查阅" in card(browser.open(LIST), opened_to)


def test_every_page_is_recorded_before_it_leaves(ward: Ward) -> None:
    id = ward.person()
    given = ward.granted(id)
    account = ward.account(id)
    browser = ward.signed_in(account)
    pages = {LIST: {"search-type"}, f"{LIST}/{given}": {"read", "history-instance"}, "/my/access": {"search-type"}}
    for path, expected in pages.items():
        before = {each["id"] for each in ward.events(agent=f"Patient/{id}")}
        assert browser.open(path).page.status_code == 200
        new = [each for each in ward.events(agent=f"Patient/{id}") if each["id"] not in before]
        assert expected <= {each["subtype"][0]["code"] for each in new}
        assert {code["code"] for each in new for code in each["purposeOfEvent"][0]["coding"]} == {"PATRQT"}


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(ward: Ward, mongo_uri: str, tmp_path: Path) -> None:
    said = ward.house.browser().open("/my/sign-in").page.headers.get_list("set-cookie")
    assert len(said) == 2
    assert all("HttpOnly" in each and "SameSite=lax" in each for each in said)
    said_url = {"base_url": "https://fhir.example.org/fhir"}
    with fresh(mongo_uri) as name, live(mongo_uri, tmp_path, database=name, **said_url) as secure:
        answer = httpx.get(f"http://127.0.0.1:{secure.settings.port}/my/sign-in")
        session = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("__Host-fhir-my="))
        assert {"Secure", "Path=/", "HttpOnly"} <= {part.strip() for part in session.split(";")}
        assert "Domain" not in session


HEADERS: dict[str, Any] = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
}


def test_pages_are_kept_from_frames_caches_and_scripts(ward: Ward) -> None:
    browser = ward.signed_in(ward.account(ward.person()))
    for path in (LIST, "/my/access"):
        headers = browser.open(path).page.headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"} <= {*policy}
        assert "<script" not in browser.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/my/none", 404), ("GET", "/none", 404), ("PUT", "/my/access", 405)]
)
def test_so_is_what_no_route_leads_to(ward: Ward, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, f"{ward.house.origin}{path}")
    assert (answer.status_code, {name: answer.headers[name] for name in HEADERS}) == (status, HEADERS)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert (answer.headers.get("allow") is not None) == (status == 405)


def test_who_has_signed_in_elsewhere_takes_the_session_along(ward: Ward) -> None:
    account = ward.account(ward.person())
    browser = ward.house.browser(account).open("/auth/my")
    assert browser.page.url.path == "/auth/sign-in"
    browser.open("/auth/my", lang="en").sign_in()
    assert browser.page.url.path == LIST
    assert 'href="/auth/my"' in browser.open("/auth/sign-in").text
    assert browser.open("/auth/sign-in", next="my").page.url.path == LIST
    assert browser.open("/auth/sign-in", next="https://evil.example.org/").page.url.path == "/auth/sign-in"
    browser.press("sign-out")
    assert browser.open("/auth/my").page.url.path == "/auth/sign-in"


def test_a_denial_is_shown_and_cannot_be_revoked_by_mistake(ward: Ward) -> None:
    id = ward.person()
    given = ward.granted(id, provision=deny(actor=[actor("Organization/org2")]), policyRule=OPTOUT)
    browser = ward.signed_in(ward.account(id), f"{LIST}/{given}")
    assert "拒绝市中心医院查阅" in browser.text
    assert f"{given}/revoke" not in browser.text
    assert not browser.open(f"{LIST}/{given}/revoke").has("revoke")


def test_a_guardian_sees_answers_and_ends_what_a_child_was_asked_for(ward: Ward) -> None:
    shared = number(secrets.randbelow(300_000))
    account, id = ward.guardian(number=shared)
    elsewhere = ward.person(number=shared, organization="org2", birthDate=ward.born(8))
    asked, theirs = ward.asked(id), ward.asked(elsewhere, "org2")
    browser = ward.signed_in(account)
    assert "没有可以查看的患者" not in browser.text
    for each, who in ((asked, "第一人民医院"), (theirs, "市中心医院")):
        assert f"{who}申请查阅" in card(browser, each)
    browser.open(f"{LIST}/{asked}").press("agree")
    assert "授权已生效" in browser.text
    browser.open(f"{LIST}/{asked}/revoke").press("revoke")
    assert "授权已撤销，立即生效" in browser.text
    stranger, _ = ward.guardian()
    assert f"/my/authorizations/{asked}" not in ward.signed_in(stranger).text
    assert "没有这份授权" in ward.signed_in(stranger, f"{LIST}/{asked}").text


def test_what_was_prepared_and_never_asked_for_is_told_as_such(ward: Ward) -> None:
    """Its details hold no button that would do nothing."""
    id = ward.person()
    with ward.server.client("system", "Device/emr-org1", scope="system/*.cruds") as emr:
        said = consent(
            permit(actor=[actor("Organization/org2")]), patient={"reference": f"Patient/{id}"}, status="proposed"
        )
        answer = emr.post(
            "Consent", json={**said, "policyRule": concept(ACT_CODE, "OPTIN"), "category": [{"text": "共享"}]}
        )
        assert answer.status_code == 201, answer.text
    prepared = answer.json()["id"]
    browser = ward.signed_in(ward.account(id))
    assert "已拟好，未生效" in browser.text
    assert "拟由市中心医院查阅 未生效" in card(browser, prepared)
    browser.open(f"{LIST}/{prepared}")
    assert "不能在这里答复" in browser.text
    assert not browser.has("agree")
    assert not browser.has("decline")
