"""Writes are no oracle: aimed at what is hidden, they are answered as if it had never existed, and change nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consent_engine.build import LOINC, concept, consent, permit
from tests.noninterference.agreements import Json
from tests.noninterference.conftest import share
from tests.noninterference.filled import TYPES
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import Answer, Asked, Pair, visible
from tests.noninterference.questions import users
from tests.noninterference.world import World, worlds

SERVERS_IDS = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def prepared(servers: Pair, data: st.DataObject) -> tuple[World, User, Oracle]:
    world = data.draw(worlds(servers.fresh()), label="world")
    servers.store_a.write(world)
    # An institution's systems choose ids, so they are told which are taken; everybody else is not.
    user = data.draw(users(world).filter(lambda found: found.role != "system"), label="user")
    oracle = servers.oracle(world, user)
    servers.store_b.hold(visible(oracle))
    return world, user, oracle


def stored(servers: Pair) -> dict[str, list[dict[str, Any]]]:
    """Return every document of server A but its log."""
    names = [name for type in TYPES for name in (type, f"{type}_history")]
    return {name: list(servers.store_a.database[name].find().sort("_id")) for name in (*names, "persons")}


def same(servers: Pair, token: str, asked: Asked) -> None:
    gated, reference = map(nameless, servers.ask(token, asked))
    assert gated.status < 500
    if difference := gated.differs_from(reference):
        pytest.fail(f"{asked} {difference}")


def nameless(answer: Answer) -> Answer:
    """Return an answer without the random ids that a server gives to what it creates."""
    headers = {name: SERVERS_IDS.sub(b"id", value.encode()).decode() for name, value in answer.headers.items()}
    return replace(answer, body=SERVERS_IDS.sub(b"id", answer.body), headers=headers)


@share(3)
@given(st.data())
def test_a_write_to_what_is_hidden_is_answered_as_one_to_nothing(servers: Pair, data: st.DataObject) -> None:
    world, user, oracle = prepared(servers, data)
    token = servers.token(user)
    hidden = [
        (type, id, versions[-1].content)
        for (type, id), versions in oracle.records.versions.items()
        if not any(oracle.sees(each, letter) for each in versions for letter in "rs")
    ]
    before = stored(servers)
    for type, id, content in [*hidden, ("Observation", "never", observation(world.patients[0]))]:
        body = json.dumps({**content, "resourceType": type, "id": id}).encode()
        same(servers, token, Asked("PUT", f"{type}/{id}", body))
        same(servers, token, Asked("PUT", f"{type}/{id}", body, headers=(("If-Match", 'W/"1"'),)))
        same(servers, token, Asked("DELETE", f"{type}/{id}"))
        same(servers, token, Asked("DELETE", f"{type}/{id}", headers=(("If-Match", 'W/"1"'),)))
        same(servers, token, transaction("PUT", f"{type}/{id}", {**content, "resourceType": type, "id": id}))
        same(servers, token, transaction("DELETE", f"{type}/{id}"))
    assert stored(servers) == before


@share(3)
@given(st.data())
def test_what_may_be_created_does_not_depend_on_what_is_hidden(servers: Pair, data: st.DataObject) -> None:
    world, user, oracle = prepared(servers, data)
    if user.context is not None:
        # Whoever is launched in the context of a patient whom they may not see has been told of that patient already.
        id = user.context.removeprefix("Patient/")
        known = oracle.records.versions.get(("Patient", id), ())
        if not known or not oracle.sees(known[-1], "r"):
            return
    token = servers.token(user)
    for patient in (*world.patients, "never"):
        for made in (observation(patient), agreement(patient)):
            same(servers, token, Asked("POST", made["resourceType"], json.dumps(made).encode()))


def observation(patient: str) -> Json:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Observation", "status": "final", "code": concept(LOINC, "c1"), "subject": subject}


def agreement(patient: str) -> Json:
    said = consent(permit(), patient={"reference": f"Patient/{patient}"}, category=[concept(LOINC, "59284-0")])
    return {**said, "policyRule": {"text": "Agreed."}}


def transaction(method: str, url: str, resource: Json | None = None) -> Asked:
    entry = {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}
    return Asked("POST", "", json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode())
