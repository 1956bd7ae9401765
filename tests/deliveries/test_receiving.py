"""$receive: who may, what comes by it, and whose the records are then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.consent_engine.build import actor, consent, permit
from tests.deliveries.world import BRIDGE, SAID, World

Json = dict[str, Any]


def test_what_is_received_stays_the_record_of_the_institution_that_it_comes_from(world: World) -> None:
    told = world.receive()
    (place,) = told["stored"]
    assert told["until"].startswith("2026-07-11")
    with world.doctor("org2") as theirs:
        assert theirs.get(place).json()["code"]["text"] == SAID
    assert world.read(place, "org1") == 404
    with world.server.client("patient", f"Patient/{world.patient}", purpose="PATRQT") as own:
        assert own.get(place).status_code == 200
        given = {**consent(permit(actor=[actor("Organization/org1")])), "category": [{"text": "x"}]}
        made = own.post("Consent", json={**given, "patient": {"reference": f"Patient/{world.patient}"}})
        assert made.status_code == 201, made.text
    assert world.read(place, "org1") == 200


def test_references_between_what_comes_together_lead_to_what_is_stored(world: World) -> None:
    report = {
        "resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"},
        "subject": {"reference": f"Patient/{world.patient}"}, "result": [{"reference": "urn:uuid:1"}],
    }  # fmt: skip
    places = world.receive(report, world.observation())["stored"]
    with world.doctor() as client:
        assert client.get(places[0]).json()["result"] == [{"reference": places[1]}]
        assert client.get(f"DiagnosticReport?_id={places[0].split('/')[1]}&_include=*").json()["total"] == 1


def test_sent_again_it_is_stored_once(world: World) -> None:
    first = world.receive()
    assert world.receive() == first
    assert world.receive(number="2")["delivery"] != first["delivery"]
    with world.doctor() as client:
        assert client.get(f"Observation?patient={world.patient}").json()["total"] == 2


def test_it_is_sealed_under_keys_of_its_own(world: World) -> None:
    told, other = world.receive(), world.receive(number="2")
    keys = [each["delivery"] for each in world.database["keys"].find({"delivery": {"$exists": True}})]
    assert keys.count(told["delivery"]) == keys.count(other["delivery"]) == 1
    ids = [each["stored"][0].split("/")[1] for each in (told, other)]
    used = [each["k"] for each in world.database["Observation"].find({"_id": {"$in": ids}})]
    assert len(set(used)) == 2


def naming(events: list[Json], place: str) -> list[Json]:
    named = [(each, entity["what"]["reference"]) for each in events for entity in each["entity"] if "what" in entity]
    return [each for each, reference in named if reference.startswith(place)]


def test_both_institutions_auditors_are_told_of_the_transfer(world: World) -> None:
    (place,) = world.receive()["stored"]
    for organization in ("org1", "org2"):
        (event,) = naming(world.events("disclose", organization), place)
        assert (event["type"]["code"], event["action"]) == ("110107", "C")  # IHE BALP, Privacy Disclosure: import
        assert "partner Organization/org2" in event["outcomeDesc"]
    before = len(world.events("disclose"))
    assert world.receive()["stored"] == [place]
    told = world.events("disclose")
    assert len(told) == before + 1
    assert any("sent again" in each["outcomeDesc"] for each in naming(told, f"Encounter/{world.visit}"))


def changed(bundle: Json, **more: Any) -> Json:
    return {**bundle, **more}


@pytest.mark.parametrize(
    ("user", "organization", "status"),
    [("Device/other", "org1", 403), (BRIDGE, "org3", 404)],
)
def test_only_the_bridges_that_are_named_receive_and_for_visits_that_they_see(
    world: World, user: str, organization: str, status: int
) -> None:
    with world.bridge(user, organization) as client:
        assert world.sent(client, world.bundle(world.observation())).status_code == status


def test_a_token_that_may_not_create_the_type_receives_nothing(world: World) -> None:
    with world.bridge(scope="system/Encounter.rs system/Condition.c") as client:
        assert world.sent(client, world.bundle(world.observation())).status_code == 403


def refused_bundles(world: World) -> list[tuple[Json, int]]:
    good, someone = world.bundle(world.observation()), {"reference": "Patient/somebody-else"}
    patient = {"reference": f"Patient/{world.patient}"}
    forbidden = [
        {"resourceType": "Consent", "status": "active", "patient": patient},
        {"resourceType": "RelatedPerson", "patient": patient},
        {"resourceType": "Patient"},
        {"resourceType": "Organization", "name": "x"},
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Group", "type": "person", "actual": True},
    ]
    return [
        (changed(good, type="transaction"), 400),
        (changed(good, resourceType="List"), 400),
        (changed(good, entry=[]), 400),
        (changed(good, entry=["x"]), 400),
        (changed(good, entry=[{"resource": {}}]), 400),
        (changed(good, identifier={"value": "1"}), 400),
        (changed(good, identifier="x"), 400),
        (world.bundle(world.observation(subject=someone)), 422),
        (world.bundle(world.observation(performer=[patient], subject=someone)), 422),
        (world.bundle({k: v for k, v in world.observation().items() if k != "subject"}), 422),
        (world.bundle(world.observation(status=3)), 422),
        *((world.bundle(world.observation(), each), 422) for each in forbidden),
    ]


def test_what_is_no_delivery_of_this_patients_records_is_refused_whole(world: World) -> None:
    with world.bridge() as client:
        for bundle, status in refused_bundles(world):
            answer = world.sent(client, bundle)
            assert answer.status_code == status, (bundle, answer.text)
        for more in ({"source": "Organization/org1"}, {"source": "x y"}, {"encounter": "Patient/1"}):
            assert world.sent(client, world.bundle(world.observation()), **more).status_code == 400
        assert client.get("$receive", params={"source": "a", "encounter": "Encounter/1"}).status_code == 405
    assert world.database["Observation"].count_documents({"pr": world.patient}) == 0
    assert world.database["deliveries"].count_documents({"patient": world.patient}) == 0


def test_for_a_visit_that_is_long_over_nothing_is_received(world: World) -> None:
    world.server.put(world.encounter(end="2026-05-01"))
    with world.bridge() as client:
        answer = world.sent(client, world.bundle(world.observation()))
    assert (answer.status_code, "too long ago" in answer.text) == (400, True)
