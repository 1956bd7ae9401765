"""A code counts for its patient, for who asked, for what was asked, five times, five minutes, and in no other way."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import BSON
from pymongo import MongoClient

from fhir_server.consenting.ways.codes import CODES, LAPSED, LASTING, WRONG
from fhir_server.consenting.ways.paper import sm3
from tests.consenting.ways.reading import code_for, refused, wrong
from tests.consenting.world import (
    ASKS,
    KEEPS,
    asked,
    doctor,
    done,
    organization,
    own,
    patient,
    person,
    resident_id,
    sees,
    step,
)
from tests.databases import fresh
from tests.live import Clock, Live, live

Json = dict[str, Any]


def colleague(server: Live) -> httpx.Client:
    return server.client("practitioner", "Practitioner/dr2", ASKS)


def system(server: Live, client: str) -> httpx.Client:
    """Return a system of the institution that asks; all are one Device, by clients of their own."""
    return server.client("system", "Device/desk", ASKS, scope="system/*.cruds", client_id=client)


def test_a_colleague_can_neither_enter_the_code_nor_use_up_its_tries(server: Live, mongo_uri: str) -> None:
    person(server, "colleague", 501)
    with doctor(server) as asking, colleague(server) as other:
        id = asked(asking, "colleague-1", way="sms")
        code = code_for(server, mongo_uri, "colleague-1")
        tries = [refused(other, id, each) for each in (code, *[wrong(code)] * 6, code)]
        assert {each.partition("（")[0] for each in tries} == {LAPSED}
        assert len({*tries}) == 1  # whatever they enter
        assert not sees(other, "colleague")
        assert "还可尝试 4 次" in refused(asking, id, wrong(code))
        assert done(asking, id, "verify", code=code)["status"] == "active"


def test_a_colleague_who_asks_anew_has_a_code_of_their_own(server: Live, mongo_uri: str) -> None:
    person(server, "anew", 502)
    with doctor(server) as asking, colleague(server) as other:
        id = asked(asking, "anew-1", way="sms")
        first = code_for(server, mongo_uri, "anew-1")
        assert asked(other, "anew-1", way="sms") == id
        second = code_for(server, mongo_uri, "anew-1")
        for code in (first, second):  # now it is the colleague whom the patient was told of
            assert LAPSED in refused(asking, id, code)
        if first != second:
            assert WRONG in refused(other, id, first)
        assert done(other, id, "verify", code=second)["status"] == "active"


def test_a_system_enters_what_its_own_client_has_asked_for(server: Live, mongo_uri: str) -> None:
    person(server, "desk", 503)
    with system(server, "booking") as asking, system(server, "kiosk") as other, doctor(server) as person_there:
        id = asked(asking, "desk-1", way="sms", purpose="TREAT")
        code = code_for(server, mongo_uri, "desk-1")
        for client in (other, person_there):
            assert LAPSED in refused(client, id, code)
        assert done(asking, id, "verify", code=code)["status"] == "active"


def test_the_patient_may_enter_what_was_sent_to_them(server: Live, mongo_uri: str) -> None:
    person(server, "themself", 504)
    with doctor(server) as asking, own(server, "themself") as answering:
        id = asked(asking, "themself-1", way="sms")
        code = code_for(server, mongo_uri, "themself-1")
        assert WRONG in refused(answering, id, wrong(code))
        assert done(answering, id, "verify", code=code)["status"] == "active"


def test_a_code_counts_for_no_other_patient_institution_or_scope(server: Live, mongo_uri: str) -> None:
    for number, name in enumerate(("first", "second"), 505):
        person(server, name, number)
    with doctor(server) as asking, doctor(server, KEEPS) as elsewhere, own(server, "second") as stranger:
        id = asked(asking, "first-1", way="sms", type=["Observation"])
        code = code_for(server, mongo_uri, "first-1")
        others = [
            (asking, asked(asking, "second-1", way="sms", type=["Observation"])),
            (elsewhere, asked(elsewhere, "first-2", way="sms", type=["Observation"])),
            (asking, asked(asking, "first-1", way="sms", type=["Observation"], purpose="HRESCH")),
            (asking, asked(asking, "first-1", way="sms", type=["Observation"], dataPeriod={"start": "2020-01-01"})),
        ]
        for client, other in others:
            text = refused(client, other, code)
            assert WRONG in text, other
        for client in (elsewhere, stranger):
            assert step(client, id, "verify", code=code).status_code == 404
        assert done(asking, id, "verify", code=code)["status"] == "active"


def test_tries_and_minutes_are_counted_on_through_a_restart(mongo_uri: str, tmp_path: Path) -> None:
    clock, start = Clock(), datetime.now(UTC)
    known = [resident_id("19800101", number) for number in (507, 508)]
    with fresh(mongo_uri) as name:
        said = {"database": name, "clock": clock, "message_stand_in": True}
        clock.now = start
        with live(mongo_uri, tmp_path, **said) as server, doctor(server) as asking:
            server.put(
                organization(ASKS, "第一人民医院"), patient("p", known[0]), patient("q", known[1]), organization=ASKS
            )
            id, late = asked(asking, "p", way="sms"), asked(asking, "q", way="sms")
            code, too_late = (code_for(server, mongo_uri, each) for each in ("p", "q"))
            assert "还可尝试 3 次" in [refused(asking, id, wrong(code)) for _ in range(2)][-1]
        with live(mongo_uri, tmp_path, **said) as server, doctor(server) as asking:
            clock.now = start + LASTING - timedelta(seconds=1)
            assert "还可尝试 0 次" in [refused(asking, id, wrong(code)) for _ in range(3)][-1]
            assert LAPSED in refused(asking, id, code)
            clock.now = start + LASTING
            assert LAPSED in refused(asking, late, too_late)
            again = asked(asking, "q", way="sms")
            newest = code_for(server, mongo_uri, "q")
            clock.now += LASTING - timedelta(seconds=1)
            assert done(asking, again, "verify", code=newest)["status"] == "active"


def test_the_store_holds_a_keyed_hash_and_nothing_that_the_code_can_be_worked_out_from(
    server: Live, mongo_uri: str
) -> None:
    person(server, "hashed", 509)
    with doctor(server) as asking, MongoClient[Json](mongo_uri) as mongo:
        rows = mongo[server.settings.database][CODES]
        before = {each["_id"] for each in rows.find()}
        id = asked(asking, "hashed-1", way="sms")
        (row,) = (each for each in rows.find() if each["_id"] not in before)
    code = code_for(server, mongo_uri, "hashed-1")
    assert {*row} == {"_id", "salt", "code", "tries", "until", "holder", "kept", "m"}
    assert (len(row["code"]), len(row["salt"])) == (32, 16)
    plain = (code.encode(), row["salt"] + code.encode(), code.encode() + row["salt"])
    unkeyed = [made for each in plain for made in (hashlib.sha256(each).digest(), bytes.fromhex(sm3(each)))]
    stored = BSON.encode({name: value for name, value in row.items() if name not in ("until", "kept")})
    assert all(each not in stored for each in (*plain, *unkeyed))
    for name in (id, "hashed-1", "dr1"):
        assert name.encode() not in stored


CHANGES: list[tuple[str, Json]] = [
    ("tries", {"$set": {"tries": 0}}),
    ("tries of its own kind", {"$set": {"tries": -1}}),
    ("until", {"$set": {"until": datetime(2999, 1, 1, tzinfo=UTC)}}),
    ("hash", {"$set": {"code": bytes(32)}}),
    ("salt", {"$set": {"salt": bytes(16)}}),
    ("holder", {"$set": {"holder": bytes(60)}}),
    ("mark", {"$unset": {"m": ""}}),
]


@pytest.mark.parametrize("change", [each for _, each in CHANGES], ids=[name for name, _ in CHANGES])
def test_a_row_that_was_changed_behind_the_servers_back_is_no_code(
    server: Live, mongo_uri: str, caplog: pytest.LogCaptureFixture, change: Json
) -> None:
    name = f"row{[each for _, each in CHANGES].index(change)}"
    person(server, name, 520 + int(name[3:]))
    with doctor(server) as asking, MongoClient[Json](mongo_uri) as mongo:
        rows = mongo[server.settings.database][CODES]
        before = {each["_id"] for each in rows.find()}
        id = asked(asking, f"{name}-1", way="sms")
        code = code_for(server, mongo_uri, f"{name}-1")
        assert "还可尝试 4 次" in refused(asking, id, wrong(code))
        (row,) = (each for each in rows.find() if each["_id"] not in before)
        assert rows.update_one({"_id": row["_id"]}, change).modified_count == 1
        assert LAPSED in refused(asking, id, code)
        assert "changed behind the server's back" in caplog.text
        rows.replace_one({"_id": row["_id"]}, row)
        assert done(asking, id, "verify", code=code)["status"] == "active"


def test_an_earlier_row_that_is_put_back_whole_gives_no_more_tries(server: Live, mongo_uri: str) -> None:
    person(server, "put-back", 530)
    with doctor(server) as asking, MongoClient[Json](mongo_uri) as mongo:
        rows = mongo[server.settings.database][CODES]
        before = {each["_id"] for each in rows.find()}
        id = asked(asking, "put-back-1", way="sms")
        code = code_for(server, mongo_uri, "put-back-1")
        (row,) = (each for each in rows.find() if each["_id"] not in before)
        for _ in range(5):
            refused(asking, id, wrong(code))
        assert rows.replace_one({"_id": row["_id"]}, row).modified_count == 1
        assert LAPSED in refused(asking, id, code)


def test_a_count_of_codes_that_was_set_back_sends_none(server: Live, mongo_uri: str) -> None:
    person(server, "counted", 531)
    with doctor(server) as asking, MongoClient[Json](mongo_uri) as mongo:
        rows = mongo[server.settings.database]["consent_codes_issued"]
        before = {each["_id"] for each in rows.find()}
        asked(asking, "counted-1", way="sms")
        (row,) = (each for each in rows.find() if each["_id"] not in before)
        rows.update_one({"_id": row["_id"]}, {"$set": {"n": 0}})
        body: Json = {"resourceType": "Parameters", "parameter": [{"name": "way", "valueCode": "sms"}]}
        assert asking.post("Patient/counted-1/$request-authorization", json=body).status_code == 429
        rows.replace_one({"_id": row["_id"]}, row)
        asked(asking, "counted-1", way="sms")
