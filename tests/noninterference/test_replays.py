"""Every decision that the server makes on a random world comes out again when it is replayed (consent.md, D20)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.audit.basis import details_of
from tests.noninterference.agreements import ORGANIZATIONS
from tests.noninterference.conftest import share
from tests.noninterference.filled import TYPES
from tests.noninterference.pair import Pair
from tests.noninterference.questions import users
from tests.noninterference.world import World, worlds

Json = dict[str, Any]


def questions(world: World) -> list[str]:
    """Return reads of all there is, versions that may be earlier ones, and searches of every type."""
    reads = [f"{type}/{id}" for type, id in world.places]
    return [*reads, *(f"{each}/_history/1" for each in reads), *(f"{type}?_count=50" for type in TYPES)]


@share(8)
@given(st.data())
def test_every_decision_comes_out_again(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    servers.store_a.write(world)
    user = data.draw(users(world), label="user")
    token = servers.token(user)
    shown = sum(each.status_code == 200 for each in servers.gated(token, questions(world)))
    replayed = 0
    for institution in ORGANIZATIONS:
        auditor = servers.a.token("auditor", "Practitioner/auditor", institution)
        (found,) = servers.gated(auditor, [f"AuditEvent?agent={user.user}&_count=500"])
        events = [each["resource"] for each in found.json().get("entry", ())]
        replays = servers.gated(auditor, [f"AuditEvent/{event['id']}/$replay" for event in events])
        for event, again in zip(events, replays, strict=True):
            assert again.status_code == (200 if decides(event) else 422), str(event)
            if again.status_code == 200:
                said = {each["name"]: each.get("valueBoolean") for each in again.json()["parameter"]}
                if (said["same"], said["complete"]) != (True, True):
                    pytest.fail(f"{event}\n{again.text}")
                replayed += 1
    assert replayed >= shown


def decides(event: Json) -> bool:
    """Return whether an event tells of a decision: a search that the scopes do not allow is refused before there is one."""
    return details_of(event) is not None
