"""What is changed in the store keeps nothing that was received longer than it may be kept; and what a purge leaves of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from bson.raw_bson import RawBSONDocument

from fhir_server.app import Parts
from tests.deliveries.world import DUE, ENDED, NOW, SAID, Json, World

AFTER = DUE + timedelta(minutes=1)
FAR = datetime(2099, 1, 1, tzinfo=DUE.tzinfo)


def of(told: Json) -> Json:
    return {"_id": told["delivery"]}


def later(world: World, told: Json) -> None:
    world.database["deliveries"].update_one(of(told), {"$set": {"due": FAR}})


def received_later(world: World, told: Json) -> None:
    world.database["deliveries"].update_one(of(told), {"$set": {"due": FAR, "received": FAR, "visit": "none"}})


def for_another_visit(world: World, told: Json) -> None:
    other = f"other-{world.key}"
    world.server.put({**world.encounter(end="2030-01-01"), "id": other})
    world.database["deliveries"].update_one(of(told), {"$set": {"due": FAR, "visit": other}})


def as_if_purged(world: World, told: Json) -> None:
    world.database["deliveries"].update_one(of(told), {"$set": {"state": "purged"}})


def without_its_row(world: World, told: Json) -> None:
    world.database["deliveries"].delete_one(of(told))


def whose_key_names_no_delivery(world: World, told: Json) -> None:
    later(world, told)
    world.database["keys"].update_many({"delivery": told["delivery"]}, {"$unset": {"delivery": ""}})


def whose_visit_was_changed(world: World, told: Json) -> None:
    world.database["Encounter"].update_one({"_id": world.visit}, {"$set": {"org": "org9"}})


CHANGES: list[Callable[[World, Json], None]] = [
    later, received_later, for_another_visit, as_if_purged, without_its_row, whose_key_names_no_delivery,
    whose_visit_was_changed,
]  # fmt: skip


@pytest.mark.parametrize("changed", CHANGES)
def test_what_was_changed_in_the_store_is_purged_as_soon_as_it_may_be(
    world: World, changed: Callable[[World, Json], None]
) -> None:
    told, other = world.receive(), world.receive(number="2")
    (place,) = told["stored"]
    id = place.split("/")[1]
    key = (world.database["Observation"].find_one({"_id": id}) or {})["k"]
    changed(world, told)
    when = NOW + timedelta(
        days=30, minutes=1
    )  # so long after the day on which it came, if the visit is not to be believed
    purged = world.purge(when) or ()
    assert {told["delivery"], other["delivery"]} <= {*purged}
    assert [world.read(each) for each in (place, *other["stored"])] == [410, 410]
    assert world.database["keys"].find_one({"_id": key}) is None
    assert world.database["deliveries"].find_one(of(told))["state"] == "purged"  # type: ignore[index]
    assert told["delivery"] not in (world.purge(when) or ())


def test_a_running_process_finds_within_a_day_what_was_moved(world: World) -> None:
    """Not only one that has just begun, which looks at all of them."""
    told = world.receive()

    async def looked(parts: Parts) -> list[str]:
        world.at(DUE - timedelta(hours=1))
        assert await parts.purging.once() == []
        later(world, told)
        world.at(DUE + timedelta(hours=1))
        assert await parts.purging.once() == []
        world.at(DUE + timedelta(hours=24))
        return [each.id for each in await parts.purging.once() or ()]

    assert world.run(looked) == [told["delivery"]]


def test_a_key_that_a_copy_brings_back_is_destroyed_again_and_nothing_is_told_twice(world: World) -> None:
    told = world.receive()
    keys, of_it = world.database["keys"], {"delivery": told["delivery"]}
    copies = list(keys.find(of_it))
    world.purge(AFTER)
    keys.insert_many(copies)
    assert world.purge(AFTER) == []
    assert keys.count_documents(of_it) == 0
    assert len([each for each in world.events("destroy") if told["delivery"] in each["outcomeDesc"]]) == 1


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error", "deleted"])
def test_a_visit_that_did_not_take_place_keeps_nothing_longer(world: World, status: str) -> None:
    (place,) = world.receive()["stored"]
    if status == "deleted":
        with world.server.system("org1") as system:
            assert system.delete(f"Encounter/{world.visit}").status_code == 204
    else:
        world.server.put({**world.encounter(), "status": status})
    world.purge(NOW + timedelta(days=30, minutes=-1))
    assert world.read(place) == 200
    world.purge(NOW + timedelta(days=30, minutes=1))
    assert world.read(place) == 410


def test_what_a_second_visit_needs_too_is_kept_for_it(world: World) -> None:
    """The same record, sent for each of two visits, is a record of each delivery; each goes with its visit."""
    first = world.receive()
    world.server.put({**world.encounter(end="2026-06-20"), "id": f"second-{world.key}"})
    with world.bridge() as client:
        bundle = world.bundle(world.observation(), number="2")
        answer = world.sent(client, bundle, encounter=f"Encounter/second-{world.key}")
    assert answer.status_code == 200, answer.text
    (kept,) = [each["valueReference"]["reference"] for each in answer.json()["parameter"] if each["name"] == "stored"]
    assert world.purge(AFTER) == [first["delivery"]]
    assert [world.read(each) for each in (*first["stored"], kept)] == [410, 200]
    world.purge(AFTER + timedelta(days=10))
    assert world.read(kept) == 410


RARE = {"system": "urn:rare", "code": "RARE-1", "display": SAID}


def test_nothing_that_it_said_is_left_in_the_database(world: World) -> None:
    """Neither in the clear nor as an index term, a label, a code or a range: in no document of any collection."""
    said = world.observation(
        code={"coding": [RARE], "text": SAID},
        effectiveDateTime="1987-03-09",
        meta={"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]},
    )
    (place,) = world.receive(said)["stored"]
    with world.doctor() as client:  # so that there is something in the log, and of searches
        assert client.get(place).status_code == 200
        assert client.get(f"Observation?code=urn:rare|RARE-1&patient={world.patient}&_count=1").json()["total"] == 1
        assert client.get(f"{place}/_history").status_code == 200
    with world.bridge("Device/emr-org2", "org2") as theirs:
        changed = {**said, "id": place.split("/")[1], "status": "amended"}
        assert theirs.put(place, json=changed).status_code == 200
    document = world.database["Observation"].find_one({"_id": place.split("/")[1]}) or {}
    own = world.observation(id=f"own-{world.key}", effectiveDateTime="2026-05-02", code={"text": "x"}, status="amended")
    world.server.put(own, organization="org2")
    common = world.database["Observation"].find_one({"_id": own["id"]}) or {}
    terms = {each for name in ("ix", "lab", "c") for each in document.get(name, ())}
    terms -= {each for name in ("ix", "lab", "c") for each in common.get(name, ())}
    # Terms that say which record it is, and where it came with, stand in the log too, which stays.
    for row in world.database["AuditEvent"].find({}, {"ix": 1, "to": 1}):
        terms -= {*row["ix"], *row.get("to", {}).get("entity", ())}
    assert len(terms) > 5
    terms |= {document["w"]["lo"], document["w"]["hi"]}
    traces = [each.to_bytes(8, "little", signed=True) for each in terms] + [SAID.encode(), b"RARE-1", b"1987-03-09"]
    assert any(each in whole(world) for each in traces)
    world.purge(AFTER)
    assert world.read(place) == 410
    left = whole(world)
    assert [each for each in traces if each in left] == []


def whole(world: World) -> bytes:
    """Return all documents of the database as they are stored."""
    raw = world.database.client.get_database(
        world.database.name, codec_options=world.database.codec_options.with_options(document_class=RawBSONDocument)
    )
    return b"".join(each.raw for name in world.database.list_collection_names() for each in raw[name].find())


def test_an_earlier_versions_rows_are_marked_as_they_stand(world: World) -> None:
    told = world.receive()
    world.database["deliveries"].update_one(of(told), {"$unset": {"m": ""}})

    async def adopted(parts: Parts) -> str:
        await parts.services.deliveries.adopt()
        found = await parts.services.deliveries.get(told["delivery"])
        assert found
        return found.visit

    assert world.run(adopted) == world.visit
    world.server.put(world.encounter(end="2026-07-01"))
    world.purge(AFTER)
    assert world.read(told["stored"][0]) == 200
    world.server.put(world.encounter(end=ENDED))
    world.purge(AFTER)
