"""What follows from a version of a Consent does not depend on who has written it, or how."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import MESSAGES, QUEUE, Message
from fhir_server.store.outbox import Entry
from tests.consenting.world import ASKS, KEEPS, asked, both, done, organization, own, person, sees
from tests.databases import fresh
from tests.live import Clock, Live, live

Json = dict[str, Any]
START = datetime.now(UTC)
ACTIVE, REVOKED, EXPIRED = "consent-active", "consent-revoked", "consent-expired"


def day(days: int) -> str:
    return (START + timedelta(days=days)).date().isoformat()


def consent(name: str, *, to: str = ASKS, ends: str | None = None, **more: Any) -> Json:
    """Return a Consent as a patient's own app would write it. ends: the last day."""
    terminology = "http://terminology.hl7.org/CodeSystem/"
    role = {"coding": [{"system": f"{terminology}v3-ParticipationType", "code": "IRCP"}]}
    period = {"period": {"start": day(-1), **({"end": ends} if ends else {})}}
    actor = [{"role": role, "reference": {"reference": f"Organization/{to}"}}]
    return {
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{name}-1"},
        "scope": {"coding": [{"system": f"{terminology}consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": f"{terminology}v3-ActCode", "code": "OPTIN"}]},
        "provision": {"type": "permit", "actor": actor, **period}, **more,
    }  # fmt: skip


@dataclass
class Site:
    """A server with its clock, and the same installation as another process has it."""

    server: Live
    uri: str

    def at(self, days: float) -> None:
        self.server.clock.now = START + timedelta(days=days)

    def told(self, name: str) -> list[str]:
        """Return the kinds of the entries of a person, in their order."""
        with MongoClient[Json](self.uri) as client:
            database = client[self.server.settings.database]
            key = database["Patient"].find_one({"_id": f"{name}-1"}, {"pat": 1})
            assert key
            return [each["kind"] for each in database["outbox"].find({"person": key["pat"]}).sort("place", 1)]

    def run(self, work: Callable[[Parts], Any]) -> Any:
        async def within() -> Any:
            settings = self.server.settings
            parts = assemble(settings, keyring_of(settings), uri=self.uri, clock=self.server.clock)
            try:
                await parts.definitions.renew()
                return await work(parts)
            finally:
                await parts.client.close()

        return asyncio.run(within())

    def sweep(self) -> None:
        """Have done what is due, which the server does by itself now and then."""
        while self.run(lambda parts: parts.reminders.once()) is None:
            continue

    def reminders(self) -> list[str]:
        """Return the texts of all reminders."""
        box = Box(keyring_of(self.server.settings))
        with MongoClient[Json](self.uri) as client:
            database = client[self.server.settings.database]
            waiting = [Message(**box.opened(f"queued|{each['_id']}", each["body"])) for each in database[QUEUE].find()]
            sent = [Message(**box.opened(f"message|{each['_id']}", each["body"])) for each in database[MESSAGES].find()]
        texts = {each.id: each.text for each in (*waiting, *sent)}.values()
        return [each for each in texts if "到期" in each and "无需操作" in each]


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, clock = tmp_path_factory.mktemp("following"), Clock(START)
    chosen = {"message_stand_in": True, "remind_days": 5}
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, clock=clock, **chosen) as server:
        server.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        yield Site(server, mongo_uri)


@pytest.fixture(autouse=True)
def at_the_start(site: Site) -> None:
    site.at(0)


def made(client: httpx.Client, resource: Json) -> Json:
    answer = client.post("Consent", json=resource)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def put(client: httpx.Client, resource: Json, **changed: Any) -> Json:
    answer = client.put(f"Consent/{resource['id']}", json={**resource, **changed})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


UNCONFIRMED = [{"verified": False}]
# How a Consent that holds is changed, and what is told of it.
CHANGES: list[tuple[str, Json, list[str]]] = [
    ("status", {"status": "inactive"}, [REVOKED]),
    ("error", {"status": "entered-in-error"}, [REVOKED]),
    ("verification", {"verification": UNCONFIRMED}, [REVOKED]),
    ("period", {"provision": {"type": "permit", "period": {"end": day(-3)}}}, [REVOKED]),
    ("content", {"provision": {"type": "permit", "period": {"end": day(3)}}}, [ACTIVE]),
    ("nothing", {}, []),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_a_plain_write_tells_as_a_step_does(site: Site, number: int) -> None:
    name, changed, follows = CHANGES[number]
    person(site.server, name, 400 + number)
    with own(site.server, name) as patient:
        given = made(patient, consent(name))
        assert site.told(name) == [ACTIVE]
        put(patient, given, **changed)
        assert site.told(name) == [ACTIVE, *follows]


def test_what_does_not_hold_tells_nobody_until_it_does(site: Site) -> None:
    person(site.server, "later", 410)
    with own(site.server, "later") as patient:
        given = made(patient, consent("later", status="proposed"))
        given = put(patient, given, status="active", verification=UNCONFIRMED)
        assert site.told("later") == []
        given = put(patient, given, verification=[{"verified": True}])
        assert site.told("later") == [ACTIVE]
        put(patient, given, status="rejected")
        assert site.told("later") == [ACTIVE, REVOKED]


def test_it_makes_no_difference_how_or_by_whom_it_is_written(site: Site) -> None:
    person(site.server, "ways", 411)
    with site.server.system(ASKS) as system:
        site.server.put({**consent("ways"), "id": "ways-own"}, organization=ASKS)
        patched = [{"op": "replace", "path": "/status", "value": "inactive"}]
        json_patch = {"Content-Type": "application/json-patch+json"}
        assert system.patch("Consent/ways-own", json=patched, headers=json_patch).status_code == 200
        entry = {"resource": consent("ways"), "request": {"method": "POST", "url": "Consent"}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry, entry]}
        answer = system.post("", json=bundle)
        assert answer.status_code == 200, answer.text
        ids = [each["resource"]["id"] for each in answer.json()["entry"]]
        assert site.told("ways") == [ACTIVE, REVOKED, ACTIVE, ACTIVE]
        assert system.delete(f"Consent/{ids[0]}").status_code in (200, 204)
        assert site.told("ways")[4:] == [REVOKED]


