"""Who has looked at my records: what the list tells, and what of others it never tells."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient

from fhir_server.auth.requester import Role
from fhir_server.pages.my.looks import A_PAGE
from tests.auth.accounts.house import Browser
from tests.commands.console import console
from tests.consent_engine.build import actor, permit
from tests.pages.ward import Ward, number, observation

PAGE = "/my/access"


def rows(browser: Browser) -> list[str]:
    """Return what the list says of each access."""
    cards = browser.text.split('<li class="card">')[1:]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", each.split("</li>\n")[0])) for each in cards]


def test_it_tells_who_when_where_why_and_what(ward: Ward) -> None:
    id = ward.person()
    consent = ward.granted(id)
    ward.server.put(observation(f"o-{id}", id))
    when = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    ward.server.clock.now = when
    with ward.doctor("org2") as doctor:
        assert doctor.get(f"Observation?patient=Patient/{id}").json()["total"] == 1
    ward.server.clock.now = None
    browser = ward.signed_in(ward.account(id), PAGE)
    newest = rows(browser)[0]
    for part in ("李医生2", "市中心医院", "为您诊疗", "检验结果与观察", "您的授权", when.strftime("%Y-%m-%d %H:%M")):
        assert part in newest
    assert f'href="/my/authorizations/{consent}"' in browser.text
    assert "信息系统" in rows(browser)[-1]  # the system that stored the Patient
    assert "新增" in rows(browser)[-1] or "修改" in rows(browser)[-1]


def test_records_of_all_institutions_count_and_each_access_once(ward: Ward) -> None:
    shared = number(secrets.randbelow(300_000))
    here, there = ward.person(number=shared), ward.person(number=shared, organization="org2")
    ward.server.put(observation(f"o-{there}", there), organization="org2")
    ward.server.put(observation(f"o-{here}", here))
    ward.granted(here, to="org2")
    browser = ward.signed_in(ward.account(here), PAGE)
    before = len(rows(browser))
    with ward.doctor("org2") as doctor:
        assert doctor.get(f"Observation?patient=Patient/{there}").json()["total"] == 2
    found = rows(browser.open(PAGE))
    assert len(found) == before + 1
    assert "李医生2" in found[0]


def test_what_a_platform_was_told_is_called_so(ward: Ward, mongo_uri: str) -> None:
    id, settings = ward.person(), ward.server.settings
    ward.granted(id)
    shell = console(mongo_uri, settings.database, settings.data)
    assert shell.run("outbox", "follow", "platform", "--since", "2020-01-01T00:00:00Z", "--once")
    assert "告知已对接的平台" in rows(ward.signed_in(ward.account(id), PAGE))[0]


def test_accesses_that_differ_in_their_time_alone_are_one_entry(ward: Ward) -> None:
    id, began = ward.person(), datetime(2026, 11, 20, 4, tzinfo=UTC)
    with ward.doctor("org1") as doctor:
        for minutes in (0, 7, 25):
            ward.server.clock.now = began + timedelta(minutes=minutes)
            assert doctor.get(f"Patient/{id}").status_code == 200
        ward.server.clock.now = began + timedelta(days=1)
        assert doctor.get(f"Patient/{id}").status_code == 200
    ward.server.clock.now = None
    seen = [each for each in rows(ward.signed_in(ward.account(id), PAGE)) if "李医生1" in each]
    assert len(seen) == 2
    assert "2026-11-21 04:00 查看" in seen[0]
    assert "次" not in seen[0]
    assert "2026-11-20 04:00 至 2026-11-20 04:25 查看 共 3 次" in seen[1]


def test_what_one_sees_oneself_is_listed_if_asked_for(ward: Ward) -> None:
    id = ward.person()
    with ward.server.client("patient", f"Patient/{id}", purpose="PATRQT") as own:
        assert own.get(f"Patient/{id}").status_code == 200
    browser = ward.signed_in(ward.account(id), PAGE)
    assert not any("您本人" in each for each in rows(browser))
    assert any("您本人" in each for each in rows(browser.open(PAGE, own="1")))


def test_what_one_sees_oneself_elsewhere_is_listed_though_ones_own_institution_is_not_told(ward: Ward) -> None:
    shared = number(secrets.randbelow(300_000))
    here, there = ward.person(number=shared), ward.person(number=shared, organization="org2")
    ward.server.put(observation(f"o-{there}", there), organization="org2")
    with ward.server.client("patient", f"Patient/{here}", purpose="PATRQT") as own:
        assert own.get(f"Observation/o-{there}").status_code == 200
    told = str(ward.events("org1", agent=f"Patient/{here}"))
    assert "read" in told
    assert there not in told
    ward.signed_in(ward.account(here), PAGE)
    (listed,) = [each for each in ward.events(agent=f"Patient/{here}") if "access list" in each.get("outcomeDesc", "")]
    theirs = {f"AuditEvent/{each['id']}" for each in ward.events("org2", patient=f"Patient/{there}")}
    assert theirs
    assert theirs.isdisjoint(each["what"]["reference"] for each in listed["entity"])
    own_accesses = rows(ward.signed_in(ward.account(here), PAGE).open(PAGE, own="1"))
    assert any("您本人" in each and "检验结果与观察" in each for each in own_accesses)


def test_a_refused_attempt_is_listed_once(ward: Ward) -> None:
    id = ward.person()
    for organization in ("org2", "org2"):
        with ward.doctor(organization) as doctor:
            assert doctor.get(f"Patient/{id}").status_code == 404
    refused = [each for each in rows(ward.signed_in(ward.account(id), PAGE)) if "被拒绝" in each]
    assert len(refused) == 1
    assert "共 2 次" in refused[0]
    assert all("李医生2" in each and "没有看到任何内容" in each for each in refused)


def test_the_list_goes_on_without_what_was_changed_in_the_database_and_says_so(ward: Ward) -> None:
    id, other = ward.person(), ward.person()
    for _ in range(3):
        with ward.doctor("org2") as doctor:
            assert doctor.get(f"Patient/{id}").status_code == 404
    events = ward.events(patient=f"Patient/{id}", agent="Practitioner/dr-org2")
    with MongoClient[dict[str, Any]](ward.uri) as mongo:
        log = mongo[ward.server.settings.database]["AuditEvent"]
        log.update_one({"_id": events[1]["id"]}, {"$set": {"body": b"changed"}})
    browser = ward.signed_in(ward.account(id), PAGE)
    assert browser.page.status_code == 200
    assert ["共 2 次" in each for each in rows(browser) if "被拒绝" in each] == [True]
    assert "有记录因存储的内容被改动而无法显示" in browser.text
    assert events[1]["id"] not in browser.text
    assert "无法显示" not in ward.signed_in(ward.account(other), PAGE).text


def test_an_emergency_is_marked_for_whom_it_was_and_for_nobody_else(ward: Ward) -> None:
    id, other = ward.person(), ward.person("刘小红")
    ward.granted(other)
    claims = {"purpose": "ETREAT", "reason": "患者昏迷", "patient": f"Patient/{id}"}
    with ward.doctor("org2", **claims) as doctor:
        found = doctor.get(f"Patient?_id={id},{other}").json()["entry"]
        assert {each["resource"]["id"] for each in found} == {id, other}
    mine, theirs = (rows(ward.signed_in(ward.account(each), PAGE))[0] for each in (id, other))
    assert "紧急查阅，理由：患者昏迷" in mine
    assert "李医生2" in theirs
    assert "昏迷" not in theirs
    assert "紧急查阅" not in theirs


def test_statutory_reporting_is_listed_as_such(ward: Ward) -> None:
    id = ward.person()
    claims = {"purpose": "PUBHLTH", "scope": "system/*.rs"}
    with ward.server.client("system", "Device/report", "org1", **claims) as reporting:
        assert reporting.get(f"Patient/{id}").status_code == 200
    assert "法定报告：依法报告，无需您同意" in rows(ward.signed_in(ward.account(id), PAGE))[0]


def test_one_access_to_records_of_many_tells_each_only_of_their_own(ward: Ward) -> None:
    id, other = ward.person(), ward.person("刘小红")
    ward.server.put(observation(f"o-{other}", other))
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"?_type=Patient,Observation&_id={id},{other},o-{other}").json()["total"] == 3
    account, them = ward.account(id), ward.account(other, "刘小红")
    mine, theirs = (ward.signed_in(each, PAGE) for each in (account, them))
    assert "检验结果与观察" not in rows(mine)[0]
    assert "检验结果与观察" in rows(theirs)[0]
    assert other not in mine.text
    assert "刘小红" not in mine.text


def test_the_same_accesses_look_the_same_alone_and_among_others(ward: Ward) -> None:
    """Two patients of whom the same was seen at the same time, one of them together with somebody else's records."""
    alone, among, other = ward.person(), ward.person(), ward.person("刘小红")
    ward.server.put(observation(f"o-{other}", other))
    ward.server.clock.now = datetime.now(UTC) + timedelta(seconds=1)
    with ward.doctor("org1") as doctor:
        doctor.get(f"?_type=Patient,Observation&_id={alone}")
        doctor.get(f"?_type=Patient,Observation&_id={among},{other},o-{other}")
    ward.server.clock.now = None
    first, second = (rows(ward.signed_in(ward.account(each), PAGE))[0] for each in (alone, among))
    assert first == second


