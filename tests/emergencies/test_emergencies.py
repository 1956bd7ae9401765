"""Break-glass has an end, and what each institution has on file of it (ADR 38)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.app import assemble, keyring_of
from fhir_server.emergencies.emergencies import EMERGENCIES
from fhir_server.emergencies.filed import Filed, Review, Status
from fhir_server.errors import Conflict
from fhir_server.interactions.call import Services
from fhir_server.settings import Settings
from fhir_server.store.commit import Unit
from tests.databases import fresh
from tests.live import Clock, Live, live

Json = dict[str, Any]
T = TypeVar("T")
REASON = "昏迷患者抢救"
NUMBER = "11010519491231002X"


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("installation")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, clock=Clock()) as running:
        yield running


@pytest.fixture
def key(server: Live) -> Iterator[str]:
    """A key of a Patient p… with an Observation o… of org1, and of another person's q… with r… of org3."""
    key = secrets.token_hex(4)
    for number, (patient, record, institution) in enumerate((("p", "o", "org1"), ("q", "r", "org3"))):
        subject = {"reference": f"Patient/{patient}{key}"}
        named = {"resourceType": "Patient", "id": f"{patient}{key}", "name": [{"text": f"张{number}"}]}
        observation = {"resourceType": "Observation", "id": f"{record}{key}", "status": "final", "code": {"text": "x"}}
        server.put(named, {**observation, "subject": subject}, organization=institution)
    yield key
    server.clock.now = None


def doctor(server: Live, key: str, **claims: Any) -> httpx.Client:
    given = {"purpose": "ETREAT", "patient": f"Patient/p{key}", "reason": REASON, **claims}
    user = str(given.pop("user", f"dr{key}"))
    return server.client("practitioner", f"Practitioner/{user}", "org2", **given)


def opens(server: Live, key: str, record: str = "o", **claims: Any) -> bool:
    """Return whether a record opens to a doctor of another institution."""
    with doctor(server, key, **claims) as client:
        status = client.get(f"Observation/{record}{key}").status_code
    assert status in (200, 404)
    return status == 200


def later(server: Live, **ago: float) -> None:
    """Set the server's clock on by so much."""
    server.clock.now = (server.clock.now or datetime.now(UTC)) + timedelta(**ago)


def within(server: Live, uri: str, work: Callable[[Services], Awaitable[T]]) -> T:
    """Return what work returns with the services over the server's database."""

    async def run() -> T:
        parts = assemble(server.settings, keyring_of(server.settings), uri=uri, clock=server.clock)
        try:
            await parts.ready()
            return await work(parts.services)
        finally:
            await parts.client.close()

    return asyncio.run(run())


def on_file(
    server: Live, uri: str, institution: str, key: str, status: Status | None = None, organization: str = "org2"
) -> Sequence[Filed]:
    """Return what an institution has on file of a doctor, the latest first."""

    async def work(use: Services) -> Sequence[Filed]:
        return await use.emergencies.queue(institution, status, size=1_000)

    return [each for each in within(server, uri, work) if each.user == f"Practitioner/dr{key}"]


def test_a_reason_opens_records_for_its_time_and_then_nothing(server: Live, key: str) -> None:
    with doctor(server, key) as client:
        assert client.get(f"Observation/o{key}").status_code == 200
        later(server, minutes=59)
        assert client.get("Observation", params={"patient": f"Patient/p{key}"}).json()["total"] == 1
        later(server, seconds=61)
        closed = client.get(f"Observation/o{key}")
        absent = client.get("Observation/nothing")
        assert (closed.status_code, closed.json()) == (404, absent.json())
        assert client.get("Observation").json()["total"] == 0


def test_the_time_begins_with_the_first_record_that_was_opened(server: Live, key: str) -> None:
    with doctor(server, key) as client:
        assert client.get(f"Observation/none{key}").status_code == 404
        later(server, minutes=50)
        assert client.get(f"Observation/o{key}").status_code == 200
        later(server, minutes=50)
        assert client.get(f"Observation/o{key}").status_code == 200


@pytest.mark.parametrize("change", [{"$inc": {"at": 10**10}}, {"$inc": {"number": 1}}, {"$unset": {"m": ""}}])
def test_when_it_began_is_held_to_what_the_server_noted(server: Live, mongo_uri: str, key: str, change: Json) -> None:
    with MongoClient[Json](mongo_uri) as client:
        rows = client[server.settings.database][EMERGENCIES]
        known = rows.distinct("_id")
        assert opens(server, key)
        (row,) = rows.find({"key": {"$exists": True}, "_id": {"$nin": known}})
        rows.update_one({"_id": row["_id"]}, change)
        assert not opens(server, key)
        rows.replace_one({"_id": row["_id"]}, row)
    assert opens(server, key)


