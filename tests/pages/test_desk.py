"""The audit desk over HTTP: who may sit at it, what it finds, tells, reviews, verifies and exports, and what is recorded."""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
import time
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.requester import Role
from tests.auth.accounts.house import Browser, House
from tests.consent_engine.build import actor, consent, permit
from tests.databases import fresh
from tests.live import live
from tests.smart.forms import Field, send

Json = dict[str, Any]
REASON = "昏迷患者抢救"


@pytest.fixture(scope="module")
def house(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A hospital with its records, and one whose doctors come as guests."""
    settings = {"most_exported": 40, "page_size": 5, "max_page_size": 10}
    folder = tmp_path_factory.mktemp("house")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, **settings) as server:
        made = House(server, mongo_uri)
        server.put({"resourceType": "Organization", "id": "org1", "name": "第一医院"})
        server.put({"resourceType": "Practitioner", "id": "dr1", "name": [{"text": "王小明"}]})
        yield made
        made.close()


@pytest.fixture(scope="module")
def auditors(house: House) -> dict[str, Browser]:
    """An auditor of each of two institutions, at the desk."""
    return {each: at_desk(house, auditor(house, each)) for each in ("org1", "org2")}


@pytest.fixture
def desk(auditors: dict[str, Browser]) -> Browser:
    return auditors["org1"].open("/desk")


@pytest.fixture
def key(house: House) -> str:
    """A key of a Patient p… with an Observation o…, of org1."""
    key = secrets.token_hex(4)
    patient = {"resourceType": "Patient", "id": f"p{key}", "name": [{"text": "张三丰"}]}
    record = {"resourceType": "Observation", "id": f"o{key}", "status": "final", "code": {"text": "x"}}
    house.server.put(patient, {**record, "subject": {"reference": f"Patient/p{key}"}})
    return key


def auditor(house: House, institution: str) -> Account:
    return house.account(Role.AUDITOR, f"Practitioner/aud-{institution}", institution, name="审计员李")


def at_desk(house: House, account: Account) -> Browser:
    return house.browser(account).open("/auth/sign-in").sign_in().open("/auth/desk")


def read(
    house: House, key: str, *, times: int = 1, user: str = "dr1", organization: str = "org1", **claims: Any
) -> None:
    with house.server.client("practitioner", f"Practitioner/{user}", organization, **claims) as doctor:
        for _ in range(times):
            doctor.get(f"Observation/o{key}")


def breaks(house: House, key: str, reason: str = REASON) -> None:
    """Break the glass for the patient as a doctor of org2."""
    said = {"purpose": "ETREAT", "patient": f"Patient/p{key}", "reason": reason}
    with house.server.client("practitioner", f"Practitioner/e{key}", "org2", **said) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200


def searched(desk: Browser, **asked: str) -> Browser:
    """Search, and follow where the form leads."""
    desk.open("/desk")
    form, button = desk.form("search")
    form.fields.append(Field("outcome", "select", ""))
    answer = send(desk.http, form, asked, button)
    if not answer.is_redirect:
        desk.page = answer
        return desk
    return go(desk, answer.headers["location"])


def links(desk: Browser, below: str) -> list[str]:
    found = re.findall(r'href="([^"]+)"(?! hreflang)', desk.text)
    return [unescape(each) for each in found if unescape(each).startswith(below)]


def go(desk: Browser, link: str) -> Browser:
    """Open a link as it stands, with its query."""
    parts = urlsplit(link)
    return desk.open(parts.path, **dict(parse_qsl(parts.query)))


def follow(desk: Browser, below: str, number: int = 0) -> Browser:
    return go(desk, links(desk, below)[number])


def events(house: House, organization: str = "org1", **asked: str) -> list[Json]:
    """Return the AuditEvents that an institution's auditors find by the API, newest first."""
    with house.server.client("auditor", "Practitioner/api", organization) as client:
        found = client.get("AuditEvent", params={"_sort": "-date", "_count": "10", **asked}).json()
    return [each["resource"] for each in found.get("entry", ())]


def code(event: Json) -> str:
    return str(event["subtype"][0]["code"])


# Who may sit at it


def test_nobody_but_a_signed_in_auditor_sits_at_the_desk(house: House) -> None:
    nobody = house.browser()
    doctor = at_desk(house, house.doctor())
    for path in ("", "/events/x", "/events/x/replay", "/emergencies", "/emergencies/0123456789abcdef", "/chain"):
        assert nobody.open(f"/desk{path}").page.status_code == 401
        assert doctor.open(f"/desk{path}").page.status_code == 403
        for browser in (nobody, doctor):
            answer = browser.http.post(f"{house.origin}/desk{path}", data={"step": "search"})
            assert answer.status_code in (401, 403, 405)


def test_a_password_alone_does_not_open_the_desk(house: House) -> None:
    browser = house.browser(auditor(house, "org1")).open("/auth/sign-in")
    assert browser.account
    browser.press("sign-in", login=browser.account.login, password="七个葫芦娃 seven gourds")
    assert browser.has("code")
    assert urlsplit(str(browser.open("/auth/desk").page.url)).path == "/auth/sign-in"
    assert browser.open("/desk").page.status_code == 401


def test_whoever_signs_out_has_left_the_desk(house: House) -> None:
    browser = at_desk(house, auditor(house, "org1"))
    assert browser.page.status_code == 200
    browser.open("/auth/sign-out").press("sign-out")
    assert browser.open("/desk").page.status_code == 401


def test_the_cookie_goes_to_the_desk_alone(house: House) -> None:
    browser = house.browser(auditor(house, "org1")).open("/auth/sign-in").sign_in()
    header = browser.http.get(f"{house.origin}/auth/desk").headers["set-cookie"]
    assert {each.strip().lower() for each in header.split(";")[1:]} == {"httponly", "path=/desk", "samesite=lax"}


def test_a_form_of_another_site_does_nothing(house: House, desk: Browser, key: str) -> None:
    breaks(house, key)
    follow(desk.open("/desk/emergencies"), "/desk/emergencies/")
    at = str(desk.page.url)
    form, _ = desk.form("accepted")
    (seen,) = (each.value for each in form.named("seen"))
    answer = desk.http.post(at, data={"form": "forged", "seen": seen, "step": "accepted"})
    assert answer.status_code == 400
    assert "待复核" in desk.open(urlsplit(at).path).text
    for path in ("", "/export", "/chain"):
        assert desk.http.post(f"{house.origin}/desk{path}", data={"form": "forged", "step": "csv"}).status_code == 400


# Searching


FIELDS: list[tuple[dict[str, str], bool]] = [
    ({"patient": "p{}"}, True),
    ({"patient": "p{}", "user": "王小明"}, True),
    ({"patient": "p{}", "user": "Practitioner/dr1"}, True),
    ({"patient": "p{}", "user": "Practitioner/dr2"}, False),
    ({"patient": "p{}", "institution": "org1"}, True),
    ({"patient": "p{}", "institution": "org2"}, False),
    ({"patient": "p{}", "since": "2020-01-01"}, True),
    ({"patient": "p{}", "since": "2020-01-01", "until": "2020-01-02"}, False),
    ({"patient": "p{}", "outcome": "0"}, True),
    ({"patient": "p{}", "outcome": "4"}, False),
]


@pytest.mark.parametrize(("asked", "found"), FIELDS)
def test_events_are_found_by_what_the_form_asks(
    house: House, desk: Browser, key: str, asked: dict[str, str], found: bool
) -> None:
    read(house, key)
    searched(desk, **{name: value.format(key) for name, value in asked.items()})
    assert desk.page.status_code == 200
    assert ("查看记录" in desk.text) is found
    assert bool(links(desk, "/desk/events/")) is found
    assert ("没有符合条件的记录" in desk.text) is not found


def test_no_url_of_the_desk_tells_of_anybody(house: House, desk: Browser, key: str) -> None:
    read(house, key)
    searched(desk, patient=f"p{key}", user="王小明")
    assert "王小明" in desk.text
    assert f'value="p{key}"' in desk.text
    for each in (str(desk.page.url), *links(desk, "/")):
        assert key not in each
        assert "%E7%8E%8B" not in each


def test_a_page_link_is_worth_nothing_to_another_auditor(house: House, auditors: dict[str, Browser], key: str) -> None:
    own = searched(auditors["org1"], patient=f"p{key}")
    other = go(auditors["org2"], str(own.page.url))
    assert other.page.status_code == 400
    assert key not in other.text


def test_pages_follow_each_other(house: House, desk: Browser, key: str) -> None:
    read(house, key, times=21)
    searched(desk, patient=f"p{key}", user="Practitioner/dr1")
    seen = links(desk, "/desk/events/")
    while following := re.search(r'class="next" href="([^"]+)"', desk.text):
        go(desk, unescape(following[1]))
        seen += links(desk, "/desk/events/")
    assert len(seen) == len(set(seen)) == 21


@pytest.mark.parametrize(("asked", "field"), [({"patient": "张三"}, "patient"), ({"since": "昨天"}, "since")])
def test_what_is_unclear_is_said_at_its_field(desk: Browser, asked: dict[str, str], field: str) -> None:
    searched(desk, **asked)
    assert desk.page.status_code == 400
    assert f'href="#{field}"' in desk.text


def test_reading_the_log_is_recorded(house: House, desk: Browser, key: str) -> None:
    read(house, key)
    searched(desk, patient=f"p{key}")
    follow(desk, "/desk/events/")
    kinds = [(code(each), each["outcome"]) for each in events(house, agent="Practitioner/aud-org1")[:2]]
    assert kinds == [("search-type", "0")] * 2


# Telling


def test_an_event_is_told_in_plain_chinese(house: House, desk: Browser, key: str) -> None:
    with house.server.client("practitioner", "Practitioner/dr1", patient=f"Patient/p{key}") as doctor:
        doctor.get("Observation", params={"patient": f"Patient/p{key}", "code:text": "心率"})
        doctor.get("Observation", params={"patient": f"Patient/p{key}"})
    searched(desk, patient=f"p{key}", user="Practitioner/dr1")
    follow(desk, "/desk/events/")
    for each in ("检索", "成功", "王小明 Practitioner/dr1 （医务人员）", "第一医院 Organization/org1", "治疗 (TREAT)",
                 f"patient = Patient/p{key}", f"Observation/o{key}/_history/1"):  # fmt: skip
        assert each in unescape(desk.text), each


def test_the_consent_that_decided_is_named_with_version_and_provision(house: House, desk: Browser, key: str) -> None:
    body = consent({"type": "deny", "provision": [permit(actor=[actor("Organization/org2")])]})
    said = {**body, "category": [{"text": "x"}], "patient": {"reference": f"Patient/p{key}"}}
    with house.server.client("patient", f"Patient/p{key}") as patient:
        given = patient.post("Consent", json=said)
        assert given.status_code == 201, given.text
    read(house, key, user=f"g{key}", organization="org2")
    searched(desk, user=f"Practitioner/g{key}")
    follow(desk, "/desk/events/")
    assert f"Consent/{given.json()['id']} 第 1 版，条款 provision.provision" in unescape(desk.text)
    follow(desk, "/desk/events/")
    assert "一致：用当时的同意书和规则重新判定" in desk.text
    assert "规则2" in desk.text


def test_what_tells_of_no_decision_cannot_be_decided_again(house: House, desk: Browser) -> None:
    (event, *_) = events(house, subtype="110122")
    desk.open(f"/desk/events/{event['id']}/replay")
    assert desk.page.status_code == 200
    assert "不含可以重新判定的决定" in desk.text


@pytest.mark.parametrize("path", ["/desk/events/none", "/desk/events/none/replay", "/desk/events/%25/replay",
                                  "/desk/emergencies/0123456789abcdef", "/desk/emergencies/x"])  # fmt: skip
def test_what_there_is_not_is_absent(desk: Browser, path: str) -> None:
    assert desk.open(path).page.status_code == 404


def test_the_desk_speaks_english_where_that_is_chosen(house: House, desk: Browser, key: str) -> None:
    read(house, key)
    desk.open("/desk", lang="en")
    form, button = desk.form("search")
    go(desk, send(desk.http, form, {"patient": f"p{key}"}, button).headers["location"])
    assert '<html lang="en">' in desk.text
    assert "Read a record" in desk.text
    assert '<html lang="en">' in follow(desk, "/desk/events/").text


# Emergencies


def test_an_emergency_is_reviewed_and_the_review_recorded(house: House, auditors: dict[str, Browser], key: str) -> None:
    breaks(house, key)
    for institution in ("org1", "org2"):
        desk = auditors[institution].open("/desk/emergencies")
        place = place_of(desk, f"e{key}")
        desk.open(place)
        assert REASON in desk.text
        assert f"Patient/p{key}" in desk.text
    follow(desk, "/desk?page=")
    assert "紧急访问" in desk.text
    assert links(desk, "/desk/events/")
    desk.open(place).press("questioned")
    assert desk.page.status_code == 400
    desk.press("questioned", note="未见抢救记录 <b>")
    assert desk.page.status_code == 200
    assert "未见抢救记录 &lt;b&gt;" in desk.text
    assert "有质疑" in desk.text
    assert place_of(desk.open("/desk/emergencies", status="questioned"), f"e{key}")
    assert f"e{key}" not in desk.open("/desk/emergencies", status="open").text
    assert f"e{key}" in auditors["org1"].open("/desk/emergencies", status="open").text
    (event, *_) = events(house, "org2", subtype="emergency-review")
    assert (event["action"], event["outcomeDesc"]) == ("E", "HTTP 200 questioned")
    assert event["agent"][0]["who"]["reference"] == "Practitioner/aud-org2"
    assert {"reference": f"Patient/p{key}"} in [each.get("what") for each in event["entity"]]
    assert events(house, "org2", subtype="emergency-list")


def place_of(desk: Browser, text: str) -> str:
    """Return the link of the row that names something."""
    (line,) = (each for each in desk.text.split("</tr>") if text in each)
    (place,) = re.findall(r'href="(/desk/emergencies/[0-9a-f]{16})"', line)
    return str(place)


def test_a_review_of_what_has_changed_meanwhile_is_not_taken(house: House, desk: Browser, key: str) -> None:
    breaks(house, key)
    desk.open("/desk/emergencies")
    desk.open(place_of(desk, f"e{key}"))
    breaks(house, key)
    desk.press("accepted")
    assert desk.page.status_code == 409
    assert "又有新的访问或复核" in desk.text
    desk.press("accepted")
    assert "已认可" in desk.text
    breaks(house, key)
    assert "复核后又有访问" in desk.open(urlsplit(str(desk.page.url)).path).text


# Export


def test_what_was_found_is_exported_whole_and_recorded_before(house: House, desk: Browser, key: str) -> None:
    read(house, key, times=23)
    searched(desk, patient=f"p{key}", user="Practitioner/dr1")
    desk.press("csv")
    answer = desk.page
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.content.startswith(b"\xef\xbb\xbf")
    head, *lines = csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    assert len(lines) == 23
    assert all(len(each) == len(head) for each in lines)
    assert all(f"p{key}" in each for each in lines)
    searched(desk, patient=f"p{key}", user="Practitioner/dr1").press("ndjson")
    found = [json.loads(each) for each in desk.page.text.splitlines()]
    assert [each["id"] for each in found] == [each[head.index("id")] for each in lines]
    (event, *_) = events(house, subtype="audit-export")
    assert event["agent"][0]["who"]["reference"] == "Practitioner/aud-org1"
    searched(desk, user="Practitioner/aud-org1").open(f"/desk/events/{event['id']}")
    assert f"patient = Patient/p{key}" in desk.text


def test_more_than_may_be_exported_is_refused(house: House, desk: Browser, key: str) -> None:
    read(house, key, times=41)
    searched(desk, patient=f"p{key}").press("ndjson")
    assert desk.page.status_code == 400
    assert "超过 40 条" in desk.text


# Events that were changed in the database


def test_the_desk_goes_on_without_an_event_that_was_changed(
    house: House, mongo_uri: str, desk: Browser, key: str
) -> None:
    read(house, key, times=3)
    ids = [each["id"] for each in events(house, agent="Practitioner/dr1", patient=f"Patient/p{key}")]
    with MongoClient[Json](mongo_uri) as client:
        log = client[house.server.settings.database]["AuditEvent"]
        kept = log.find_one({"_id": ids[1]})
        assert kept
        log.update_one({"_id": ids[1]}, {"$unset": {"body": ""}})
        searched(desk, patient=f"p{key}", user="Practitioner/dr1")
        listed, linked = desk.text, links(desk, "/desk/events/")
        answers = {"csv": desk.press("csv").page.text}
        answers["ndjson"] = searched(desk, patient=f"p{key}", user="Practitioner/dr1").press("ndjson").page.text
        alone = [desk.open(f"/desk/events/{ids[1]}{path}").page for path in ("", "/replay")]
        log.replace_one({"_id": ids[1]}, kept)
    assert "此条记录与存入时不同，不予显示" in listed
    assert ids[1] in listed
    assert {each.rpartition("/")[2] for each in linked} == {ids[0], ids[2]}
    head, *rows = csv.reader(io.StringIO(answers["csv"].removeprefix("\ufeff"), newline=""))
    assert sorted(each[head.index("id")] for each in rows) == sorted(ids)
    lines = [json.loads(each) for each in answers["ndjson"].splitlines()]
    assert sorted(each["resourceType"] for each in lines) == ["AuditEvent", "AuditEvent", "OperationOutcome"]
    assert [each.status_code for each in alone] == [500, 500]
    assert "与存入时不同" in alone[0].text
    assert "无法重新判定" in alone[1].text


# The chain


def checked(house: House, desk: Browser) -> str:
    """Verify the chain and return the page with its result."""
    desk.open("/desk/chain").press("chain")
    until = time.monotonic() + 20
    while "正在核对" in desk.open("/desk/chain").text:
        assert time.monotonic() < until
        time.sleep(0.05)
    return desk.text


def test_the_chain_is_verified_from_the_page(house: House, auditors: dict[str, Browser], mongo_uri: str) -> None:
    desk, other = auditors["org1"], auditors["org2"].open("/desk/chain")
    assert "还没有核对过" in other.text
    before = checked(house, desk)
    assert "完好：没有发现问题" in before
    assert not re.search(r"写入者|锚点", before)
    assert [code(each) for each in events(house, subtype="chain-verification")] == ["chain-verification"]
    assert "还没有核对过" in other.open("/desk/chain").text
    (mine,) = events(house, "org2", subtype="110122", agent="Practitioner/aud-org2")[:1]
    with MongoClient[Json](mongo_uri) as client:
        log = client[house.server.settings.database]["AuditEvent"]
        kept = log.find_one({"_id": mine["id"]})
        assert kept
        log.update_one({"_id": mine["id"]}, {"$set": {"at": kept["at"] + 1_000}})
        told, theirs = checked(house, desk), checked(house, other)
        log.replace_one({"_id": mine["id"]}, {**kept, "ix": []})
        hidden = checked(house, other)
        log.replace_one({"_id": mine["id"]}, kept)
    assert "索引不符" in hidden
    assert mine["id"] in hidden
    assert "发现问题" in told
    assert "被修改：访问记录" in told
    assert mine["id"] not in told
    assert mine["id"] in theirs
    assert "完好：没有发现问题" in checked(house, desk)


# Non-interference


def test_what_is_anothers_alone_changes_nothing_on_the_desk(
    house: House, auditors: dict[str, Browser], key: str
) -> None:
    """What org3 does at home, breaking the glass on records of org4 among it, is not seen at the desk of org1."""
    breaks(house, key)
    desk = auditors["org1"]

    def seen() -> list[str]:
        pages = []
        for asked in ({"patient": f"p{key}"}, {"patient": f"x{key}"}, {"institution": "org3"}, {"user": f"d{key}"}):
            pages.append(searched(desk, **asked).text)
        pages += [desk.open("/desk/emergencies", status=each).text for each in ("open", "any", "questioned")]
        pages.append(desk.open("/desk/chain").text)
        return [re.sub(r"page=[^\"&]+|value=\"[^\"]{60,}\"", "", each) for each in pages]

    before = seen()
    for institution, letter in (("org3", "w"), ("org4", "x")):
        subject = {"reference": f"Patient/{letter}{key}"}
        house.server.put(
            {"resourceType": "Patient", "id": f"{letter}{key}", "name": [{"text": "李"}]},
            {"resourceType": "Observation", "id": f"{letter}{key}", "status": "final", "code": {"text": "x"},
             "subject": subject},
            organization=institution,
        )  # fmt: skip
    said = {"purpose": "ETREAT", "patient": f"Patient/x{key}", "reason": REASON}
    with house.server.client("practitioner", f"Practitioner/d{key}", "org3", **said) as doctor:
        assert doctor.get(f"Observation/x{key}").status_code == 200
        assert doctor.get(f"Observation/w{key}").status_code == 200
    third = at_desk(house, auditor(house, "org3"))
    assert "完好" in checked(house, third)
    assert seen() == before
    third.open("/desk/emergencies")
    row = place_of(third, f"d{key}")
    assert third.open(row).page.status_code == 200
    assert desk.open(row).page.status_code == 404
    theirs = links(searched(third, user=f"Practitioner/d{key}"), "/desk/events/")
    assert theirs
    assert {desk.open(each).page.status_code for each in theirs} == {404}


def test_pages_of_the_desk_load_nothing_and_need_no_script(house: House, desk: Browser, key: str) -> None:
    breaks(house, key)
    for path in ("/desk", "/desk/emergencies", "/desk/chain"):
        answer: httpx.Response = desk.open(path).page
        assert "script" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
