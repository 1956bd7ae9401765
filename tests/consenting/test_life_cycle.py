"""From the question to the end: what is visible follows the patient's word at once, and every step leaves its traces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.consenting.ways.reading import code_for
from tests.consenting.world import (
    ASKS,
    KEEPS,
    ask,
    asked,
    both,
    doctor,
    done,
    in_days,
    observation,
    organization,
    own,
    parameters,
    patient,
    person,
    resident_id,
    said,
    sees,
    status,
    step,
)
from tests.databases import fresh
from tests.live import Clock, Live, live


def stored(server: Live, uri: str, collection: str, **filter: Any) -> list[dict[str, Any]]:
    """Return what the database holds, as it holds it."""
    with MongoClient[dict[str, Any]](uri) as client:
        return client[server.settings.database][collection].find(filter).sort("_id", 1).to_list()


def test_what_the_patient_says_decides_from_then_on(server: Live, mongo_uri: str) -> None:
    person(server, "whole", 1)
    with both(server, "whole") as (asking, answering):
        assert status(asking, "whole-1")["status"] == "none"
        answer = ask(asking, "whole-1", type=["Observation", "Patient"], purpose="TREAT")
        consent = answer.json()
        assert (answer.status_code, consent["status"]) == (201, "proposed")
        assert said(consent)["state"] == "verifying"
        assert "本人" in said(consent)["said"]
        assert consent["verification"] == [{"verified": False}]
        assert status(asking, "whole-1")["status"] == "verifying"
        assert not sees(asking, "whole")

        active = done(answering, consent["id"], "confirm")
        assert (active["status"], said(active)["state"]) == ("active", "active")
        assert active["performer"] == [{"reference": "Patient/whole-1"}]
        (verification,) = active["verification"]
        assert verification["verified"]
        assert verification["verifiedWith"] == {"reference": "Patient/whole-1"}
        assert sees(asking, "whole")
        told = status(asking, "whole-1")
        assert (told["status"], told["until"]) == ("active", active["provision"]["period"]["end"])
        assert (told["opens"], "custodian" in told) == ("all", False)
        assert told["consent"] == {"reference": f"Consent/{consent['id']}"}

        ended = done(answering, consent["id"], "revoke")
        assert (ended["status"], said(ended)["state"]) == ("inactive", "revoked")
        assert not sees(asking, "whole")
        assert status(asking, "whole-1")["status"] == "revoked"
        assert done(answering, consent["id"], "revoke")["meta"]["versionId"] == ended["meta"]["versionId"]
    person_key = stored(server, mongo_uri, "Consent", _id=consent["id"])[0]["pat"]
    rows = sorted(stored(server, mongo_uri, "outbox", person=person_key), key=lambda each: each["place"])
    assert [each["kind"] for each in rows] == ["consent-active", "consent-revoked"]
    assert all(consent["id"].encode() not in each["body"] for each in rows)


def test_every_step_is_a_version_with_its_provenance_and_its_event(server: Live) -> None:
    person(server, "traces", 2)
    with both(server, "traces") as (asking, answering):
        id = asked(asking, "traces-1")
        done(answering, id, "confirm")
        done(answering, id, "revoke")
        history = answering.get(f"Consent/{id}/_history").json()["entry"]
        states = [(each["resource"]["status"], said(each["resource"])["state"]) for each in reversed(history)]
        assert states == [
            ("proposed", "requested"), ("proposed", "verifying"), ("active", "active"), ("inactive", "revoked"),
        ]  # fmt: skip
        found = answering.get("Provenance", params={"target": f"Consent/{id}"}).json()
        targets = [each["resource"]["target"][0]["reference"] for each in found["entry"]]
        assert sorted(targets) == [f"Consent/{id}/_history/{version}" for version in (1, 2, 3, 4)]
        agents = {each["resource"]["agent"][0]["who"]["reference"] for each in found["entry"]}
        assert agents == {"Practitioner/dr1", "Patient/traces-1"}
        notices = asking.get("Communication", params={"recipient": "Practitioner/dr1"}).json()["entry"]
        about = [each["resource"]["about"][0]["reference"] for each in notices]
        assert {f"Consent/{id}/_history/3", f"Consent/{id}/_history/4"} <= {*about}
    with server.client("auditor", "Practitioner/auditor", ASKS, "HOPERAT", scope="user/AuditEvent.rs") as auditor:
        events = auditor.get("AuditEvent", params={"entity": f"Consent/{id}", "_count": "100"}).json()
    notes = [each["resource"].get("outcomeDesc", "") for each in events.get("entry", ())]
    for step_taken in ("requested", "patient asked", "confirmed by the patient", "revoked by the patient"):
        assert any(step_taken in note for note in notes), step_taken


def test_auditors_find_each_step_by_its_kind(server: Live) -> None:
    person(server, "kinds", 22)
    with both(server, "kinds") as (asking, answering):
        first = asked(asking, "kinds-1", way="paper")
        assert step(asking, first, "verify", document="DocumentReference/never").status_code == 422
        done(answering, first, "decline")
        second = asked(asking, "kinds-1", type="Condition")
        done(answering, second, "confirm")
        done(answering, second, "revoke")
    expected = {
        first: [
            ("consent-requested", "0"),
            ("consent-requested", "0"),
            ("consent-verified", "4"),
            ("consent-declined", "0"),
        ],
        second: [
            ("consent-requested", "0"),
            ("consent-requested", "0"),
            ("consent-active", "0"),
            ("consent-revoked", "0"),
        ],
    }
    with server.client("auditor", "Practitioner/auditor", ASKS, "HOPERAT", scope="user/AuditEvent.rs") as auditor:
        for id, steps in expected.items():
            about = {"entity": f"Consent/{id}", "type": "110113", "_sort": "date", "_count": "100"}
            found = [each["resource"] for each in auditor.get("AuditEvent", params=about).json()["entry"]]
            assert [(each["subtype"][0]["code"], each["outcome"]) for each in found] == steps
            for kind, _ in steps:
                asked_for = {"entity": f"Consent/{id}", "subtype": kind, "_summary": "count"}
                number = [each for each, _ in steps].count(kind)
                assert auditor.get("AuditEvent", params=asked_for).json()["total"] == number


def test_declined_is_declined(server: Live) -> None:
    person(server, "no", 3)
    with both(server, "no") as (asking, answering):
        id = asked(asking, "no-1")
        assert done(answering, id, "decline")["status"] == "rejected"
        assert not sees(asking, "no")
        assert status(asking, "no-1")["status"] == "declined"
        assert step(answering, id, "confirm").status_code == 409
        assert asked(asking, "no-1") != id


def test_of_many_answers_at_once_one_counts(server: Live) -> None:
    person(server, "many", 4)
    with both(server, "many") as (asking, answering), ThreadPoolExecutor(8) as pool:
        id = asked(asking, "many-1")
        steps = ["confirm", "decline"] * 4
        answers = [*pool.map(lambda name: step(answering, id, name), steps)]
        won = [each for each in answers if each.status_code == 200]
        assert len(won) == 1
        assert {each.status_code for each in answers} == {200, 409}
        assert sees(asking, "many") == (won[0].json()["status"] == "active")
        assert len(answering.get(f"Consent/{id}/_history").json()["entry"]) == 3


def test_of_many_that_enter_the_code_at_once_one_wins(server: Live, mongo_uri: str) -> None:
    person(server, "entered", 19)
    with both(server, "entered") as (asking, answering), ThreadPoolExecutor(4) as pool:
        id = asked(asking, "entered-1", way="sms")
        code = code_for(server, mongo_uri, "entered-1")
        answers = [*pool.map(lambda _: step(asking, id, "verify", code=code).status_code, range(4))]
        assert answers.count(200) == 1
        assert {*answers} <= {200, 409, 422}
        assert len(answering.get(f"Consent/{id}/_history").json()["entry"]) == 3
        assert sees(asking, "entered")


def test_asked_at_once_there_is_one_question(server: Live) -> None:
    person(server, "once", 5)
    with both(server, "once") as (asking, _), ThreadPoolExecutor(4) as pool:
        ids = {*pool.map(lambda _: asked(asking, "once-1", type="Observation"), range(4))}
        assert len(ids) == 1
        assert asked(asking, "once-1", type="Condition") not in ids


def test_asked_again_the_question_stays_as_the_patient_saw_it(server: Live) -> None:
    person(server, "again", 6)
    with both(server, "again") as (asking, answering):
        first = ask(asking, "again-1", expires=in_days(30)).json()
        later = ask(asking, "again-1", way="paper", expires=in_days(300)).json()
        assert later["id"] == first["id"]
        assert int(later["meta"]["versionId"]) == 3
        assert later["provision"] | {"period": None} == first["provision"] | {"period": None}
        assert later["provision"]["period"]["end"] == first["provision"]["period"]["end"]
        assert said(later)["way"] == "paper"
        stale = {"If-Match": 'W/"2"'}
        assert answering.post(f"Consent/{first['id']}/$confirm", headers=stale).status_code == 412


def year() -> int:
    return datetime.now(UTC).year


def test_who_wrote_into_the_question_gets_no_answer(server: Live) -> None:
    person(server, "forged", 7)
    with both(server, "forged") as (asking, answering), server.system(ASKS) as system:
        id = asked(asking, "forged-1", type="Condition")
        wider = system.get(f"Consent/{id}").json()
        wider["provision"]["class"] = [{**wider["provision"]["class"][0], "code": "Observation"}]
        assert system.put(f"Consent/{id}", json=wider).status_code == 200
        refused = step(answering, id, "confirm")
        assert refused.status_code == 409
        assert "改动" in refused.json()["issue"][0]["diagnostics"]
        assert system.put(f"Consent/{id}", json=wider | {"status": "active"}).status_code == 200
        assert not sees(asking, "forged")
        assert status(asking, "forged-1")["status"] == "none"


def test_who_changes_the_answer_speaks_for_themselves_and_the_patient_can_still_revoke(server: Live) -> None:
    person(server, "changed", 8)
    with both(server, "changed") as (asking, answering), server.system(ASKS) as system:
        id = asked(asking, "changed-1", type=["Observation", "Patient"])
        active = done(answering, id, "confirm")
        assert sees(asking, "changed")
        active["provision"]["class"].append({**active["provision"]["class"][0], "code": "Condition"})
        assert system.put(f"Consent/{id}", json=active).status_code == 200
        assert not sees(asking, "changed")
        assert done(answering, id, "revoke")["status"] == "inactive"


def test_a_person_answers_as_whichever_of_their_patients_and_who_asked_learns_of_no_other(server: Live) -> None:
    person(server, "twice", 21)
    elsewhere = server.client("patient", "Patient/twice-2", KEEPS, "PATRQT")
    with doctor(server) as asking, elsewhere as answering:
        id = asked(asking, "twice-1", type=["Observation", "Patient"])
        active = done(answering, id, "confirm")
        assert active["performer"] == [{"reference": "Patient/twice-1"}]
        assert sees(asking, "twice")
        with server.system(ASKS) as system:
            told = [system.get(f"Consent/{id}").text, system.get(f"Provenance?target=Consent/{id}").text]
        assert all("twice-1" in each and "twice-2" not in each for each in told)
        done(answering, id, "revoke")
        assert not sees(asking, "twice")


def test_nobody_else_can_answer(server: Live) -> None:
    person(server, "mine", 9)
    person(server, "other", 10)
    with both(server, "mine") as (asking, _), own(server, "other") as stranger, doctor(server, KEEPS) as elsewhere:
        id = asked(asking, "mine-1")
        for client in (asking, stranger, elsewhere):
            for name in ("confirm", "decline", "revoke"):
                assert (step(client, id, name).status_code, step(client, "never", name).status_code) == (404, 404)
        for client in (stranger, elsewhere):
            assert step(client, id, "verify", code="123456").status_code == 404
        assert step(asking, id, "verify", code="123456").status_code == 422
        with server.client("patient", "Patient/mine-1", ASKS, "PATRQT", scope="patient/*.rs") as reading:
            assert step(reading, id, "confirm").status_code == 403


def test_only_institutions_ask(server: Live) -> None:
    person(server, "asked", 11)
    with own(server, "asked") as answering:
        assert ask(answering, "asked-1").status_code == 403
        assert answering.get("Patient/asked-1/$authorization-status").status_code == 403


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"way": "pigeon"}, 400),
    ({"purpose": "BTG"}, 400),
    ({"type": "AuditEvent"}, 400),
    ({"expires": "2001-01-01"}, 400),
    ({"dataPeriod": {"start": "2025-02-30"}}, 400),
    ({"dataPeriod": {"start": "2025-02-03", "end": "2025-02-01"}}, 400),
]


@pytest.mark.parametrize(("values", "refused"), WRONG)
def test_what_cannot_be_asked_is_refused(server: Live, values: dict[str, Any], refused: int) -> None:
    with doctor(server) as asking:
        assert ask(asking, "whoever", **values).status_code == refused


def test_only_what_was_asked_for_is_opened(server: Live) -> None:
    person(server, "narrow", 12)
    with both(server, "narrow") as (asking, answering):
        id = asked(asking, "narrow-1", type=["Observation", "Patient"], dataPeriod={"end": "2025-12-31"})
        done(answering, id, "confirm")
        assert not sees(asking, "narrow")
        old = observation("narrow-old", "narrow-2") | {"effectiveDateTime": "2025-06-01"}
        server.put(old, organization=KEEPS)
        assert sees(asking, "narrow-old")


def test_a_guardian_answers_for_a_minor_and_nobody_who_is_not(server: Live) -> None:
    person(server, "minor", 13, born=f"{year() - 8}-06-01")
    guardian = {
        "resourceType": "RelatedPerson", "id": "mother", "patient": {"reference": "Patient/minor-1"},
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}],
    }  # fmt: skip
    person(server, "grown", 14)
    aunt = {**guardian, "id": "wife", "patient": {"reference": "Patient/grown-1"}}
    server.put(guardian, aunt, organization=ASKS)
    with (
        doctor(server) as asking,
        server.client("related-person", "RelatedPerson/mother", ASKS, "FAMRQT", scope="user/*.cruds") as mother,
        server.client("related-person", "RelatedPerson/wife", ASKS, "FAMRQT", scope="user/*.cruds") as wife,
    ):
        id, other = asked(asking, "minor-1"), asked(asking, "grown-1")
        assert [step(wife, each, "confirm").status_code for each in (id, other)] == [404, 404]
        assert step(mother, other, "confirm").status_code == 404
        active = done(mother, id, "confirm")
        assert active["performer"] == [{"reference": "RelatedPerson/mother"}]
        assert sees(asking, "minor")
        done(mother, id, "revoke")
        assert not sees(asking, "minor")


def test_a_denial_is_not_revoked(server: Live) -> None:
    person(server, "deny", 15)
    denial = {
        "resourceType": "Consent", "id": "deny-all", "status": "active", "patient": {"reference": "Patient/deny-1"},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]},
    }  # fmt: skip
    server.put(denial, organization=ASKS)
    with own(server, "deny") as answering:
        assert step(answering, "deny-all", "revoke").status_code == 409


def test_what_the_patient_gave_by_themselves_counts_and_ends_in_the_same_way(server: Live) -> None:
    person(server, "self", 16)
    with both(server, "self") as (asking, answering):
        first = asked(asking, "self-1")
        given = done(answering, first, "confirm")
        done(answering, first, "revoke")
        own_word = {key: value for key, value in given.items() if key not in ("id", "meta", "extension")}
        id = answering.post("Consent", json=own_word).json()["id"]
        assert sees(asking, "self")
        assert status(asking, "self-1")["status"] == "active"
        assert done(answering, id, "revoke")["status"] == "inactive"
        assert not sees(asking, "self")
        assert status(asking, "self-1")["status"] == "revoked"


def test_the_status_is_that_for_a_purpose(server: Live) -> None:
    person(server, "purpose", 17)
    with both(server, "purpose") as (asking, answering):
        done(answering, asked(asking, "purpose-1", purpose="HRESCH"), "confirm")
        assert status(asking, "purpose-1")["status"] == "active"
        assert status(asking, "purpose-1", purpose="HRESCH")["status"] == "active"
        assert status(asking, "purpose-1", purpose="TREAT")["status"] == "none"


def test_questions_are_counted_and_lapse_and_a_new_process_knows_them(mongo_uri: str, tmp_path: Path) -> None:
    clock, start = Clock(), datetime.now(UTC)
    known = resident_id("19800101", 18)
    with fresh(mongo_uri) as name:
        asks = {"database": name, "clock": clock, "authorization_requests_a_day": 3}
        with live(mongo_uri, tmp_path, **asks) as server:
            clock.now = start
            server.put(organization(ASKS, "第一人民医院"), patient("p", known), organization=ASKS)
            server.put(patient("q", known), observation("o", "q"), organization=KEEPS)
            with doctor(server) as asking:
                id = asked(asking, "p")
        # Another process: what was asked is there, and can be answered.
        with live(mongo_uri, tmp_path, **asks) as server, doctor(server) as asking:
            answering = server.client("patient", "Patient/p", ASKS, "PATRQT")
            assert status(asking, "p")["status"] == "verifying"
            assert [asked(asking, "p"), asked(asking, "p")] == [id, id]
            refused = ask(asking, "p")
            assert (refused.status_code, refused.json()["issue"][0]["code"]) == (429, "throttled")
            clock.now = start + timedelta(hours=24)
            assert status(asking, "p")["status"] == "expired"
            assert step(answering, id, "confirm").status_code == 409
            clock.now = start + timedelta(hours=25)
            again = asked(asking, "p")
            assert again != id
            done(answering, again, "confirm")
            assert sees(asking, "o")
            clock.now = start + timedelta(days=400)
            assert not sees(asking, "o")
            assert status(asking, "p")["status"] == "expired"
            answering.close()


def test_parameters_can_stand_in_the_body_only_for_what_changes_something(server: Live) -> None:
    with doctor(server) as asking:
        assert asking.get("Patient/whole-1/$request-authorization").status_code == 405
        body = parameters(nonsense="1")
        assert asking.post("Patient/whole-1/$request-authorization", json=body).status_code == 400