AGAIN = [
    ({}, False),
    ({"reason": "  昏迷患者 抢救"}, False),
    ({"purpose": "BTG"}, False),
    ({"reason": "心搏骤停"}, True),
    ({"user": "another"}, True),
]


@pytest.mark.parametrize(("claims", "opened"), AGAIN)
def test_a_new_token_opens_again_only_for_a_new_reason(server: Live, key: str, claims: Json, opened: bool) -> None:
    assert opens(server, key)
    later(server, minutes=61)
    assert opens(server, key, **claims) is opened


def test_the_time_of_one_patient_is_not_that_of_another(server: Live, key: str) -> None:
    assert opens(server, key)
    later(server, minutes=61)
    assert not opens(server, key)
    assert opens(server, key, "r", patient=f"Patient/q{key}")


def test_the_same_words_count_again_when_they_are_stated_a_day_later(server: Live, key: str) -> None:
    server.clock.now = datetime.now(UTC) - timedelta(days=2)
    assert opens(server, key)
    later(server, minutes=61)
    stated_then = {"auth_time": int(server.clock.now.timestamp())}
    server.clock.now = None
    assert not opens(server, key, **stated_then)
    assert opens(server, key)


def test_a_record_of_ones_own_institution_stays_open_for_treatment(server: Live, key: str) -> None:
    mine = {"purpose": "ETREAT", "patient": f"Patient/p{key}", "reason": REASON}
    server.put({"resourceType": "Observation", "id": f"x{key}", "status": "final", "code": {"text": "x"},
                "subject": {"reference": f"Patient/q{key}"}}, organization="org3")  # fmt: skip
    with server.client("practitioner", f"Practitioner/dr{key}", "org1", **mine) as client:
        assert client.get(f"Observation/o{key}").status_code == 200
        later(server, minutes=90)
        assert client.get(f"Observation/o{key}").status_code == 200


def test_an_access_is_filed_when_it_begins_for_those_concerned_and_nobody_else(
    server: Live, key: str, mongo_uri: str
) -> None:
    with doctor(server, key) as client:
        client.get(f"Observation/o{key}")
        client.get("Observation", params={"patient": f"Patient/p{key}", "_include": "Observation:subject"})
    (own,) = on_file(server, mongo_uri, "org2", key)
    (theirs,) = on_file(server, mongo_uri, "org1", key)
    assert on_file(server, mongo_uri, "org3", key) == []
    assert (own.user, own.organization, own.patient, own.reason, own.purpose) == (
        f"Practitioner/dr{key}", "org2", f"Patient/p{key}", REASON, "ETREAT")  # fmt: skip
    assert (own.times, own.records, own.status) == (2, 3, Status.OPEN)
    assert (theirs.times, theirs.records, theirs.patient) == (2, 3, f"Patient/p{key}")
    assert own.first <= own.last
    assert own.id != theirs.id


def test_each_institution_is_told_of_its_own_patient_and_records(server: Live, key: str, mongo_uri: str) -> None:
    """One person with a Patient in each of two institutions: neither learns of the other's."""
    numbered = {"identifier": [{"system": "urn:oid:2.16.156.10011.1.3", "value": NUMBER}]}
    for institution, patient in (("org1", "p"), ("org3", "q")):
        server.put(
            {"resourceType": "Patient", "id": f"{patient}{key}", "name": [{"text": "张"}], **numbered},
            organization=institution,
        )
    with doctor(server, key) as client:
        found = client.get("Observation", params={"patient": f"Patient/p{key}"})
    opened = {each["resource"]["id"] for each in found.json().get("entry", ())}
    theirs = {each: on_file(server, mongo_uri, each, key) for each in ("org1", "org3")}
    for institution, patient, record in (("org1", "p", "o"), ("org3", "q", "r")):
        told = {(each.patient, each.records) for each in theirs[institution]}
        assert told == ({(f"Patient/{patient}{key}", 1)} if f"{record}{key}" in opened else set())
    assert opened == {f"o{key}", f"r{key}"}


def test_a_new_reason_is_another_access_on_file(server: Live, key: str, mongo_uri: str) -> None:
    assert opens(server, key)
    assert opens(server, key, reason="心搏骤停")
    assert {each.reason for each in on_file(server, mongo_uri, "org1", key)} == {REASON, "心搏骤停"}


def test_a_number_is_filed_without_a_patient_of_others(server: Live, key: str, mongo_uri: str) -> None:
    with doctor(server, key) as client:
        assert (
            client.get("Observation", params={"patient": f"Patient/p{key}", "_summary": "count"}).json()["total"] == 1
        )
    (theirs,) = on_file(server, mongo_uri, "org1", key)
    assert (theirs.patient, theirs.records, theirs.times) == (None, 0, 1)


