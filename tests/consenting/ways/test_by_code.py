"""Codes by text message, by a third party's message, and to a guardian: what is sent to whom, and what it proves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bson import BSON
from pymongo import MongoClient

from fhir_server.consenting.ways import coded, guardian
from tests.consenting.ways.reading import code_for, code_in, messages, refused, wrong
from tests.consenting.world import ASKS, KEEPS, both, doctor, done, patient, person, resident_id, said, sees, step
from tests.consenting.world import ask as asking
from tests.consenting.world import asked as begun
from tests.live import Live

Json = dict[str, Any]
PHONE = "13800000001"
PERIOD = {"start": "2024-01-01", "end": "2026-06-30"}


def test_a_code_by_text_message_proves_the_patients_word(server: Live, mongo_uri: str) -> None:
    person(server, "texted", 301)
    with both(server, "texted") as (doctor_, _):
        answer = asking(doctor_, "texted-1", way="sms", type=["Observation", "Condition"], dataPeriod=PERIOD)
        assert answer.status_code == 201, answer.text
        (sent,) = messages(server, mongo_uri, "texted-1")
        assert (sent.channel, sent.to) == ("sms", PHONE)
        for part in (
            "第一人民医院",
            "为您诊断和治疗",
            "诊断与健康问题、检验结果与观察",
            "2024年1月1日至2026年6月30日",
            "有效期至",
        ):
            assert part in sent.text
        code, id = code_in(sent), answer.json()["id"]
        assert said(answer.json())["said"] == coded.BY_NUMBER
        for secret in (code, PHONE):
            assert secret not in answer.text
        active = done(doctor_, id, "verify", code=code)
        assert (active["status"], active["performer"]) == ("active", [{"reference": "Patient/texted-1"}])
        assert active["verification"][0]["extension"][0]["valueCode"] == "sms"
        assert sees(doctor_, "texted")
        assert code not in json.dumps(active)


def test_after_five_tries_the_right_code_is_worth_nothing(server: Live, mongo_uri: str) -> None:
    person(server, "tried", 302)
    with doctor(server) as client:
        id = begun(client, "tried-1", way="sms")
        code = code_for(server, mongo_uri, "tried-1")
        left = [refused(client, id, wrong(code)) for _ in range(5)]
        assert [f"还可尝试 {each} 次" in text for each, text in zip((4, 3, 2, 1, 0), left, strict=True)] == [True] * 5
        assert "已失效" in refused(client, id, code)
        assert not sees(client, "tried")


def test_a_new_code_voids_the_one_before(server: Live, mongo_uri: str) -> None:
    person(server, "once-more", 303)
    with doctor(server) as client:
        first = begun(client, "once-more-1", way="sms")
        old = code_for(server, mongo_uri, "once-more-1")
        second = begun(client, "once-more-1", way="sms")
        new = code_for(server, mongo_uri, "once-more-1")
        assert first == second  # the same question, asked once more
        if old != new:
            refused(client, second, old)
        assert done(client, second, "verify", code=new)["status"] == "active"


def test_a_code_is_for_one_question_alone(server: Live, mongo_uri: str) -> None:
    person(server, "bound", 304)
    with doctor(server) as client:
        narrow = begun(client, "bound-1", way="sms", type=["Immunization"])
        code = code_for(server, mongo_uri, "bound-1")
        wide = begun(client, "bound-1", way="sms")
        if code != code_for(server, mongo_uri, "bound-1"):
            refused(client, wide, code)
        assert done(client, narrow, "verify", code=code)["status"] == "active"
        assert not sees(client, "bound")


def test_a_code_in_a_url_is_refused_before_it_is_tried(server: Live, mongo_uri: str) -> None:
    person(server, "url", 305)
    with doctor(server) as client:
        id = begun(client, "url-1", way="sms")
        code = code_for(server, mongo_uri, "url-1")
        assert client.post(f"Consent/{id}/$verify", params={"code": code}).status_code == 400
        assert "请输入" in step(client, id, "verify", document="Binary/1").text
        assert done(client, id, "verify", code=f" {code[:3]} {code[3:]}")["status"] == "active"


def test_neither_code_nor_number_stands_in_the_store_or_the_log(server: Live, mongo_uri: str) -> None:
    person(server, "sealed", 306)
    with doctor(server) as client:
        id = begun(client, "sealed-1", way="sms")
        code = code_for(server, mongo_uri, "sealed-1")
        refused(client, id, wrong(code))
    with MongoClient[Json](mongo_uri) as client_:
        database = client_[server.settings.database]
        for name in ("consent_codes", "consent_codes_issued", "messages", "message_queue"):
            stored = b"".join(BSON.encode(each) for each in database[name].find())
            assert PHONE.encode() not in stored, name
            assert name == "message_queue" or stored, name
        for row in database["consent_codes"].find({"tries": 1}):
            assert code.encode() not in BSON.encode(row)
    with server.client("auditor", "Practitioner/auditor", ASKS) as auditor:
        log = auditor.get("AuditEvent", params={"entity": f"Consent/{id}", "_count": "100"}).text
    assert f"Consent/{id}" in log
    assert code not in log
    assert PHONE not in log


UNREACHABLE: list[tuple[str, str, Json]] = [
    ("sms", coded.BY_NUMBER, {"telecom": [{"system": "email", "value": "a@example.org"}]}),
    ("sms", coded.BY_NUMBER, {"telecom": [{"system": "phone", "value": "13900000000", "use": "old"}]}),
    ("message", coded.BY_HANDLE, {}),
    ("guardian", guardian.TOLD, {}),
]


@pytest.mark.parametrize(("way", "told", "more"), UNREACHABLE)
def test_who_asks_is_told_the_same_of_a_patient_who_cannot_be_reached(
    server: Live, mongo_uri: str, way: str, told: str, more: Json
) -> None:
    name = f"nowhere-{UNREACHABLE.index((way, told, more))}"
    server.put({**patient(name, resident_id("19800101", 310 + len(name)), phone="1"), **more}, organization=ASKS)
    with doctor(server) as client:
        answer = asking(client, name, way=way)
        assert said(answer.json())["said"] == told
        assert "还可尝试 4 次" in refused(client, answer.json()["id"], "000000")
    assert messages(server, mongo_uri, name) == []


def test_a_number_that_only_who_asks_knows_opens_nothing_of_others(server: Live, mongo_uri: str) -> None:
    """Who asks writes their own Patient, and could write their own number into it."""
    person(server, "alone-known", 320)
    number = resident_id("19800101", 320)
    server.put(patient("alone-known-1", number, phone="13911111111"), organization=ASKS)
    with doctor(server) as client:
        id = begun(client, "alone-known-1", way="sms")
        assert done(client, id, "verify", code=code_for(server, mongo_uri, "alone-known-1"))["status"] == "active"
        assert not sees(client, "alone-known")


def test_a_third_partys_message_goes_to_the_handle_there(server: Live, mongo_uri: str) -> None:
    handle = {"telecom": [{"system": "other", "value": "wechat:o-abc"}]}
    number = resident_id("19800101", 321)
    server.put({**patient("mini-1", number), **handle}, organization=ASKS)
    server.put({**patient("mini-2", number), **handle}, organization=KEEPS)
    with doctor(server) as client:
        id = begun(client, "mini-1", way="message")
        (sent,) = messages(server, mongo_uri, "mini-1")
        assert (sent.channel, sent.to) == ("message", "wechat:o-abc")
        active = done(client, id, "verify", code=code_in(sent))
    assert active["verification"][0]["extension"][0]["valueCode"] == "message"


def related(id: str, of: str, phone: str = PHONE, **more: Any) -> Json:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}
    return {
        "resourceType": "RelatedPerson", "id": id, "patient": {"reference": f"Patient/{of}"},
        "relationship": [role], "telecom": [{"system": "phone", "value": phone}], **more,
    }  # fmt: skip


def test_a_guardian_gives_the_code_for_a_minor(server: Live, mongo_uri: str) -> None:
    person(server, "infant", 392, "2018-05-01")
    server.put(related("infant-mother", "infant-1", "13722222222"), organization=ASKS)
    server.put(related("infant-mother-2", "infant-2", "13722222222"), organization=KEEPS)
    with doctor(server) as client:
        id = begun(client, "infant-1", way="guardian")
        (sent,) = messages(server, mongo_uri, "infant-1")
        assert (sent.to, "监护人" in sent.text) == ("13722222222", True)
        active = done(client, id, "verify", code=code_in(sent))
        assert active["performer"] == [{"reference": "RelatedPerson/infant-mother"}]
        assert sees(client, "infant")


NO_GUARDIANS: list[tuple[str, Json]] = [
    ("2000-01-01", {}),
    ("2018-05-01", {"active": False}),
    ("2018-05-01", {"period": {"end": "2020-01-01"}}),
    ("2018-05-01", {"relationship": [{"coding": [{"system": "urn:x", "code": "MTH"}]}]}),
    ("2018-05-01", {"telecom": [{"system": "phone", "value": "none"}]}),
]


@pytest.mark.parametrize(("born", "more"), NO_GUARDIANS)
def test_nobody_else_is_sent_a_guardians_code(server: Live, mongo_uri: str, born: str, more: Json) -> None:
    name = f"alone{NO_GUARDIANS.index((born, more))}"
    server.put(patient(name, resident_id(born.replace("-", ""), 330), born), organization=ASKS)
    server.put(related(f"{name}-r", name, **more), organization=ASKS)
    with doctor(server) as client:
        begun(client, name, way="guardian")
    assert messages(server, mongo_uri, name) == []


def test_who_ceases_to_be_guardian_meanwhile_proves_nothing(server: Live, mongo_uri: str) -> None:
    name = "former"
    server.put(patient(name, resident_id("20180501", 331), "2018-05-01"), organization=ASKS)
    server.put(related("former-r", name), organization=ASKS)
    with doctor(server) as client:
        id = begun(client, name, way="guardian")
        code = code_for(server, mongo_uri, name)
        server.put(related("former-r", name, active=False), organization=ASKS)
        assert "监护" in refused(client, id, code)


def test_a_message_names_people_and_nobody_by_a_technical_id(server: Live, mongo_uri: str) -> None:
    person(server, "plain", 393)
    server.put({"resourceType": "Practitioner", "id": "named", "name": [{"text": "李医生"}]}, organization=ASKS)
    for user, told in (
        ("Practitioner/named", "第一人民医院（申请人：李医生）申请"),
        ("Practitioner/never", "第一人民医院申请"),
    ):
        with server.client("practitioner", user, ASKS) as client:
            begun(client, "plain-1", way="sms")
        text = messages(server, mongo_uri, "plain-1")[-1].text
        assert told in text
        assert "不同意不影响您就医" in text
        assert "Practitioner" not in text
