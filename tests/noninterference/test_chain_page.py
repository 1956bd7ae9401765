"""The page of the chain's verification: what it tells an auditor does not depend on how much others do, and who they are.

Every auditor learns whether the log is whole, and what kinds of findings there are (ADR 38); which events of others are
concerned, how many there are and where they stand is the same as if there were one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.auth.requester import Role
from fhir_server.pages.desk.checks import CHECKS, Stage
from tests.noninterference.conftest import several
from tests.noninterference.filled import Store
from tests.noninterference.oracle import User
from tests.noninterference.pair import Asked, Pair
from tests.noninterference.twins import twins
from tests.noninterference.windows import Desks, account

OWN, OTHERS = "h1", ("h2", "h3")
LONGEST = 60  # seconds that a verification of a few events may take on a busy machine


@pytest.fixture(scope="module")
def logs(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Twins of which nothing is ever deleted, so that their chains are whole until a test breaks them."""
    with twins(mongo_uri, tmp_path_factory.mktemp("logs")) as running:
        yield running


@several(6)
@given(st.data())
def test_how_much_others_do_is_not_told_with_the_chain(logs: Pair, data: st.DataObject) -> None:
    both = (logs._client_a, logs._client_b)
    of_others = data.draw(st.lists(st.sampled_from(OTHERS), max_size=5), label="on the first server alone")
    for organization, clients in [("h2", both), (OWN, both), *((each, both[:1]) for each in of_others)]:
        for client in clients:
            logs._one(client, logs.token(doctor(organization)), Asked("GET", "Observation/none"))
    broken = data.draw(st.sampled_from(["no event", "one changed", "one removed"]), label="broken")
    for store in (logs.store_a, logs.store_b):
        _break(store, broken, data)
    for client in both:  # behind what was removed, so that its place is known to be empty
        logs._one(client, logs.token(doctor("h2")), Asked("GET", "Observation/none"))
    with Desks(logs).window(account(Role.AUDITOR, f"Practitioner/aud-{OWN}", OWN)) as window:
        window.go("/desk/chain")
        assert window.send("chain")  # what it is answered with tells how far it is by then
        for store in (logs.store_a, logs.store_b):
            _wait_until_verified(store)
        window.go("/desk/chain")
        assert ("verdict bad" in window.text) >= (broken != "no event")


def doctor(organization: str) -> User:
    return User("practitioner", f"Practitioner/dr{organization[1]}", organization, "TREAT", "user/*.rs")


def _break(store: Store, broken: str, data: st.DataObject) -> None:
    """Change or remove an event of another institution that is as it was stored."""
    log = store.database["AuditEvent"]
    ids = sorted(each["_id"] for each in log.find({"org": {"$in": OTHERS}, "at": {"$gt": 0}}, {"_id": 1}))
    victim = ids[
        data.draw(st.integers(0, 999), label="which") % len(ids)
    ]  # how many there are is not the same each time
    if broken == "one changed":
        log.update_one({"_id": victim}, {"$set": {"at": 0}})
    elif broken == "one removed":
        log.delete_one({"_id": victim})


def _wait_until_verified(store: Store) -> None:
    until = time.monotonic() + LONGEST
    while store.database[CHECKS].count_documents({"_id": OWN, "stage": {"$ne": str(Stage.DONE)}}):
        assert time.monotonic() < until
        time.sleep(0.05)