def test_nothing_of_it_stands_in_the_clear(server: Live, key: str, mongo_uri: str) -> None:
    assert opens(server, key)
    with MongoClient[Json](mongo_uri) as client:
        rows = str(list(client[server.settings.database][EMERGENCIES].find()))
    assert rows
    assert not [each for each in (REASON, f"dr{key}", f"p{key}") if each in rows]


def test_what_opens_nothing_is_not_filed(server: Live, key: str, mongo_uri: str) -> None:
    with doctor(server, key, reason=None) as client:
        client.get(f"Observation/o{key}")
    with doctor(server, key) as client:
        client.get(f"Observation/none{key}")
    assert on_file(server, mongo_uri, "org2", key) == []


def test_a_review_counts_for_what_the_reviewer_has_seen(server: Live, key: str, mongo_uri: str) -> None:
    assert opens(server, key)
    (seen,) = on_file(server, mongo_uri, "org1", key)

    async def accept(use: Services, filed: Filed, institution: str = "org1") -> None:
        unit = Unit()
        review = Review("Practitioner/a", use.now(), Status.ACCEPTED, "已核实")
        await use.emergencies.review(filed, institution, review, unit)
        await use.committer.commit(unit)

    within(server, mongo_uri, lambda use: accept(use, seen))
    (accepted,) = on_file(server, mongo_uri, "org1", key, Status.ACCEPTED)
    assert [each.note for each in accepted.reviews] == ["已核实"]
    assert on_file(server, mongo_uri, "org2", key, Status.OPEN)  # each institution reviews its own
    with pytest.raises(Conflict):  # another has reviewed it since
        within(server, mongo_uri, lambda use: accept(use, seen))
    with pytest.raises(Conflict):  # it is another institution's
        within(server, mongo_uri, lambda use: accept(use, accepted, "org3"))
    assert opens(server, key)
    assert on_file(server, mongo_uri, "org1", key, Status.ACCEPTED) == []
    (more,) = on_file(server, mongo_uri, "org1", key, Status.OPEN)
    assert (more.times, more.seen) == (2, 1)
    with pytest.raises(Conflict):  # another access came since
        within(server, mongo_uri, lambda use: accept(use, accepted))


def test_what_was_reviewed_goes_after_its_time_and_what_waits_stays(server: Live, key: str, mongo_uri: str) -> None:
    assert opens(server, key)
    own, other = (on_file(server, mongo_uri, each, key)[0] for each in ("org2", "org1"))

    async def reviewed(use: Services) -> None:
        unit = Unit()
        review = Review("Practitioner/auditor", use.now(), Status.ACCEPTED, "")
        await use.emergencies.review(own, "org2", review, unit)
        await use.committer.commit(unit)

    within(server, mongo_uri, reviewed)
    since = within(server, mongo_uri, lambda use: use.emergencies.expire(own.last))
    assert since == 0
    assert within(server, mongo_uri, lambda use: use.emergencies.expire(own.last + 1)) >= 1
    assert on_file(server, mongo_uri, "org2", key) == []
    assert on_file(server, mongo_uri, "org1", key) == [other]


def test_it_stays_longer_than_any_approval_lasts(tmp_path: Path) -> None:
    def kept(**chosen: Any) -> int:
        return Settings.load(tmp_path, **chosen).emergencies_kept_days

    assert kept() == 10_958
    assert kept(audit_retention_days=200) == 200
    assert kept(emergency_retention_days=300) == 300
    assert kept(emergency_retention_days=300, offline_access_days=365) == 366


def test_a_refusal_after_the_end_comes_out_again(server: Live, key: str) -> None:
    assert opens(server, key)
    later(server, minutes=61)
    assert not opens(server, key)
    with server.client("auditor", "Practitioner/auditor", "org1") as auditor:
        found = auditor.get("AuditEvent", params={"agent": f"Practitioner/dr{key}", "_sort": "date"}).json()["entry"]
        events = [each["resource"] for each in found]
        assert [each["outcome"] for each in events] == ["0", "4"]
        for event in events:
            said = auditor.get(f"AuditEvent/{event['id']}/$replay").json()["parameter"]
            told = {each["name"]: each.get("valueBoolean") for each in said}
            assert (told["same"], told["complete"]) == (True, True)


def test_only_who_is_entitled_breaks_the_glass_where_that_is_asked(
    mongo_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("entitled")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, emergency_entitlement=True) as server:
        server.put({"resourceType": "Patient", "id": "pa", "name": [{"text": "张"}]})
        subject = {"reference": "Patient/pa"}
        record = {"resourceType": "Observation", "id": "oa", "status": "final", "code": {"text": "x"}}
        server.put({**record, "subject": subject})
        assert opens(server, "a", btg=True)
        assert not opens(server, "a")
        assert not opens(server, "a", btg="true")
        assert not opens(server, "a", btg=True, reason=None)
