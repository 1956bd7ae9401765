"""From an app's request to a code: what is chosen, what is approved, and what a changed form cannot do."""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64decode
from typing import Any

import httpx
import pytest

from fhir_server.auth.requester import Role
from tests.auth.accounts.house import BACK, Browser, House, app
from tests.consent_engine.build import actor, consent, permit

Json = dict[str, Any]


def patient(id: str, name: str = "张三", **more: Any) -> Json:
    mrn = {"system": "https://hospital.example.org/mrn", "value": f"MRN{id}"}
    return {"resourceType": "Patient", "id": id, "name": [{"text": name}], "identifier": [mrn], **more}


def visit(id: str, patient: str, start: str = "2026-01-02") -> Json:
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "门诊"}
    subject = {"reference": f"Patient/{patient}"}
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "class": coding,
        "subject": subject,
        "period": {"start": start},
    }


@pytest.fixture
def ids(house: House) -> tuple[str, str]:
    """Ids of a patient of org1 with a visit of the id "v-<id>", and of one of org2, whom org1's doctors may not see."""
    word = secrets.token_hex(4)
    mine, theirs = f"a{word}", f"b{word}"
    house.server.put(patient(mine), visit(f"v-{mine}", mine))
    house.server.put(patient(theirs, "李四"), visit(f"v-{theirs}", theirs), organization="org2")
    return mine, theirs


def at_picker(house: House, **changed: Any) -> Browser:
    usual = {"scope": "launch/patient patient/*.rs"}
    return house.browser(house.doctor()).ask(**{**usual, **changed}).sign_in()


def told(browser: Browser) -> str:
    """Return what a page tells, without what is new on every page."""
    return re.sub(r'(name="(form|flow)" value=|flow=)"?[^"&]*', "", browser.text)


def test_a_doctor_picks_a_patient_by_number_and_the_app_gets_that_one(house: House, ids: tuple[str, str]) -> None:
    browser = at_picker(house).press("search", q=f"MRN{ids[0]}")
    assert "张三" in browser.text
    back = browser.press("patient", patient=ids[0]).press("allow").back
    said = house.tokens(back["code"])
    assert said["patient"] == ids[0]
    with house.server.bearing(said["access_token"]) as client:
        assert client.get(f"Patient/{ids[0]}").status_code == 200


def test_a_patient_is_found_by_name(house: House, ids: tuple[str, str]) -> None:
    name = (
        "欧阳"
        + "甲乙丙丁戊己庚辛壬癸"[int(ids[0][-1], 16) % 10]
        + ids[0].translate(str.maketrans("0123456789", "零一二三四五六七八九"))
    )
    house.server.put(patient(f"n{ids[0]}", name))
    assert at_picker(house).press("search", q=name).has("patient")


def test_a_patient_who_may_not_be_seen_is_answered_as_one_who_is_not_there(house: House, ids: tuple[str, str]) -> None:
    browser, nobody = at_picker(house), f"c{ids[0][1:]}"
    hidden, absent = (told(browser.press("search", q=f"MRN{each}")).replace(each, "x") for each in (ids[1], nobody))
    assert hidden == absent
    assert "没有找到" in hidden
    browser.press("search", q=f"MRN{ids[0]}")
    hidden, absent = (told(tampered(browser, patient=each)).replace(each, "x") for each in (ids[1], nobody))
    assert hidden == absent
    assert "没有这位患者" in hidden


def tampered(browser: Browser, button_of_form: str = "patient", **values: str) -> Browser:
    """Send a form with values that the page did not offer; the browser stays where it was."""
    form, button = browser.form(button_of_form)
    pairs = [(each.name, each.value) for each in form.of_kind("hidden")]
    answer = browser.http.post(form.action, data={**dict(pairs), "step": button.value, **values})
    made = Browser(browser.house, browser.account)
    made.http.close()
    made.page = answer
    return made


def test_a_consent_opens_the_patient_in_the_picker_and_its_end_closes_it(house: House, ids: tuple[str, str]) -> None:
    browser = at_picker(house)
    made = consent(permit(actor=[actor("Organization/org1")]))
    said = {**made, "category": [{"text": "x"}], "patient": {"reference": f"Patient/{ids[1]}"}}
    with house.server.system("org2") as client:
        stored = client.post("Consent", json=said).json()
        assert browser.press("search", q=f"MRN{ids[1]}").has("patient")
        assert client.put(f"Consent/{stored['id']}", json={**stored, "status": "inactive"}).status_code == 200
    assert not browser.press("search", q=f"MRN{ids[1]}").has("patient")