def test_a_deleted_record_stays_in_the_list(ward: Ward) -> None:
    id = ward.person()
    ward.server.put(observation(f"o-{id}", id))
    with ward.doctor("org1") as doctor, ward.server.system() as system:
        assert doctor.get(f"Observation/o-{id}").status_code == 200
        assert system.delete(f"Observation/o-{id}").status_code in (200, 204)
    seen = [each for each in rows(ward.signed_in(ward.account(id), PAGE)) if "李医生1" in each]
    assert len(seen) == 1
    assert "检验结果与观察" in seen[0]


def test_pages_follow_each_other_and_belong_to_whom_they_were_made_for(ward: Ward) -> None:
    id, other = ward.person(), ward.person("刘小红")
    with ward.doctor("org1") as doctor:
        for _ in range(A_PAGE // 2 + 3):
            assert doctor.get(f"Patient/{id}").status_code == 200
            assert doctor.get(f"Patient/{id}/$authorization-status").status_code == 200
    browser = ward.signed_in(ward.account(id), PAGE)
    first, seen = rows(browser), rows(browser)
    assert len(first) == A_PAGE
    while more := re.search(r'rel="next" href="\?own=0&amp;after=([^"]+)"', browser.text):
        seen += rows(browser.open(PAGE, own="0", after=more[1]))
        assert "回到最近的" in browser.text
        last = more[1]
    assert len([each for each in seen if "李医生1" in each]) == A_PAGE + 6
    stranger = ward.signed_in(ward.account(other, "刘小红"), PAGE)
    whole = rows(stranger)
    assert rows(stranger.open(PAGE, own="0", after=last)) == whole  # a link of somebody else's begins anew
    assert rows(stranger.open(PAGE, own="0", after="made-up")) == whole


def test_a_guardian_is_told_of_records_that_they_may_see_themselves(ward: Ward) -> None:
    id, related = ward.person(), f"r{secrets.token_hex(4)}"
    said = {"patient": {"reference": f"Patient/{id}"}, "name": [{"text": "王大明"}]}
    ward.server.put({"resourceType": "RelatedPerson", "id": related, **said}, observation(f"o-{id}", id))
    types = [{"system": "http://hl7.org/fhir/resource-types", "code": each} for each in ("Patient", "RelatedPerson")]
    ward.granted(id, provision=permit(actor=[actor(f"RelatedPerson/{related}")], **{"class": types}))
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"Observation/o-{id}").status_code == 200
        assert doctor.get(f"Patient/{id}").status_code == 200
    account = ward.house.account(Role.RELATED_PERSON, f"RelatedPerson/{related}", name="王大明")
    found = rows(ward.signed_in(account, PAGE))
    (seen,) = [each for each in found if "李医生1" in each]
    assert "患者基本信息" in seen
    assert not [each for each in found if "检验结果与观察" in each]


