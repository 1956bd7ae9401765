"""What is asked for: with the Patient by which it is found, and the question that is meant whatever the store says."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient

from tests.consenting.ways.reading import messages
from tests.consenting.world import ask, asked, both, doctor, done, person
from tests.live import Live

Json = dict[str, Any]


@pytest.mark.parametrize("named", [["Observation"], ["Observation", "Patient"]])
def test_what_was_agreed_to_is_found_by_its_patient_and_the_patient_was_told(
    server: Live, mongo_uri: str, named: list[str]
) -> None:
    name = f"found-{len(named)}"
    person(server, name, 600 + len(named))
    with both(server, name) as (asking, answering):
        answer = ask(asking, f"{name}-1", way="app", type=named)
        consent = answer.json()
        assert [each["code"] for each in consent["provision"]["class"]] == ["Observation", "Patient"]
        (sent,) = messages(server, mongo_uri, f"{name}-1")
        assert "检验结果与观察、患者基本信息" in sent.text
        query = {"patient": f"Patient/{name}-1", "_summary": "count"}
        assert asking.get("Observation", params=query).json()["total"] == 0
        done(answering, consent["id"], "confirm")
        assert asking.get("Observation", params=query).json()["total"] == 1
        assert asked(asking, f"{name}-1", type=["Condition"]) != consent["id"]


def test_with_or_without_patient_it_is_the_same_question(server: Live) -> None:
    person(server, "same", 605)
    with doctor(server) as asking:
        ids = {asked(asking, "same-1", type=named) for named in (["Condition"], ["Patient", "Condition"])}
        assert len(ids) == 1


def test_a_lock_that_was_turned_to_another_question_is_not_believed(server: Live, mongo_uri: str) -> None:
    person(server, "turned", 606)
    with doctor(server) as asking, MongoClient[Json](mongo_uri) as mongo:
        locks = mongo[server.settings.database]["authorization_locks"]
        wide = asked(asking, "turned-1")
        narrow = asked(asking, "turned-1", type=["Condition"])
        assert locks.update_one({"consent": narrow}, {"$set": {"consent": wide}}).modified_count == 1
        again = ask(asking, "turned-1", type=["Condition"]).json()
        assert again["id"] not in (wide, narrow)
        assert [each["code"] for each in again["provision"]["class"]] == ["Condition", "Patient"]
