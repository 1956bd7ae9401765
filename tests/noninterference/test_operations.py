"""Histories and operations disclose, count, order and page as a server that holds only what the requester may see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consent_engine.build import HIV, coding
from tests.databases import fresh
from tests.live import Clock, Live, live
from tests.noninterference.conftest import share
from tests.noninterference.filled import TYPES
from tests.noninterference.pair import Asked, Pair, visible
from tests.noninterference.questions import users
from tests.noninterference.test_found import denial, patient, record
from tests.noninterference.test_writes import prepared, same, stored
from tests.noninterference.world import World, worlds

WINDOWS = ("", "_since=2026-06-10T08:02:00Z", "_at=2026-06-10T08:03:00Z", "_at=2026-06-10", "_at=2027", "_since=2027")
LIMITS = ("", "_count=1", "_count=2", "_type=Observation,Encounter", "start=2026-02", "end=2026-02&_count=1")


def histories(world: World, window: str, count: int) -> list[str]:
    """Return the histories of every resource, every type and the system."""
    query = "&".join(part for part in (window, f"_count={count}") if part)
    places = [f"{type}/{id}/_history" for type, id in world.places]
    return [f"{path}?{query}" for path in ("_history", *(f"{type}/_history" for type in TYPES), *places)]


def operations(world: World, limits: str) -> list[str]:
    """Return every operation that only reads, on everything that it can be asked of."""
    asked = [f"Patient/{id}/$everything?{limits}" for id in world.patients]
    asked += [f"Observation/$lastn?patient={id}&max={most}" for id in world.patients for most in (1, 2)]
    asked += ["Patient/$everything", "$meta", *(f"{type}/$meta" for type in TYPES)]
    for type, id in world.places:
        asked += [f"{type}/{id}/$meta", *(f"{type}/{id}/_history/{version}/$meta" for version in (1, 2))]
        asked += [f"Encounter/{id}/$everything?_count=2"] if type == "Encounter" else []
        asked += [f"Composition/{id}/$document"] if type == "Composition" else []
    return asked


@share(4)
@given(st.data())
def test_histories_and_operations_tell_nothing_of_what_is_hidden(servers: Pair, data: st.DataObject) -> None:
    compare_operations(servers, data)


def compare_operations(servers: Pair, data: st.DataObject) -> None:
    """Ask both servers for every history and every operation on a random world."""
    world = data.draw(worlds(servers.fresh()), label="world")
    servers.store_a.write(world)
    # Who breaks the glass leaves notices behind, which the next history shows: that is what has happened, not a leak.
    user = data.draw(users(world).filter(lambda found: found.reason is None), label="user")
    servers.store_b.hold(visible(servers.oracle(world, user)))
    token = servers.token(user)
    window, count = data.draw(st.sampled_from(WINDOWS)), data.draw(st.sampled_from([1, 2, 3, 100]))
    limits = data.draw(st.sampled_from(LIMITS))
    paths = [*histories(world, window, count), *operations(world, limits)]
    if difference := servers.difference(token, [Asked("GET", path) for path in paths]):
        pytest.fail(difference)


@share(8)
@given(st.data())
def test_labels_cannot_be_added_to_what_is_hidden(servers: Pair, data: st.DataObject) -> None:
    _, user, oracle = prepared(servers, data)
    token = servers.token(user)
    hidden = [
        place
        for place, versions in oracle.records.versions.items()
        if not any(oracle.sees(each, letter) for each in versions for letter in "rs")
    ]
    before = stored(servers)
    said = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [coding(*HIV)]}}]}
    for type, id in [*hidden, ("Observation", "never")]:
        for name in ("meta-add", "meta-delete"):
            same(servers, token, Asked("POST", f"{type}/{id}/${name}", json.dumps(said).encode()))
    assert stored(servers) == before


@pytest.fixture(scope="module")
def still(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server whose clock stands still, so that two answers differ by what is stored alone."""
    clock = Clock(datetime(2026, 6, 15, tzinfo=UTC))
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, tmp_path_factory.mktemp("installation"), database=name, clock=clock) as running,
    ):
        yield running


def test_what_others_store_and_patients_deny_changes_no_answer(still: Live) -> None:
    """What the visible records refer to is hidden in every way: elsewhere, denied by label, of another's patient."""
    targets = ["Observation/elsewhere", "Observation/denied", "Observation/never"]
    still.put(
        {"resourceType": "Organization", "id": "org1", "name": "First"},
        {**patient("p"), "generalPractitioner": [{"reference": "Organization/org1"}]},
        {
            "resourceType": "Composition",
            "id": "c",
            "status": "final",
            "type": {"text": "x"},
            "date": "2026",
            "title": "x",
            "subject": {"reference": "Patient/p"},
            "author": [{"reference": "Device/elsewhere"}],
            "encounter": {"reference": "Encounter/e"},
            "section": [{"title": "x", "entry": [{"reference": each} for each in targets]}],
        },
        {
            "resourceType": "Encounter",
            "id": "e",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": {"reference": "Patient/p"},
            "basedOn": [{"reference": "ServiceRequest/elsewhere"}],
        },
        record("o", "p", effectiveDateTime="2026-01-01", hasMember=[{"reference": each} for each in targets]),
        denial("d", "p", securityLabel=[coding(*HIV)]),
    )
    asked = [
        "Patient/p/$everything",
        "Patient/p/$everything?_count=2",
        "Encounter/e/$everything",
        "Composition/c/$document",
        "Observation/$lastn?patient=p&max=2",
        "$meta",
        "Observation/$meta",
        "Observation/o/$meta",
        "Observation/denied/$meta",
        "_history",
        "_history?_at=2026-06-15",
        "Observation/_history",
        "Observation/denied/_history",
    ]
    scope = "user/Patient.rs user/Observation.rs user/Composition.rs user/Encounter.rs user/ServiceRequest.rs user/Device.rs"
    with still.client("practitioner", "Practitioner/dr1", scope=scope) as doctor:
        before = [doctor.get(path) for path in asked]
        elsewhere = {"encounter": {"reference": "Encounter/e"}, "effectiveDateTime": "2026-06-01"}
        still.put(
            record("elsewhere", "p", **elsewhere, meta={"tag": [coding("urn:tag", "hidden")]}),
            {"resourceType": "Device", "id": "elsewhere"},
            {
                "resourceType": "ServiceRequest",
                "id": "elsewhere",
                "status": "active",
                "intent": "order",
                "subject": {"reference": "Patient/p"},
            },
            organization="org2",
        )
        still.put(
            record("denied", "p", **elsewhere, meta={"security": [coding(*HIV)], "tag": [coding("urn:tag", "h")]})
        )
        still.put(record("denied", "p", **elsewhere))
        with still.system("org2") as other:
            assert other.get("Observation/elsewhere").status_code == 200
        after = [doctor.get(path) for path in asked]
    assert [each.status_code for each in before] == [200] * 8 + [404] + [200] * 3 + [404]
    for path, one, two in zip(asked, before, after, strict=True):
        # The positions in page links are sealed with a random nonce.
        bodies = [each.content.partition(b"_cursor=")[0] for each in (one, two)]
        assert bodies[0] == bodies[1], path
        assert {**one.headers, "date": ""} == {**two.headers, "date": ""}