def test_what_is_shown_is_recorded_and_is_no_access_to_records(ward: Ward) -> None:
    id = ward.person()
    browser = ward.signed_in(ward.account(id), PAGE)
    (event,) = [each for each in ward.events(agent=f"Patient/{id}") if "access list" in each.get("outcomeDesc", "")]
    assert {each["what"]["reference"].split("/")[0] for each in event["entity"]} == {"AuditEvent"}
    assert len(event["entity"]) == len(rows(browser))
    assert rows(browser.open(PAGE)) == rows(browser)


def test_a_patients_token_still_reads_no_audit_events(ward: Ward) -> None:
    id = ward.person()
    with ward.server.client("patient", f"Patient/{id}", purpose="PATRQT", scope="user/*.rs") as own:
        assert own.get("AuditEvent").json()["total"] == 0


def test_steps_of_authorizations_and_questions_for_them_are_told_as_such(ward: Ward) -> None:
    id = ward.person()
    ward.asked(id)
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"Patient/{id}/$authorization-status").status_code == 200
    found = rows(ward.signed_in(ward.account(id), PAGE))
    assert "查询您是否已授权" in found[0]
    assert "办理授权手续" in found[1]


def test_a_guardian_is_told_in_a_patients_list_of_that_patients_records_alone(ward: Ward) -> None:
    id, other, related = ward.person(), ward.person("刘小红"), f"r{secrets.token_hex(4)}"
    said = {"patient": {"reference": f"Patient/{id}"}, "name": [{"text": "王大明"}]}
    ward.server.put({"resourceType": "RelatedPerson", "id": related, **said}, observation(f"o-{other}", other))
    for each in (id, other):
        ward.granted(each, provision=permit(actor=[actor(f"RelatedPerson/{related}")]))
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"?_type=Patient,Observation&_id={id},o-{other}").json()["total"] == 2
    account = ward.house.account(Role.RELATED_PERSON, f"RelatedPerson/{related}", name="王大明")
    (seen,) = [each for each in rows(ward.signed_in(account, PAGE)) if "李医生1" in each]
    assert "患者基本信息" in seen
    assert "检验结果与观察" not in seen


def test_who_speaks_for_a_child_is_told_what_the_child_would_be(ward: Ward) -> None:
    account, id = ward.guardian()
    grown, other = ward.guardian(years=30)
    for each in (id, other):
        ward.server.put(observation(f"o-{each}", each))
        with ward.doctor("org1") as doctor:
            assert doctor.get(f"Observation/o-{each}").status_code == 200
        with ward.doctor("org2") as doctor:
            assert doctor.get(f"Patient/{each}").status_code == 404
    found = rows(ward.signed_in(account, PAGE))
    assert "被拒绝" in found[0]
    assert "李医生1" in found[1]
    assert "检验结果与观察" in found[1]
    assert rows(ward.signed_in(grown, PAGE)) == []