def test_a_consent_that_becomes_another_persons_has_ended_for_the_first(site: Site) -> None:
    for name, number in (("from", 412), ("to", 413)):
        person(site.server, name, number)
    site.server.put({**consent("from"), "id": "moved"}, organization=ASKS)
    site.server.put({**consent("to"), "id": "moved"}, organization=ASKS)
    assert (site.told("from"), site.told("to")) == ([ACTIVE, REVOKED], [ACTIVE])


def test_many_at_once_of_one_patient_do_not_hinder_each_other(site: Site) -> None:
    person(site.server, "many", 419)
    with own(site.server, "many") as patient, ThreadPoolExecutor(16) as pool:
        given = [*pool.map(lambda _: made(patient, consent("many"))["id"], range(16))]
    assert len({*given}) == 16
    assert site.told("many") == [ACTIVE] * 16


def test_a_write_that_is_refused_tells_nobody(site: Site) -> None:
    person(site.server, "stale", 414)
    with own(site.server, "stale") as patient:
        given = made(patient, consent("stale"))
        stale = {"If-Match": 'W/"9"'}
        assert (
            patient.put(f"Consent/{given['id']}", json={**given, "status": "inactive"}, headers=stale).status_code
            == 412
        )
        assert site.told("stale") == [ACTIVE]


def test_a_consumer_reads_who_and_what(site: Site) -> None:
    person(site.server, "body", 415)
    with both(site.server, "body") as (asking, answering):
        steps = asked(asking, "body-1")
        done(answering, steps, "confirm")
        plain = made(answering, consent("body", policyRule=OUT, provision={"type": "deny"}))

    async def taken(parts: Parts) -> list[Entry]:
        outbox, found = parts.services.consenting.outbox, []
        await outbox.register("bridge", since=0)
        while entry := await outbox.take("bridge", "worker"):
            found.append(entry)
            assert await outbox.done("bridge", entry, "worker")
        return found

    bodies = {each.body["consent"]: each.body for each in site.run(taken) if each.body}
    assert bodies[steps] == {
        "consent": steps, "version": 3, "patient": "body-1", "state": "active", "effect": "permit", "organization": ASKS,
        "custodian": ASKS, "institutions": [ASKS],
    }  # fmt: skip
    assert bodies[plain["id"]] == {
        "consent": plain["id"], "version": 1, "patient": "body-1", "state": "active", "effect": "deny",
        "custodian": ASKS, "institutions": [ASKS],
    }  # fmt: skip
    site.run(lambda parts: parts.services.consenting.outbox.forget("bridge"))


OUT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]}


def test_plain_and_asked_for_alike_are_reminded_of_and_told_when_their_time_is_over(site: Site) -> None:
    person(site.server, "ends", 416)
    with both(site.server, "ends") as (asking, answering):
        done(answering, asked(asking, "ends-1", expires=day(20)), "confirm")
        made(answering, consent("ends", ends=day(20)))
        made(answering, consent("ends", to=KEEPS, ends=day(20)))  # an institution that has no name here
        made(
            answering,
            consent("ends", ends=day(20), policyRule=OUT, provision={"type": "deny", "period": {"end": day(20)}}),
        )
        put(answering, made(answering, consent("ends", ends=day(20))), status="inactive")
    before = site.told("ends")
    site.at(16)
    site.sweep()
    site.sweep()
    told = site.reminders()
    assert len(told) == 3
    assert sum("您给第一人民医院的" in each for each in told) == 2
    assert site.told("ends") == before
    site.at(22)
    site.sweep()
    site.sweep()
    assert site.told("ends")[len(before) :] == [EXPIRED] * 4


def notices(patient: httpx.Client) -> int:
    """Return of how many ends a patient was reminded."""
    found = patient.get("Communication", params={"category": "reminder", "_total": "accurate"}).json()
    return int(found["total"])


def test_what_is_made_longer_is_reminded_of_again_and_does_not_end_before(site: Site) -> None:
    person(site.server, "longer", 417)
    with both(site.server, "longer") as (asking, answering):
        given = made(answering, consent("longer", ends=day(20)))
        site.at(16)
        site.sweep()
        assert notices(answering) == 1
        longer = {**given["provision"], "period": {"end": day(40)}}
        given = put(answering, given, provision=longer)
        site.at(22)
        site.sweep()
        assert notices(answering) == 1
        assert sees(asking, "longer")
        site.at(37)
        site.sweep()
        assert notices(answering) == 2
        put(answering, given, provision={"type": "permit"})
        site.at(50)
        site.sweep()
    assert site.told("longer") == [ACTIVE] * 3


def test_an_entry_goes_after_its_retention_time(site: Site) -> None:
    person(site.server, "kept", 418)
    with own(site.server, "kept") as patient:
        made(patient, consent("kept"))
    site.at(89)
    site.sweep()
    assert site.told("kept") == [ACTIVE]
    site.at(92)
    site.sweep()
    assert site.told("kept") == []