@pytest.mark.parametrize("text", [".*", "$where", "*", "a,b|c", "\\", "%"])
def test_what_is_typed_is_a_value(house: House, ids: tuple[str, str], text: str) -> None:
    browser = at_picker(house).press("search", q=text)
    assert browser.page.status_code == 200
    assert "没有找到" in browser.text


def test_a_search_is_recorded_for_auditors(house: House, ids: tuple[str, str]) -> None:
    browser = at_picker(house)
    browser.press("search", q=f"MRN{ids[0]}")
    assert browser.account
    with house.server.client("auditor", "Practitioner/audit", scope="user/*.rs") as auditor:
        found = auditor.get("AuditEvent", params={"agent": browser.account.user, "_count": "50"}).json()
    kinds = [each["resource"]["subtype"][0]["code"] for each in found.get("entry", ())]
    assert {"110122", "search-type"} <= set(kinds)


def test_a_visit_is_picked_after_the_patient(house: House, ids: tuple[str, str]) -> None:
    browser = at_picker(house, scope="launch/patient launch/encounter patient/*.rs")
    browser.press("search", q=f"MRN{ids[0]}").press("patient", patient=ids[0])
    assert "门诊" in browser.text
    assert tampered(browser, "encounter", encounter=f"v-{ids[1]}").page.status_code == 400
    said = house.tokens(browser.press("encounter", encounter=f"v-{ids[0]}").press("allow").back["code"])
    assert (said["patient"], said["encounter"]) == (ids[0], f"v-{ids[0]}")


def test_a_patient_is_in_context_without_being_asked(house: House, ids: tuple[str, str]) -> None:
    account = house.account(Role.PATIENT, f"Patient/{ids[0]}")
    browser = house.browser(account).ask(scope="launch/patient patient/*.rs user/*.rs").sign_in()
    said = house.tokens(browser.press("allow").back["code"])
    assert said["patient"] == ids[0]


def test_a_related_person_has_their_patient_as_long_as_the_patient_permits(house: House, ids: tuple[str, str]) -> None:
    related = f"r{ids[0]}"
    reference = {"reference": f"Patient/{ids[0]}"}
    house.server.put({"resourceType": "RelatedPerson", "id": related, "patient": reference})
    account = house.account(Role.RELATED_PERSON, f"RelatedPerson/{related}")
    browser = house.browser(account).ask(scope="launch/patient patient/*.rs").sign_in()
    assert "没有找到" in browser.text
    made = consent(permit(actor=[actor(f"RelatedPerson/{related}")]))
    with house.server.system() as client:
        client.post("Consent", json={**made, "category": [{"text": "x"}], "patient": reference}).raise_for_status()
    said = house.tokens(browser.ask(scope="launch/patient patient/*.rs").press("allow").back["code"])
    assert said["patient"] == ids[0]


def test_what_is_unticked_is_not_granted(house: House) -> None:
    browser = house.browser(house.doctor()).ask(scope="openid offline_access user/*.rs").sign_in()
    assert "长期有效" in browser.text
    said = house.tokens(browser.press("allow", scope="user/*.rs").back["code"])
    assert said["scope"] == "user/*.rs"
    assert "refresh_token" not in said


def test_what_was_not_asked_cannot_be_ticked(house: House) -> None:
    browser = house.browser(house.doctor()).ask(scope="user/Patient.rs").sign_in()
    assert tampered(browser, "allow", scope="user/*.cruds").page.status_code == 400
    form, button = browser.form("allow")
    pairs = [(each.name, each.value) for each in form.fields if each.kind in ("hidden", "checkbox")]
    content = str(httpx.QueryParams([*pairs, ("scope", "user/*.cruds"), ("step", button.value)]))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    browser.page = browser.http.post(form.action, content=content, headers=headers)
    assert house.tokens(browser.back["code"])["scope"] == "user/Patient.rs"


def test_a_user_who_can_grant_nothing_of_what_is_asked_is_not_asked(house: House) -> None:
    wide = app(f"wide-{secrets.token_hex(4)}", scopes=("system/*.rs",))
    house.register(wide)
    browser = house.browser(house.doctor()).ask(client_id=wide.id, scope="system/*.rs").sign_in()
    assert browser.back["error"] == "invalid_scope"


def test_scopes_are_explained_in_words(house: House) -> None:
    scope = "user/*.rs user/Observation.rs?category=laboratory"
    text = house.browser(house.doctor()).ask(scope=scope).sign_in().text
    assert "查看、检索您有权访问的全部健康数据" in text


