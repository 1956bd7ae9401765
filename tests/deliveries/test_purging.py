"""Purging: when, what is left, and that nothing opens what was purged, wherever it was kept, whoever was killed at it."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest

from fhir_server.app import Parts
from fhir_server.commands.purging import listed, purged
from fhir_server.store.keys import Unreadable
from fhir_server.store.permitted import PURGED
from tests.consent_engine.build import actor, coding, consent, deny, permit
from tests.deliveries.world import DUE, ENDED, NOW, SAID, World
from tests.live import live

BEFORE, AFTER = DUE - timedelta(minutes=1), DUE + timedelta(minutes=1)
PATIENCE_SECONDS = 60
COLLECTIONS = ("Observation", "Observation_history", "keys", "deliveries", "received")


def test_it_takes_place_thirty_days_after_the_visit_and_not_before(world: World) -> None:
    told = world.receive()
    assert world.purge(BEFORE) == []
    assert world.read(told["stored"][0]) == 200
    assert world.purge(AFTER) == [told["delivery"]]
    assert world.read(told["stored"][0]) == 410
    assert world.purge(AFTER) == []


def test_the_visits_end_as_it_stands_then_decides(world: World) -> None:
    (place,) = world.receive()["stored"]
    world.server.put(world.encounter(end="2026-07-01"))
    assert world.purge(AFTER) == []
    assert world.purge(AFTER + timedelta(days=20)) == []
    assert world.read(place) == 200
    assert world.purge(AFTER + timedelta(days=21)) is not None
    assert world.read(place) == 410


def test_an_end_that_was_written_late_counts_within_a_day(world: World) -> None:
    world.server.put(world.encounter(start="2026-06-01"))
    (place,) = world.receive()["stored"]  # without an end: thirty days after today
    world.server.put(world.encounter(end="2026-06-10"))
    world.purge(AFTER)
    assert world.read(place) == 410


def test_what_came_with_others_and_what_is_the_institutions_own_stays(world: World) -> None:
    first = world.receive()
    own = world.observation(id=f"own-{world.key}")
    world.server.put(own, organization="org2")
    world.server.put(world.encounter(end="2026-06-20"))
    second = world.receive(number="2")
    world.server.put(world.encounter(end=ENDED))  # both are for this visit
    assert set(world.purge(AFTER) or ()) == {first["delivery"], second["delivery"]}
    assert world.read(f"Observation/own-{world.key}") == 200


def test_of_a_record_nothing_is_left_but_whose_it_was(world: World) -> None:
    (place,) = world.receive()["stored"]
    id = place.split("/")[1]
    world.purge(AFTER)
    database = world.database
    assert database["Observation"].find_one({"_id": id}) is None
    (left,) = database["Observation_history"].find({"id": id})
    assert left.keys() == {"_id", "id", "v", "at", "org", "pat", "pr", "w", "deleted", "m", PURGED}
    assert left["w"]["lo"] == left["at"]
    for name in ("keys", "received"):
        assert database[name].count_documents({"delivery": {"$exists": True}, "_id": place}) == 0


def test_reads_and_searches_answer_as_for_what_was_deleted(world: World) -> None:
    (place,) = world.receive()["stored"]
    world.purge(AFTER)
    with world.doctor("org2") as theirs, world.doctor("org1") as others:
        assert [each.get(place).status_code for each in (theirs, others)] == [410, 404]
        assert [each.get(f"{place}/_history/1").status_code for each in (theirs, others)] == [404, 404]
        history = theirs.get(f"{place}/_history").json()
        assert [each["request"]["method"] for each in history["entry"]] == ["DELETE"]
        assert others.get(f"{place}/_history").status_code == 404
        assert theirs.get(f"Observation?patient={world.patient}").json()["total"] == 0
        listed = theirs.get("Observation/_history?_count=500").json().get("entry", ())
        assert not any(each["fullUrl"].endswith(place) for each in listed)
        assert theirs.put(place, json=world.observation(id=place.split("/")[1])).status_code == 404


def test_the_tombstone_says_nothing_to_whom_a_consent_kept_the_record_from(world: World) -> None:
    """A code that a Consent denies is no longer known of it: it is hidden from all whom it may have been hidden from."""
    hidden = {"coding": [coding("urn:c", "hidden")]}
    open_, kept = world.receive(world.observation(), world.observation(code=hidden))["stored"]
    provision = permit(actor=[actor("Organization/org2")], provision=[deny(code=[hidden])])
    with world.server.client("patient", f"Patient/{world.patient}", purpose="PATRQT") as own:
        whose = {"patient": {"reference": f"Patient/{world.patient}"}, "category": [{"text": "x"}]}
        made = own.post("Consent", json={**consent(provision), **whose})
        assert made.status_code == 201, made.text
    assert [world.read(each) for each in (open_, kept)] == [200, 404]
    world.purge(AFTER)
    assert world.read(kept) == 404


def test_every_version_and_what_a_deletion_left_is_purged(world: World) -> None:
    deleted, updated = world.receive(world.observation(), world.observation())["stored"]
    with world.bridge("Device/emr-org2", "org2") as theirs:
        assert (
            theirs.put(updated, json=world.observation(id=updated.split("/")[1], status="amended")).status_code == 200
        )
        assert theirs.delete(deleted).status_code == 204
    world.purge(AFTER)
    ids = [each.split("/")[1] for each in (deleted, updated)]
    left = list(world.database["Observation_history"].find({"id": {"$in": ids}}))
    assert sorted((each["id"], each["v"]) for each in left) == sorted([(ids[0], 2), (ids[1], 3)])
    assert all("lab" not in each and "c" not in each and PURGED in each for each in left)
    assert world.read(deleted) == world.read(updated) == 410


def test_records_that_went_over_to_another_person_are_purged_with_all_keys_that_sealed_them(world: World) -> None:
    told = world.receive()
    number = {"type": {"coding": [coding("http://terminology.hl7.org/CodeSystem/v2-0203", "NNCHN")]}}
    number |= {"system": "urn:oid:2.16.156.10011.1.3", "value": "110101199003070011"}
    world.server.put({"resourceType": "Patient", "id": world.patient, "identifier": [number]})
    of_this = {"delivery": told["delivery"]}
    moved = world.database["Observation"].find_one({"_id": told["stored"][0].split("/")[1]}) or {}
    assert moved["dl"] == told["delivery"]
    assert moved["k"] in [each["_id"] for each in world.database["keys"].find(of_this)]
    world.purge(AFTER)
    assert world.database["keys"].count_documents(of_this) == 0
    assert world.read(told["stored"][0]) == 410


def test_documents_brought_back_from_a_copy_do_not_open(world: World) -> None:
    """Not for the server that had read them before, either: it keeps no key of a delivery in memory."""
    (place,) = world.receive()["stored"]
    id = place.split("/")[1]
    assert world.read(place) == 200
    copy = world.database["Observation"].find_one({"_id": id}) or {}
    world.purge(AFTER)
    world.database["Observation"].insert_one(copy)

    async def opened(parts: Parts) -> None:
        with pytest.raises(Unreadable):
            await parts.services.resources.opened("Observation", [copy])

    world.run(opened)
    with world.doctor() as client:
        answer = client.get(place)
        assert (answer.status_code, SAID in answer.text) == (410, False)
        found = client.get(f"Observation?patient={world.patient}")
        assert SAID not in found.text
    world.database["Observation"].delete_one({"_id": id})


def test_a_whole_copy_that_is_brought_back_is_purged_again(world: World) -> None:
    told = world.receive()
    copies = {name: list(world.database[name].find()) for name in COLLECTIONS}
    world.purge(AFTER)
    for name, documents in copies.items():
        world.database[name].delete_many({})
        world.database[name].insert_many(documents) if documents else None
    assert told["delivery"] in (world.purge(AFTER) or ())
    assert world.read(told["stored"][0]) == 410


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_broken_off_after_any_step_it_is_gone_on_with(world: World, steps: int) -> None:
    told = world.receive(world.observation(), world.observation())
    world.at(AFTER)

    async def broken_off(parts: Parts) -> str:
        delivery = await parts.services.deliveries.get(told["delivery"])
        assert delivery
        working = parts.purging.steps(delivery)
        done = [await anext(working) for _ in range(steps)]
        await working.aclose()
        return done[-1]

    assert world.run(broken_off) == ("begun", "buried", "destroyed")[steps - 1]
    assert [world.read(each) for each in told["stored"]] == [200 if steps == 1 else 410] * 2
    assert told["delivery"] in (world.purge(AFTER) or ())
    assert [world.read(each) for each in told["stored"]] == [410] * 2
    noted = [each for each in world.events("destroy") if told["delivery"] in each["outcomeDesc"]]
    assert [each["outcomeDesc"] for each in noted] == [f"HTTP 200 delivery {told['delivery']} purged: Observation 2"]


def test_once_it_is_begun_nothing_more_is_stored_of_the_delivery(world: World) -> None:
    told = world.receive()
    (place,) = told["stored"]
    id = place.split("/")[1]

    async def begun(parts: Parts) -> None:
        delivery = await parts.services.deliveries.get(told["delivery"])
        assert delivery
        await parts.services.deliveries.begin(delivery)

    world.run(begun)
    with world.bridge("Device/emr-org2", "org2") as theirs:
        assert theirs.put(place, json=world.observation(id=id, status="amended")).status_code == 409
        assert theirs.delete(place).status_code == 409
        assert theirs.get(place).json()["status"] == "final"
    world.purge(AFTER)
    with world.bridge() as client:
        assert world.sent(client, world.bundle(world.observation())).status_code == 410


def test_the_log_says_which_delivery_and_how_many_and_nothing_of_what_they_said(world: World) -> None:
    told = world.receive()
    world.purge(AFTER)
    for organization in ("org1", "org2"):
        (event,) = [each for each in world.events("destroy", organization) if told["delivery"] in each["outcomeDesc"]]
        assert event["type"]["code"] == "110110"
        assert event["action"] == "D"
        assert "Observation 1" in event["outcomeDesc"]
        assert SAID not in json.dumps(event, ensure_ascii=False)
    (came,) = [each for each in world.events("disclose") if told["stored"][0] in json.dumps(each)]
    assert came["type"]["code"] == "110107"


def test_one_process_purges_at_a_time(world: World) -> None:
    world.receive()
    world.at(AFTER)

    async def taken(parts: Parts) -> bool:
        assert await parts.purging._lease.taken()
        return True

    assert world.run(taken)
    assert world.purge(AFTER) is None
    world.database["leases"].delete_many({"_id": "purging"})
    assert world.purge(AFTER)


def test_what_is_due_can_be_listed_without_being_purged(world: World) -> None:
    told = world.receive()
    world.at(AFTER)

    async def listed(parts: Parts) -> list[str]:
        return [each.id async for each in parts.purging.due(looking=True)]

    assert told["delivery"] in world.run(listed)
    assert world.read(told["stored"][0]) == 200
    world.purge(AFTER)


def test_who_may_not_see_what_was_received_learns_nothing_of_it_at_any_time(world: World) -> None:
    """Every answer is that of a server to which it never came, before and after it was purged."""
    own = world.observation(id=f"own-{world.key}")
    world.server.put(own)
    told: list[str] = []

    def answers() -> list[tuple[int, str]]:
        asked = (
            "Observation/{id}", "Observation/{id}/_history", "Observation/{id}/_history/1", "Observation/{id}/_history/2",
            f"Observation?patient={world.patient}&_total=accurate", f"Patient/{world.patient}/$everything",
            f"Observation?subject:Patient._id={world.patient}&_summary=count",
            "Patient?_has:Observation:patient:_id={id}", f"Encounter?_id={world.visit}&_revinclude=*",
        )  # fmt: skip
        world.at(DUE)
        with world.doctor("org1") as client:
            found = [client.get(each.replace("{id}", told[0] if told else "x")) for each in asked]
        return [(each.status_code, each.text.replace(told[0] if told else "x", "x")) for each in found]

    world.at(NOW)
    (place,) = world.receive()["stored"]
    told.append(place.split("/")[1])
    received = answers()
    world.purge(AFTER)
    purged = answers()
    told.clear()
    assert received == purged == answers()
    assert [status for status, _ in received[:4]] == [404] * 4


def test_a_past_decision_about_a_purged_record_says_that_it_cannot_be_made_again(world: World) -> None:
    (place,) = world.receive()["stored"]
    assert world.read(place) == 200
    world.purge(AFTER)
    with world.server.client("auditor", "Practitioner/auditor", "org2") as auditor:
        found = auditor.get("AuditEvent", params={"entity": place, "subtype": "read", "_sort": "date"}).json()
        told = auditor.get(f"AuditEvent/{found['entry'][0]['resource']['id']}/$replay")
    assert told.status_code == 200, told.text
    said = {each["name"]: each for each in told.json()["parameter"]}
    assert (said["complete"]["valueBoolean"], said["missing"]["part"][0]["valueReference"]["reference"]) == (
        False,
        f"{place}/_history/1",
    )


def test_the_command_lists_and_purges(world: World) -> None:
    told = world.receive(world.observation(), world.observation())
    world.at(AFTER)
    (line,) = [each for each in world.run(listed) if told["delivery"] in each]
    assert line == f"{told['delivery']}\torg2\tdue 2026-07-11\t2 records"
    (done,) = [each for each in world.run(purged) or () if told["delivery"] in each]
    assert done == f"{told['delivery']}\torg2\t2 records"
    assert world.run(listed) == world.run(purged) == []


def test_a_server_purges_by_itself_what_is_due(world: World) -> None:
    told = world.receive()
    world.at(AFTER)
    settings = world.server.settings
    with live(world.uri, settings.data, database=settings.database, clock=world.server.clock):
        until = time.monotonic() + PATIENCE_SECONDS
        while world.read(told["stored"][0]) != 410:
            assert time.monotonic() < until, "the server did not purge"
            time.sleep(0.1)