def test_a_refusal_is_told_to_the_app(house: House) -> None:
    back = house.browser(house.doctor()).ask().sign_in().press("deny").back
    assert (back["error"], back["state"]) == ("access_denied", "st4te")
    assert house.browser(house.doctor()).ask().press("cancel").back["error"] == "access_denied"


def test_an_approval_counts_once(house: House) -> None:
    browser = house.browser(house.doctor()).ask().sign_in()
    form, button = browser.form("allow")
    data = {each.name: each.value for each in form.fields if each.kind in ("hidden", "checkbox")}
    answers = [browser.http.post(form.action, data={**data, "step": button.value}) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 400]


def test_no_step_can_be_left_out(house: House, ids: tuple[str, str]) -> None:
    doctor = house.doctor()
    browser = house.browser(doctor).ask(scope="launch/patient patient/*.rs")
    for step in ("allow", "patient", "encounter", "purpose", "code", "enrol", "search"):
        after = tampered(browser, "sign-in", step=step, scope="patient/*.rs", patient=ids[0], purpose="TREAT", q="x")
        assert after.has("sign-in")
    browser.press("sign-in", login=doctor.login, password="七个葫芦娃 seven gourds")
    for step in ("allow", "patient", "purpose"):
        assert tampered(browser, "code", step=step, scope="patient/*.rs", patient=ids[0], purpose="TREAT").has("code")


def test_a_purpose_is_chosen_where_there_are_several(house: House) -> None:
    doctor = house.doctor(purposes=("TREAT", "HRESCH", "ETREAT"))
    browser = house.browser(doctor).ask().sign_in()
    assert "医学研究" in browser.text
    assert tampered(browser, "purpose", purpose="PUBHLTH").page.status_code == 400
    assert "必须填写理由" in browser.press("purpose", purpose="ETREAT").text
    browser.press("purpose", purpose="ETREAT", reason="  昏迷，  无家属 ")
    assert "昏迷， 无家属" in browser.text
    said = claims(house.tokens(browser.press("allow").back["code"])["access_token"])
    assert (said["purpose"], said["reason"]) == ("ETREAT", "昏迷， 无家属")


def claims(token: str) -> Json:
    """Return what a token says; whether it is good is for others to ask."""
    payload = token.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def test_the_token_says_what_the_account_is(house: House) -> None:
    doctor = house.doctor(department="dep1", practitioner_role="PractitionerRole/pr1")
    browser = house.browser(doctor).ask().sign_in()
    said = claims(house.tokens(browser.press("allow").back["code"])["access_token"])
    wanted = {"role": "practitioner", "fhirUser": doctor.user, "org": "org1", "purpose": "TREAT"}
    wanted |= {"department": "dep1", "practitionerRole": "PractitionerRole/pr1", "sub": doctor.id}
    assert wanted.items() <= said.items()


WRONG = [
    {"redirect_uri": "https://evil.example.org/"},
    {"redirect_uri": f"{BACK}/../x"},
    {"redirect_uri": f"{BACK}?x=1"},
    {"redirect_uri": "javascript:alert(1)"},
    {"redirect_uri": None},
    {"client_id": "nobody"},
    {"client_id": None},
]


@pytest.mark.parametrize("changed", WRONG)
def test_nobody_is_sent_to_an_address_that_the_app_has_not_registered(house: House, changed: Json) -> None:
    page = house.browser().ask(**changed).page
    assert page.status_code == 400
    assert "未作任何授权" in page.text
    assert "evil" not in page.text
    assert "location" not in page.headers


def test_a_wrong_request_of_a_good_app_goes_back_to_it(house: House) -> None:
    assert house.browser().ask(code_challenge=None).back["error"] == "invalid_request"


def test_an_apps_request_may_come_as_a_form_of_its_own_page(house: House) -> None:
    request = house.request(login_hint="somebody")
    answer = httpx.post(f"{house.origin}/auth/authorize", data=request, timeout=60)
    assert answer.status_code == 303
    assert "somebody" not in answer.headers["location"]
    assert "set-cookie" not in answer.headers


def test_a_client_that_is_changed_meanwhile_is_what_it_is_now(house: House) -> None:
    made = app(f"app-{secrets.token_hex(4)}")
    house.register(made)
    browser = house.browser(house.doctor()).ask(client_id=made.id).sign_in()
    house.run(lambda desk, authority: authority.remove(made))
    assert browser.press("allow").page.status_code == 400
